/*
 * failpoint LOG ROLE VICTIM UNTIL COMMAND...
 *
 * Runs a command below ptrace(2) and writes a line to LOG before each system call by which it, or a process that it
 * starts, changes something that outlives the call: a file, a lock, a link, a mount, a process, what another process is told.
 *   life TAB role TAB call TAB path [TAB path]
 * Life: 1, or which life of the container the monitor has begun, where a restart policy gives it several.
 * Roles: cli (the command itself), monitor, init (until it has executed the container's command), worker (a fork of the
 * monitor), else a program's name. Before each call of ROLE its line goes to descriptor 3, after the first letters of those who
 * live (c, m, i) and a TAB; the answer is a byte: g goes on; at k the VICTIM (cli, monitor, init, all of them) gets SIGKILL,
 * which the call does not survive, and all others are let go. UNTIL says when to let go without that: when the command has
 * ended (cli), or all whom it has started (all). Exits as the command does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 512
#define ASKED 3
#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK)

enum kind { AT_PATH, PATH, AT_CREATE, CREATE, TWO_PATHS, AT_TWO, LINK_AT, LINK, DESCRIPTOR, TWO_DESCRIPTORS, SOCKET, BARE, CLONE3, CLONE, EXEC_AT, UNLOCK, LOCK, BIND };

static const struct call {
	long number;
	const char *name;
	enum kind kind;
} CALLS[] = {
	{SYS_mkdirat, "mkdir", AT_PATH}, {SYS_unlinkat, "remove", AT_PATH}, {SYS_mknodat, "mknod", AT_PATH},
	{SYS_fchmodat, "chmod", AT_PATH}, {SYS_fchownat, "chown", AT_PATH}, {SYS_utimensat, "utimes", AT_PATH},
	{SYS_openat, "create", AT_CREATE}, {SYS_renameat2, "rename", AT_TWO}, {SYS_symlinkat, "link", LINK_AT},
	{SYS_linkat, "hardlink", AT_TWO},
#ifdef SYS_mkdir
	{SYS_mkdir, "mkdir", PATH}, {SYS_rmdir, "remove", PATH}, {SYS_unlink, "remove", PATH}, {SYS_mknod, "mknod", PATH},
	{SYS_chmod, "chmod", PATH}, {SYS_chown, "chown", PATH}, {SYS_lchown, "chown", PATH}, {SYS_open, "create", CREATE},
	{SYS_rename, "rename", TWO_PATHS}, {SYS_renameat, "rename", AT_TWO}, {SYS_symlink, "link", LINK}, {SYS_link, "hardlink", TWO_PATHS},
	{SYS_fork, "fork", BARE}, {SYS_vfork, "fork", BARE},
#endif
	{SYS_write, "write", DESCRIPTOR}, {SYS_pwrite64, "write", DESCRIPTOR}, {SYS_writev, "write", DESCRIPTOR},
	{SYS_ftruncate, "truncate", DESCRIPTOR}, {SYS_fchmod, "chmod", DESCRIPTOR}, {SYS_fchown, "chown", DESCRIPTOR},
	{SYS_fsetxattr, "setxattr", DESCRIPTOR}, {SYS_copy_file_range, "write", TWO_DESCRIPTORS},
	{SYS_flock, "lock", LOCK}, {SYS_close, "unlock", UNLOCK},
	{SYS_sendmsg, "send", SOCKET}, {SYS_sendto, "send", SOCKET}, {SYS_bind, "bind", BIND},
	{SYS_mount, "mount", BARE}, {SYS_umount2, "umount", BARE}, {SYS_move_mount, "mount", BARE}, {SYS_open_tree, "mount", BARE},
	{SYS_fsmount, "mount", BARE}, {SYS_mount_setattr, "mount", BARE}, {SYS_pivot_root, "mount", BARE},
	{SYS_setns, "enter", BARE}, {SYS_unshare, "unshare", BARE}, {SYS_setsid, "setsid", BARE},
	{SYS_capset, "rights", BARE}, {SYS_setgroups, "rights", BARE}, {SYS_setresuid, "rights", BARE}, {SYS_seccomp, "rights", BARE},
	{SYS_bpf, "bpf", BARE}, {SYS_kill, "signal", BARE}, {SYS_pidfd_send_signal, "signal", BARE},
	{SYS_clone3, "clone", CLONE3}, {SYS_clone, "clone", CLONE}, {SYS_execve, "exec", PATH}, {SYS_execveat, "exec", EXEC_AT},
	{SYS_exit_group, "exit", BARE},
};

/* A thread that is traced, and the process it belongs to. */
static struct task {
	pid_t tid, tgid, parent;
	int inside; /* a system call */
} tasks[MOST];
static int task_count;

/* Descriptors that carry a lock. */
static struct held {
	pid_t tgid;
	int fd;
} locks[MOST];
static int lock_count;

static pid_t cli, monitor, init;
static int life = 1, has_ended;
static FILE *out;
static const char *asked_role;

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", strerror(errno));
	exit(99);
}

static pid_t tgid_of(pid_t tid)
{
	char path[64], line[256];
	pid_t tgid = tid;
	snprintf(path, sizeof path, "/proc/%d/status", tid);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	if (file)
		fclose(file);
	return tgid;
}

static struct task *task_of(pid_t tid)
{
	for (int i = 0; i < task_count; i++)
		if (tasks[i].tid == tid)
			return &tasks[i];
	if (task_count == MOST)
		fail("too many threads");
	tasks[task_count] = (struct task){.tid = tid, .tgid = tgid_of(tid)};
	return &tasks[task_count++];
}

static void forget(pid_t tid)
{
	for (int i = 0; i < task_count; i++)
		if (tasks[i].tid == tid)
			tasks[i--] = tasks[--task_count];
}

static void comm_of(pid_t pid, char *comm, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, comm, size - 1);
	comm[got > 0 ? got - 1 : 0] = 0;
	if (fd >= 0)
		close(fd);
}

static const char *role_of(const struct task *task)
{
	static char comm[32];
	if (task->tgid == cli)
		return "cli";
	comm_of(task->tgid, comm, sizeof comm);
	if (!strcmp(comm, "tscrun-monitor")) {
		if (!monitor)
			monitor = task->tgid;
		return task->tgid == monitor ? "monitor" : "worker";
	}
	if (!strcmp(comm, "tscrun-init")) {
		init = task->tgid;
		return "init";
	}
	return comm;
}

static ssize_t peek(pid_t tid, uint64_t at, void *bytes, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/mem", tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : pread(fd, bytes, size, (off_t)at);
	if (fd >= 0)
		close(fd);
	return got;
}

static void descriptor(pid_t tid, int fd, char *text)
{
	char path[64];
	snprintf(path, sizeof path, fd == AT_FDCWD ? "/proc/%d/cwd" : "/proc/%d/fd/%d", tid, fd);
	ssize_t length = readlink(path, text, PATH_MAX - 1);
	text[length > 0 ? length : 0] = 0;
}

/* What is said at an address, below a directory unless it begins at the root. */
static void path_at(pid_t tid, int directory, uint64_t at, char *text)
{
	char said[PATH_MAX];
	ssize_t got = peek(tid, at, said, sizeof said - 1);
	/* It may lie at the end of what is mapped. */
	if (got < 0)
		got = peek(tid, at, said, 4096 - at % 4096 < sizeof said ? 4096 - at % 4096 : sizeof said - 1);
	said[got > 0 ? got : 0] = 0;
	text[0] = 0;
	if (said[0] != '/')
		descriptor(tid, directory, text);
	if (text[0] && said[0])
		strncat(text, "/", PATH_MAX - 1 - strlen(text));
	strncat(text, said, PATH_MAX - 1 - strlen(text));
}

static int is_held(const struct task *task, int fd, int take)
{
	for (int i = 0; i < lock_count; i++)
		if (locks[i].tgid == task->tgid && locks[i].fd == fd) {
			if (take)
				locks[i] = locks[--lock_count];
			return 1;
		}
	return 0;
}

/* Whether it changes anything; then its paths are there. */
static int describe(const struct task *task, const struct call *call, const uint64_t *args, char *one, char *two)
{
	pid_t tid = task->tid;
	struct clone_args clone;
	struct sockaddr_un address = {0};
	switch (call->kind) {
	case AT_PATH:
		path_at(tid, (int)args[0], args[1], one);
		return 1;
	case PATH:
		path_at(tid, AT_FDCWD, args[0], one);
		return 1;
	case AT_CREATE:
		path_at(tid, (int)args[0], args[1], one);
		return (args[2] & (O_CREAT | O_TRUNC)) != 0 && strncmp(one, "/dev/", 5) != 0;
	case CREATE:
		path_at(tid, AT_FDCWD, args[0], one);
		return (args[1] & (O_CREAT | O_TRUNC)) != 0 && strncmp(one, "/dev/", 5) != 0;
	case TWO_PATHS:
		path_at(tid, AT_FDCWD, args[0], one);
		path_at(tid, AT_FDCWD, args[1], two);
		return 1;
	case AT_TWO:
		path_at(tid, (int)args[0], args[1], one);
		path_at(tid, (int)args[2], args[3], two);
		return 1;
	case LINK_AT:
		path_at(tid, (int)args[1], args[2], one);
		return 1;
	case LINK:
		path_at(tid, AT_FDCWD, args[1], one);
		return 1;
	case TWO_DESCRIPTORS:
		descriptor(tid, (int)args[2], one);
		return 1;
	case DESCRIPTOR:
		descriptor(tid, (int)args[0], one);
		return one[0] == '/' && strncmp(one, "/dev/", 5) != 0 && strncmp(one, "/memfd:", 7) != 0;
	case SOCKET:
		return 1;
	case LOCK:
		descriptor(tid, (int)args[0], one);
		if (!is_held(task, (int)args[0], 0) && lock_count < MOST)
			locks[lock_count++] = (struct held){task->tgid, (int)args[0]};
		return 1;
	case UNLOCK:
		descriptor(tid, (int)args[0], one);
		return is_held(task, (int)args[0], 1);
	case BIND:
		peek(tid, args[1], &address, args[2] < sizeof address ? args[2] : sizeof address);
		snprintf(one, PATH_MAX, "%s", address.sun_family == AF_UNIX ? address.sun_path : "socket");
		return 1;
	case CLONE3:
		return peek(tid, args[0], &clone, sizeof clone) > 0 && !(clone.flags & CLONE_THREAD);
	case CLONE:
		return !(args[0] & CLONE_THREAD);
	case EXEC_AT:
		return 1;
	case BARE:
		return 1;
	}
	return 0;
}

static int lives(pid_t pid)
{
	for (int i = 0; i < task_count; i++)
		if (tasks[i].tgid == pid)
			return 1;
	/* The container's process is traced no more once it runs the command. */
	return pid != 0 && pid == init && kill(pid, 0) == 0;
}

static int is_the_one(const char *line)
{
	char answer = 'g';
	dprintf(ASKED, "%s%s%s\t%s", lives(cli) ? "c" : "", lives(monitor) ? "m" : "", lives(init) ? "i" : "", line);
	if (read(ASKED, &answer, 1) != 1)
		fail("nobody answers");
	return answer == 'k';
}

static int ends_with(const char *path, const char *name)
{
	size_t length = strlen(path), wanted = strlen(name);
	return length >= wanted && !strcmp(path + length - wanted, name);
}

/* The monitor begins a life with its log, and ends it with exit.json. */
static void note_life(const char *role, const char *call, const char *one, const char *two)
{
	if (strcmp(role, "monitor"))
		return;
	if (has_ended && !strcmp(call, "create") && ends_with(one, "/log")) {
		has_ended = 0;
		life++;
	} else if (!strcmp(call, "rename") && ends_with(two, "/exit.json")) {
		has_ended = 1;
	}
}

static int log_call(struct task *task, const struct __ptrace_syscall_info *info)
{
	static char one[PATH_MAX], two[PATH_MAX], line[3 * PATH_MAX];
	for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
		const struct call *call = &CALLS[i];
		if ((uint64_t)call->number != info->entry.nr)
			continue;
		one[0] = two[0] = 0;
		if (!describe(task, call, (const uint64_t *)info->entry.args, one, two))
			return 0;
		const char *role = role_of(task);
		note_life(role, call->name, one, two);
		snprintf(line, sizeof line, "%d\t%s\t%s\t%s%s%s\n", life, role, call->name, one, two[0] ? "\t" : "", two);
		fputs(line, out);
		return !strcmp(role, asked_role) && is_the_one(line);
	}
	return 0;
}

static int is_wanted(const char *victim, const struct task *task)
{
	return !strcmp(victim, "all") || (!strcmp(victim, "cli") && task->tgid == cli) ||
	       (!strcmp(victim, "monitor") && task->tgid == monitor) || (!strcmp(victim, "init") && task->tgid == init);
}

/* Everybody goes on untraced; who is in a stop goes at once, the others when they have come to one. */
static void let_go(void)
{
	int status;
	for (int i = 0; i < task_count; i++)
		ptrace(PTRACE_INTERRUPT, tasks[i].tid, 0, 0);
	/* The one that waits for a vforked child comes to a stop when that one has gone on. */
	for (int i = 0; i < task_count; i++)
		if (ptrace(PTRACE_DETACH, tasks[i].tid, 0, 0) == 0)
			forget(tasks[i--].tid);
	while (task_count > 0) {
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0)
			break;
		int signal_number = WIFSTOPPED(status) && status >> 8 == WSTOPSIG(status) ? WSTOPSIG(status) : 0;
		if (WIFSTOPPED(status))
			ptrace(PTRACE_DETACH, tid, 0, signal_number == SIGTRAP ? 0 : signal_number);
		forget(tid);
	}
}

static void strike(const char *victim)
{
	fprintf(out, "killed\t%s\n", victim);
	for (int i = 0; i < task_count; i++)
		if (is_wanted(victim, &tasks[i]) && kill(tasks[i].tgid, SIGKILL) < 0 && errno != ESRCH)
			fail("kill");
	/* The container's process is traced no more once it runs the command. */
	if ((!strcmp(victim, "init") || !strcmp(victim, "all")) && init)
		kill(init, SIGKILL);
	let_go();
}

static void on_stop(pid_t tid, int status, const char *victim)
{
	struct task *task = task_of(tid);
	struct __ptrace_syscall_info info;
	int event = status >> 16, signal_number = WSTOPSIG(status);
	if (event == PTRACE_EVENT_EXEC && task->tgid == init) {
		ptrace(PTRACE_DETACH, tid, 0, 0);
		return forget(tid);
	}
	if (signal_number == (SIGTRAP | 0x80)) {
		if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY &&
		    log_call(task, &info))
			return strike(victim);
		signal_number = 0;
	} else if (event == PTRACE_EVENT_STOP && signal_number != SIGTRAP) {
		ptrace(PTRACE_LISTEN, tid, 0, 0); /* stopped by a signal, as without us */
		return;
	} else if (event) {
		signal_number = 0;
	}
	ptrace(PTRACE_SYSCALL, tid, 0, signal_number);
}

/* Another process is the command's parent, since whoever traces it must not lose its end. */
static void trace(const char *victim, const char *until)
{
	int status;
	while (task_count > 0) {
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0)
			break;
		if (WIFSTOPPED(status)) {
			on_stop(tid, status, victim);
			continue;
		}
		forget(tid);
		if (tid == cli && !strcmp(until, "cli"))
			let_go();
	}
	fflush(out);
}

int main(int argc, char **argv)
{
	int gate[2], status;
	if (argc < 6)
		fail("failpoint LOG ROLE VICTIM UNTIL COMMAND...");
	if (!(out = fopen(argv[1], "we")) || pipe(gate) < 0)
		fail("%s", argv[1]);
	asked_role = argv[2];
	fcntl(ASKED, F_SETFD, FD_CLOEXEC);
	if ((cli = fork()) == 0) {
		char go;
		close(gate[1]);
		if (read(gate[0], &go, 1) == 0)
			close(gate[0]);
		execvp(argv[5], argv + 5);
		fail("%s", argv[5]);
	}
	close(gate[0]);
	pid_t tracer = fork();
	if (tracer == 0) {
		alarm(300);
		if (ptrace(PTRACE_SEIZE, cli, 0, OPTIONS) < 0 || ptrace(PTRACE_INTERRUPT, cli, 0, 0) < 0)
			fail("ptrace");
		task_of(cli);
		close(gate[1]);
		trace(argv[3], argv[4]);
		exit(0);
	}
	close(gate[1]);
	if (waitpid(tracer, &status, 0) < 0 || status != 0) {
		kill(cli, SIGKILL);
		fail("the tracer ended with %d", status);
	}
	if (waitpid(cli, &status, 0) < 0)
		fail("wait");
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
