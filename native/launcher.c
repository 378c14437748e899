/*
 * The program behind bin/tscrun: finds Node and becomes `node dist/cli.cjs ARGS...`. No policy of tscrun's own.
 *
 * It stands between the shell and Node because some environment variables cost every start of Node much more than
 * tscrun itself takes, and because an engine calls an OCI runtime with an environment that has no PATH.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ordinary/ordinary.h"
#include "replay/replay.h"

extern char **environ;

static int last_errno = ENOENT;

static _Noreturn void fail(const char *a, const char *b, const char *c)
{
	const char *parts[] = { "tscrun: ", a, b, c, "\n" };
	char line[PATH_MAX + 512];
	size_t used = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		for (const char *p = parts[i]; *p != '\0' && used < sizeof(line); p++)
			line[used++] = *p;
	if (write(2, line, used) < 0)
		_exit(125);
	_exit(125);
}

static void *allocate(size_t size)
{
	void *memory = malloc(size);

	if (memory == NULL)
		fail("out of memory", "", "");
	return memory;
}

/* dir and name, of the given length each, with a slash between. */
static char *path_of(const char *dir, size_t dir_length, const char *name)
{
	char *path = allocate(dir_length + strlen(name) + 2);

	memcpy(path, dir, dir_length);
	path[dir_length] = '/';
	strcpy(path + dir_length + 1, name);
	return path;
}

/*
 * Node would read these at every start: NODE_EXTRA_CA_CERTS parses a whole bundle (31 ms on Node 20), NODE_OPTIONS may
 * load the user's own modules into a program that runs as root. Both are handed on as TSCRUN_<name>. TSCRUN_NOFILE is the
 * soft limit on open files.
 */
static char **environment(void)
{
	static const char *const renamed[] = { "NODE_EXTRA_CA_CERTS=", "NODE_OPTIONS=" };
	static const char prefix[] = "TSCRUN_";
	static const char face[] = "TSCRUN_FACE=";
	static char nofile[sizeof "TSCRUN_NOFILE=" + 20] = "TSCRUN_NOFILE=";
	size_t count = 0, kept = 0;
	struct rlimit limit;

	while (environ[count] != NULL)
		count++;
	char **result = allocate((count + 2) * sizeof(*result));
	for (size_t n = 0; n < count; n++) {
		size_t i = kept;
		if (strncmp(environ[n], face, sizeof(face) - 1) == 0 || strncmp(environ[n], nofile, 14) == 0)
			continue;
		result[kept++] = environ[n];
		for (size_t k = 0; k < sizeof(renamed) / sizeof(renamed[0]); k++) {
			if (strncmp(environ[n], renamed[k], strlen(renamed[k])) != 0)
				continue;
			result[i] = allocate(sizeof(prefix) + strlen(environ[n]));
			strcpy(result[i], prefix);
			strcat(result[i], environ[n]);
		}
	}
	/* Node raises its own soft limit; what it starts is to have the one that we have. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		char digits[20], *out = nofile + 14;
		size_t length = 0;
		for (unsigned long long rest = limit.rlim_cur; rest > 0 || length == 0; rest /= 10)
			digits[length++] = (char)('0' + rest % 10);
		while (length > 0)
			*out++ = digits[--length];
		result[kept++] = nofile;
	}
	result[kept] = NULL;
	return result;
}

/* Returns only if there is no such program; anything else than "not here" is remembered for the message. */
static void try_node(char *node, char **argv, char **envp)
{
	argv[0] = node;
	execve(node, argv, envp);
	if (errno != ENOENT && errno != ENOTDIR)
		last_errno = errno;
}

static void try_path(char **argv, char **envp)
{
	const char *dir = getenv("PATH");

	while (dir != NULL && *dir != '\0') {
		size_t length = strcspn(dir, ":");

		/* A relative entry would run whatever the current directory holds, often as root. */
		if (dir[0] == '/')
			try_node(path_of(dir, length, "node"), argv, envp);
		dir += length;
		if (*dir == ':')
			dir++;
	}
}

/* Written by scripts/bootstrap.sh next to this program: the Node it ran with, one line. */
static void try_recorded(const char *here, size_t here_length, char **argv, char **envp)
{
	static char node[PATH_MAX];
	int fd = open(path_of(here, here_length, "node-path"), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	ssize_t length = read(fd, node, sizeof(node) - 1);
	close(fd);
	if (length <= 0)
		return;
	node[length] = '\0';
	node[strcspn(node, "\n")] = '\0';
	try_node(node, argv, envp);
}

/* The length of path without its last component; 0 if it has none. */
static size_t parent(const char *path, size_t length)
{
	while (length > 0 && path[length - 1] != '/')
		length--;
	return length > 0 ? length - 1 : 0;
}

int main(int argc, char **argv)
{
	static char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length < 0)
		fail("readlink /proc/self/exe: ", strerror(errno), " (is /proc mounted?)");
	size_t here = parent(self, (size_t)length);
	size_t root = parent(self, parent(self, here));
	if (root == 0)
		fail("the launcher is not inside tscrun's own native directory: ", self, "");

	/* Set by bin/tscrun, which has two names. */
	const char *name = getenv("TSCRUN_FACE");
	int runtime = name != NULL && strcmp(name, "tscrun-runtime") == 0;
	name = runtime ? "tscrun-runtime" : "tscrun";
	if (runtime) {
		ordinary(argc, argv);
	} else {
		char *package = path_of(self, root, "");
		package[root] = '\0';
		replay(argc, argv, package);
	}

	char **args = allocate(((size_t)argc + 6) * sizeof(*args));
	size_t used = 1;
	/* Fixes the hash seed for this short-lived process; saves 1 to 3 ms of start. */
	args[used++] = "--no-rehash-snapshot";
	/* Such a process has nothing to do in parallel: one thread instead of four, and none of the collections that its one
	   megabyte of young objects would cause; together 1 ms. */
	args[used++] = "--v8-pool-size=1";
	args[used++] = "--min-semi-space-size=2";
	/* Node 20 takes any --env-file behind it for its own, with the NODE_OPTIONS in that file; behind -- it does not. */
	args[used++] = "--";
	args[used++] = path_of(self, root, runtime ? "dist/runtime.cjs" : "dist/cli.cjs");
	for (int i = 1; i < argc; i++)
		args[used++] = argv[i];
	args[used] = NULL;

	char **envp = environment();
	char *chosen = getenv("TSCRUN_NODE");
	if (chosen != NULL && *chosen != '\0') {
		try_node(chosen, args, envp);
		fail("exec ", chosen, ": not a program that runs here (TSCRUN_NODE names it)");
	}
	try_path(args, envp);
	try_recorded(self, here, args, envp);
	try_node("/usr/local/bin/node", args, envp);
	try_node("/usr/bin/node", args, envp);
	if (last_errno != ENOENT)
		fail("exec node: ", strerror(last_errno), "");
	fail("node is not in PATH: install Node 20.19 or newer; if sudo hides it, use `sudo env PATH=\"$PATH\" ", name,
	     " ...`, or set TSCRUN_NODE");
}
