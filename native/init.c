/*
 * The container's first process, from its birth as a fork of the stage to its exec of the user's command.
 */
#define _GNU_SOURCE
#include "stage.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs the child column, which ends in an exec; whatever comes back from it was told as a failure. */
void run_init(struct run *run)
{
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_DFL);
	prctl(PR_SET_NAME, "tscrun-init");
	/* The end of the socket alone would say that the command runs. */
	if (run_column(run, COLUMN_CHILD) != 0)
		send(run->sync, "", 1, MSG_NOSIGNAL);
	_exit(125);
}

static int clone_into(struct run *run, uint64_t flags, int cgroup)
{
	int pair[2], pidfd = -1;
	/* A clone does not know its own pid outside its pid namespace: the parent writes it down before it lets go on. */
	if (!run->told_pid) {
		void *shared = mmap(NULL, sizeof *run->told_pid, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (shared == MAP_FAILED)
			return -errno;
		run->told_pid = shared;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	struct clone_args clone = {
		.flags = flags | CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
	};
	if (cgroup >= 0) {
		clone.flags |= CLONE_INTO_CGROUP;
		clone.cgroup = (uint64_t)cgroup;
	}
	long pid = syscall(SYS_clone3, &clone, sizeof clone);
	if (pid < 0) {
		int failed = -errno;
		close(pair[0]);
		close(pair[1]);
		return failed;
	}
	close(pair[pid == 0 ? 0 : 1]);
	run->sync = pair[pid == 0 ? 1 : 0];
	if (pid == 0)
		run_init(run);
	*run->told_pid = run->init = (pid_t)pid;
	run->init_pidfd = pidfd;
	run->init_start = 0;
	return 0;
}

int op_clone(struct run *run, const struct arg *args)
{
	return clone_into(run, args[0].u, args[1].fd);
}

/* A file of /proc; answers its length, with a zero behind it, or -1. */
static ssize_t read_proc(const char *directory, uint64_t number, const char *file, char *into, size_t size)
{
	char path[64];
	*put(put_number(put(path, directory), number), file) = 0;
	cleanup_close fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, into, size - 1);
	if (got >= 0)
		into[got] = 0;
	return got;
}

/* The cgroup below this one in which a process is now; -1 where it is in none of them. */
static int cgroup_below(int cgroup, int process)
{
	char text[4096], name[4096], link[64];
	*put_number(put(link, "/proc/self/fd/"), (uint64_t)cgroup) = 0;
	ssize_t length = readlink(link, name, sizeof name - 2);
	if (length <= 0 || read_proc("/proc/self/fdinfo/", (uint64_t)process, "", text, sizeof text) < 0)
		return -1;
	*put(name + length, "/") = 0;
	const char *pid = strstr(text, "\nPid:\t");
	char *last = memrchr(name, '/', (size_t)length);
	if (!pid || !last || read_proc("/proc/", strtoull(pid + strlen("\nPid:\t"), NULL, 10), "/cgroup", text, sizeof text) < 0)
		return -1;
	/* Paths there begin at the root of our cgroup namespace: the container's own name is what both have. */
	char *path = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	char *end = path ? strchr(path + 1, '\n') : NULL;
	if (!end)
		return -1;
	*end = 0;
	char *below = strstr(path, last);
	return below ? openat(cgroup, below + strlen(last), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

/* EBUSY: it hands controllers down; EOPNOTSUPP: it is within a threaded subtree (clone3(2), CLONE_INTO_CGROUP). */
int op_clone_beside(struct run *run, const struct arg *args)
{
	int failed = clone_into(run, args[0].u, args[1].fd);
	if (failed != -EBUSY && failed != -EOPNOTSUPP)
		return failed;
	cleanup_close beside = cgroup_below(args[1].fd, args[2].fd);
	return beside < 0 ? failed : clone_into(run, args[0].u, beside);
}

/* Waits for every orphan as process 1, hands signals on, and ends as its one child ended. */
static void reap_until(pid_t child)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		int signal_number = sigwaitinfo(&all, NULL), status;
		if (signal_number != SIGCHLD && signal_number > 0)
			kill(child, signal_number);
		pid_t pid;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
}

int op_reaper(struct run *run, const struct arg *args)
{
	(void)args;
	pid_t child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		/* The sync socket's end tells that the command runs: it must not stay open here. */
		syscall(SYS_close_range, 3, ~0u, 0);
		prctl(PR_SET_NAME, "init");
		reap_until(child);
	}
	(void)run;
	return setsid() < 0 ? -errno : 0;
}

int op_set_env(struct run *run, const struct arg *args)
{
	char **env = calloc(args[0].len + 1, sizeof *env);
	if (!env)
		return -ENOMEM;
	const char *text = args[0].p;
	for (uint64_t i = 0; i < args[0].len; i++, text += strlen(text) + 1)
		env[i] = (char *)(uintptr_t)text;
	run->env = env;
	return 0;
}

typedef int (*try_fn)(const char *path, void *context);

/* Tries each directory of the search path for a name without a slash, as execvp(3) does. 0 or -errno. */
static int search(const char *name, const char *path, try_fn try, void *context)
{
	char full[4096];
	int result = -ENOENT;
	size_t name_len = strlen(name);
	if (strchr(name, '/'))
		return try(name, context);
	while (path && *path) {
		const char *colon = strchr(path, ':');
		size_t len = colon ? (size_t)(colon - path) : strlen(path);
		if (len > 0 && len + name_len + 2 <= sizeof full) {
			memcpy(full, path, len);
			full[len] = '/';
			memcpy(full + len + 1, name, name_len + 1);
			int tried = try(full, context);
			if (tried == -EACCES)
				result = -EACCES;
			else if (tried != -ENOENT && tried != -ENOTDIR)
				return tried;
		}
		path = colon ? colon + 1 : NULL;
	}
	return result;
}

/* What execve(2) would refuse before it reads the file: no such file, no regular one, no execute bit, noexec. */
static int may_run(const char *path, void *context)
{
	(void)context;
	struct stat info;
	if (stat(path, &info) < 0)
		return -errno;
	if (!S_ISREG(info.st_mode))
		return -EACCES;
	return faccessat(AT_FDCWD, path, X_OK, 0) < 0 ? -errno : 0;
}

int op_find_program(struct run *run, const struct arg *args)
{
	(void)run;
	return search(args[0].p, args[1].p, may_run, NULL);
}

struct command {
	char **argv;
	char **env;
};

static int execute(const char *path, void *context)
{
	struct command *command = context;
	execve(path, command->argv, command->env);
	return -errno;
}

int op_exec(struct run *run, const struct arg *args)
{
	static char *no_env[] = {NULL};
	char **argv = calloc(args[1].len + 1, sizeof *argv);
	if (!argv)
		return -ENOMEM;
	const char *text = args[1].p;
	for (uint64_t i = 0; i < args[1].len; i++, text += strlen(text) + 1)
		argv[i] = (char *)(uintptr_t)text;
	struct command command = {argv, run->env ? run->env : no_env};
	return search(args[0].p, args[2].p, execute, &command);
}
