/*
 * `state`, `start`, `kill` and `delete` of a container, without Node. Only what succeeds and has nothing to tell is done
 * here. All else returns, and Node does it from the beginning: whatever is refused, fails, or is not known to these few
 * lines. So there are no words for people here, and no second set of rules (docs/decisions/0023).
 */
#include "ordinary.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "../text.h"
#include "container.h"

struct call {
	const char *root, *log, *verb, *id, *signal;
	int force;
};

/* The value of `--flag value` or `--flag=value`; NULL where this is another flag. */
static const char *value_of(const char *flag, char **argv, int *at)
{
	size_t length = strlen(flag);

	if (strncmp(argv[*at], flag, length) != 0)
		return NULL;
	if (argv[*at][length] == '=')
		return argv[*at] + length + 1;
	if (argv[*at][length] != '\0' || argv[*at + 1] == NULL)
		return NULL;
	return argv[++*at];
}

/* Ids become names of directories (checkId in src/runtime/container.ts). */
static int is_id(const char *id)
{
	size_t length = strlen(id);

	if (length < 1 || length > 255 || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return 0;
	for (const char *p = id; *p != '\0'; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("_+.-", *p)))
			return 0;
	return 1;
}

static int parse_flags(struct call *call, char **argv, int *at)
{
	for (; argv[*at] != NULL && argv[*at][0] == '-'; ++*at) {
		const char *value;
		if ((value = value_of("--root", argv, at)) != NULL)
			call->root = value;
		else if ((value = value_of("--log", argv, at)) != NULL)
			call->log = value;
		else if ((value = value_of("--log-format", argv, at)) != NULL) {
			if (strcmp(value, "json") != 0 && strcmp(value, "text") != 0)
				return 0;
		} else if (strcmp(argv[*at], "--systemd-cgroup") != 0)
			return 0;
	}
	return call->root[0] == '/' && strlen(call->root) < PATH_MAX - 300;
}

static int parse(struct call *call, char **argv)
{
	int at = 1, is_delete, is_kill;

	if (!parse_flags(call, argv, &at) || argv[at] == NULL)
		return 0;
	call->verb = argv[at++];
	is_delete = strcmp(call->verb, "delete") == 0;
	is_kill = strcmp(call->verb, "kill") == 0;
	if (!is_delete && !is_kill && strcmp(call->verb, "state") != 0 && strcmp(call->verb, "start") != 0)
		return 0;
	for (; argv[at] != NULL; at++) {
		if (is_delete && (strcmp(argv[at], "--force") == 0 || strcmp(argv[at], "-f") == 0))
			call->force = 1;
		else if (argv[at][0] == '-')
			return 0;
		else if (call->id == NULL)
			call->id = argv[at];
		else if (is_kill && call->signal == NULL)
			call->signal = argv[at];
		else
			return 0;
	}
	return call->id != NULL && is_id(call->id);
}

static int write_all(struct iovec *parts, int count)
{
	while (count > 0) {
		ssize_t done = writev(1, parts, count);
		if (done < 0 && errno != EINTR)
			return 0;
		for (; count > 0 && done >= (ssize_t)parts->iov_len; parts++, count--)
			done -= (ssize_t)parts->iov_len;
		if (count > 0 && done > 0) {
			parts->iov_base = (char *)parts->iov_base + done;
			parts->iov_len -= (size_t)done;
		}
	}
	return 1;
}

static void state(int directory, const struct brief *brief)
{
	static const char *const names[] = { "created", "running", "paused", "stopped" };
	enum status status = status_of(directory, brief);
	char pid[20];

	if (status == UNKNOWN)
		return;
	*put_number(pid, status == STOPPED ? 0 : (uint64_t)brief->pid) = '\0';
	const char *texts[] = { brief->document[0], pid, brief->document[1], names[status], brief->document[2] };
	struct iovec parts[5];
	for (int i = 0; i < 5; i++)
		parts[i] = (struct iovec){ (char *)(uintptr_t)texts[i], strlen(texts[i]) };
	_exit(write_all(parts, 5) ? 0 : 1);
}

/* By number, or by one of the names that engines use; -1: Node knows more. */
static int signal_number(const char *text)
{
	static const struct {
		const char *name;
		int number;
	} names[] = { { "TERM", SIGTERM }, { "KILL", SIGKILL }, { "INT", SIGINT }, { "HUP", SIGHUP }, { "QUIT", SIGQUIT },
		      { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "STOP", SIGSTOP }, { "CONT", SIGCONT }, { "WINCH", SIGWINCH } };

	if (text == NULL)
		return SIGTERM;
	if (isdigit((unsigned char)text[0]) && (text[1] == '\0' || (isdigit((unsigned char)text[1]) && text[2] == '\0')))
		return atoi(text) <= 64 ? atoi(text) : -1;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcasecmp(text, names[i].name) == 0)
			return names[i].number;
	return -1;
}

static void kill_one(int directory, const struct brief *brief, int number)
{
	enum status status = status_of(directory, brief);

	if (number < 0 || status == STOPPED || status == UNKNOWN)
		return;
	long pidfd = syscall(SYS_pidfd_open, brief->pid, 0);
	if (pidfd < 0)
		return;
	/* From here on the number cannot be given to another one. */
	if (is_there(brief) == 1 && syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) == 0)
		_exit(0);
	close((int)pidfd);
}

/* Whoever has found the directory before another one removed it has nothing. */
static int lock(int directory, const char *path)
{
	struct stat ours, there;

	while (flock(directory, LOCK_EX) < 0)
		if (errno != EINTR)
			return 0;
	return fstat(directory, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
	       ours.st_dev == there.st_dev;
}

/* What is said there is a failure, which Node explains: it gets the connection and the lock. */
static void hand_over(int directory, int connection)
{
	char fds[64];

	*put_number(put(put_number(fds, (uint64_t)directory), " "), (uint64_t)connection) = '\0';
	if (fcntl(directory, F_SETFD, 0) == 0 && fcntl(connection, F_SETFD, 0) == 0)
		setenv("TSCRUN_GATE", fds, 1);
}

static void start(int directory, const struct brief *brief)
{
	struct sockaddr_un gate = { .sun_family = AF_UNIX };
	char byte;
	ssize_t said;

	if (!brief->starts_plainly || status_of(directory, brief) != CREATED)
		return;
	int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	/* However deep the directory lies. */
	*put(put_number(put(gate.sun_path, "/proc/self/fd/"), (uint64_t)directory), "/gate") = '\0';
	if (connection < 0 || connect(connection, (struct sockaddr *)&gate, sizeof gate) < 0)
		return;
	do
		said = recv(connection, &byte, 1, MSG_PEEK);
	while (said < 0 && errno == EINTR);
	/* An end without a word is the exec. */
	if (said > 0 || (said < 0 && errno != ECONNRESET))
		return hand_over(directory, connection);
	unlinkat(directory, "gate", 0);
	_exit(0);
}

/* Its own file first: without it Node does the rest, whenever this one is interrupted. */
static int remove_files(int directory)
{
	int own = dup(directory), failed = unlinkat(directory, "brief", 0) < 0;
	DIR *list = own < 0 ? NULL : fdopendir(own);

	for (struct dirent *entry; !failed && list && (entry = readdir(list)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			failed = unlinkat(directory, entry->d_name, 0) < 0;
	return list != NULL && !failed;
}

static void delete(int directory, const char *path, const struct brief *brief)
{
	if (!brief->ends_plainly || status_of(directory, brief) != STOPPED)
		return;
	/* With somebody left in it, or cgroups below, it takes more. */
	if (*brief->cgroup != '\0' && rmdir(brief->cgroup) < 0 && errno != ENOENT && errno != ENODEV)
		return;
	if (remove_files(directory) && rmdir(path) == 0)
		_exit(0);
}

void ordinary(int argc, char **argv)
{
	static struct brief brief;
	struct call call = { .root = "/run/tscrun-runtime" };
	char path[PATH_MAX];

	unsetenv("TSCRUN_GATE");
	if (argc < 3 || geteuid() != 0 || getenv("TSCRUN_BY_NODE") != NULL || !parse(&call, argv))
		return;
	/* Callers look into it also when all went well. */
	if (call.log != NULL && *call.log != '\0') {
		int log = open(call.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		if (log < 0)
			return;
		close(log);
	}
	*put(put(put(path, call.root), "/"), call.id) = '\0';
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0) {
		if (errno == ENOENT && call.force)
			_exit(0);
		return;
	}
	int changes = *call.verb == 'd' || strcmp(call.verb, "start") == 0;
	if ((!changes || lock(directory, path)) && read_brief(directory, &brief)) {
		if (*call.verb == 'k')
			kill_one(directory, &brief, signal_number(call.signal));
		else if (*call.verb == 'd')
			delete(directory, path, &brief);
		else if (changes)
			start(directory, &brief);
		else
			state(directory, &brief);
	}
	/* Node takes the lock itself, unless it is handed over. */
	if (getenv("TSCRUN_GATE") == NULL)
		close(directory);
}
