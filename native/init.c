/*
 * The container's first process, from its birth as a fork of the stage to its exec of the user's command.
 */
#define _GNU_SOURCE
#include "stage.h"

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

int op_clone(struct run *run, const struct arg *args)
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
		.flags = args[0].u | CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = args[0].u & CLONE_PARENT ? 0 : SIGCHLD,
	};
	if (args[1].fd >= 0) {
		clone.flags |= CLONE_INTO_CGROUP;
		clone.cgroup = (uint64_t)args[1].fd;
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
	return 0;
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
