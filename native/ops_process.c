/* Steps on the process itself: namespaces, identity, limits. */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PROC_MAGIC 0x9fa0

int op_unshare(struct run *run, const struct arg *args)
{
	(void)run;
	return unshare((int)args[0].u) < 0 ? -errno : 0;
}

int op_setns(struct run *run, const struct arg *args)
{
	(void)run;
	return setns(args[0].fd, (int)args[1].u) < 0 ? -errno : 0;
}

/* `<pid>/<name>`, without the weight of printf(3). */
static int name_of_init(char *out, size_t size, pid_t pid, const char *name)
{
	size_t length = strlen(name);
	if (20 + 1 + length + 1 > size)
		return -1;
	out += decimal(out, (uint64_t)pid);
	*out++ = '/';
	memcpy(out, name, length + 1);
	return 0;
}

/* /proc after making sure that it is a procfs (CVE-2019-16884). */
static int open_procfs(void)
{
	struct statfs info;
	cleanup_close proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0 || fstatfs(proc, &info) < 0)
		return -1;
	if (info.f_type != PROC_MAGIC) {
		errno = ENOTSUP;
		return -1;
	}
	return take_fd(&proc);
}

/* A file below /proc/<init>. */
int open_of_init(struct run *run, const char *name, int flags)
{
	char path[128];
	cleanup_close proc = open_procfs();
	if (proc < 0)
		return -1;
	if (name_of_init(path, sizeof path, run->init, name) < 0) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return openat(proc, path, flags | O_CLOEXEC);
}

/* Field 22 of /proc/PID/stat: with the pid it names a process for ever (proc_pid_stat(5)). */
/* Field 22 of what /proc/PID/stat says; 0 where it cannot be read. */
uint64_t start_time_in(int stat)
{
	char text[1024];
	ssize_t got = stat < 0 ? -1 : read(stat, text, sizeof text - 1);
	if (got <= 0)
		return 0;
	text[got] = 0;
	char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at ? strtoull(at, NULL, 10) : 0;
}

uint64_t start_time_of_init(struct run *run)
{
	if (!run->init_start) {
		cleanup_close fd = open_of_init(run, "stat", O_RDONLY);
		run->init_start = start_time_in(fd);
	}
	return run->init_start;
}

int op_open_proc(struct run *run, const struct arg *args)
{
	return store_fd(run, &args[0], open_of_init(run, args[1].p, O_RDONLY));
}

int op_write_proc(struct run *run, const struct arg *args)
{
	cleanup_close fd = open_of_init(run, args[0].p, O_WRONLY);
	if (fd < 0)
		return -errno;
	ssize_t written = write(fd, args[1].p, args[1].len);
	if (written < 0)
		return -errno;
	return (uint64_t)written == args[1].len ? 0 : -EIO;
}

/* While /proc still is the host's: what is opened now keeps its meaning, whatever the container has mounted there. */
int op_open_self(struct run *run, const struct arg *args)
{
	char path[256] = "self/";
	cleanup_close proc = open_procfs();
	if (proc < 0)
		return -errno;
	if (args[1].len + sizeof "self/" > sizeof path)
		return -ENAMETOOLONG;
	return store_fd(run, &args[0], openat(proc, strcat(path, args[1].p), O_WRONLY | O_CLOEXEC));
}

int op_write_pid(struct run *run, const struct arg *args)
{
	char text[21];
	size_t length = decimal(text, (uint64_t)run->init);
	cleanup_close fd = openat(args[0].fd, args[1].p, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	return write(fd, text, length) == (ssize_t)length ? 0 : -errno;
}

int op_setsid(struct run *run, const struct arg *args)
{
	(void)run;
	(void)args;
	return setsid() < 0 ? -errno : 0;
}

int op_sethostname(struct run *run, const struct arg *args)
{
	(void)run;
	return sethostname(args[0].p, args[0].len) < 0 ? -errno : 0;
}

int op_setdomainname(struct run *run, const struct arg *args)
{
	(void)run;
	return setdomainname(args[0].p, args[0].len) < 0 ? -errno : 0;
}

int op_loopback_up(struct run *run, const struct arg *args)
{
	(void)run;
	(void)args;
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	cleanup_close fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

int op_set_ids(struct run *run, const struct arg *args)
{
	(void)run;
	uid_t uid = (uid_t)args[0].u;
	gid_t gid = (gid_t)args[1].u;
	return setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ? -errno : 0;
}

int op_setgroups(struct run *run, const struct arg *args)
{
	(void)run;
	return setgroups(args[0].len / sizeof(gid_t), (const void *)args[0].p) < 0 ? -errno : 0;
}

int op_prctl(struct run *run, const struct arg *args)
{
	(void)run;
	return prctl((int)args[0].u, args[1].u, args[2].u, args[3].u, args[4].u) < 0 ? -errno : 0;
}

int op_rlimit(struct run *run, const struct arg *args)
{
	(void)run;
	struct rlimit limit = {args[1].u, args[2].u};
	return setrlimit((int)args[0].u, &limit) < 0 ? -errno : 0;
}

/* Root of a user namespace may only lower its hard limits: the stage raises them before. */
int op_raise_limit(struct run *run, const struct arg *args)
{
	struct rlimit limit;
	if (prlimit(run->init, (int)args[0].u, NULL, &limit) < 0)
		return -errno;
	if (limit.rlim_max >= args[1].u)
		return 0;
	limit.rlim_max = args[1].u;
	return prlimit(run->init, (int)args[0].u, &limit, NULL) < 0 ? -errno : 0;
}

int op_umask(struct run *run, const struct arg *args)
{
	(void)run;
	umask((mode_t)args[0].u);
	return 0;
}

/* The kernel says "(unreachable)" for a directory outside the root (CVE-2024-21626). */
int op_chdir(struct run *run, const struct arg *args)
{
	(void)run;
	char where[4096];
	if (chdir(args[0].p) < 0)
		return -errno;
	if (syscall(SYS_getcwd, where, sizeof where) < 0)
		return -errno;
	return where[0] == '/' ? 0 : -EXDEV;
}

/* A descriptor of ours that has this number gets another one: the container's programs are promised theirs. */
static int vacate(struct run *run, int number)
{
	int *ours[] = {&run->control, &run->sync};
	for (uint32_t i = 0; i < run->plan->slots + 2; i++) {
		int *fd = i < 2 ? ours[i] : &run->fd[i - 2];
		if (*fd != number)
			continue;
		*fd = fcntl(number, F_DUPFD_CLOEXEC, number + 1);
		if (*fd < 0)
			return -errno;
	}
	return 0;
}

int op_dup(struct run *run, const struct arg *args)
{
	if (args[0].fd == (int)args[1].u)
		return fcntl(args[0].fd, F_SETFD, 0) < 0 ? -errno : 0;
	int failed = vacate(run, (int)args[1].u);
	if (failed)
		return failed;
	return dup2(args[0].fd, (int)args[1].u) < 0 ? -errno : 0;
}

int op_controlling_tty(struct run *run, const struct arg *args)
{
	(void)run;
	return ioctl(args[0].fd, TIOCSCTTY, 0) < 0 ? -errno : 0;
}

int op_close_fds(struct run *run, const struct arg *args)
{
	(void)run;
	return syscall(SYS_close_range, (unsigned)args[0].u, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

/* One message, with a descriptor beside it unless that is negative (unix(7), SCM_RIGHTS). */
int send_with_fd(int socket, const void *bytes, size_t size, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {(void *)(uintptr_t)bytes, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control.space;
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(header), &fd, sizeof fd);
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -errno;
}

/* Between stage and init: a number that names a meeting point, perhaps with a descriptor. */
static int send_sync(struct run *run, uint32_t value, int fd)
{
	return send_with_fd(run->sync, &value, sizeof value, fd);
}

static int receive_sync(struct run *run, uint32_t expected, int *fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	uint32_t value = 0;
	struct iovec part = {&value, sizeof value};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
	ssize_t got;
	do
		got = recvmsg(run->sync, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (got == 0)
		return -ECONNRESET; /* the other one has ended */
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int received = -1;
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&received, CMSG_DATA(header), sizeof received);
	if (got != sizeof value || value != expected || (fd != NULL) != (received >= 0))
		return -EPROTO;
	if (fd)
		*fd = received;
	return 0;
}

#define FD_MESSAGE 0xfdu

int op_notify(struct run *run, const struct arg *args)
{
	return send_sync(run, (uint32_t)args[0].u, -1);
}

int op_wait(struct run *run, const struct arg *args)
{
	return receive_sync(run, (uint32_t)args[0].u, NULL);
}

int op_send_fd(struct run *run, const struct arg *args)
{
	return send_sync(run, FD_MESSAGE, args[0].fd);
}

int op_recv_fd(struct run *run, const struct arg *args)
{
	int fd = -1;
	int failed = receive_sync(run, FD_MESSAGE, &fd);
	return failed ? failed : store_fd(run, &args[0], fd);
}

int op_open_pidfd(struct run *run, const struct arg *args)
{
	return store_fd(run, &args[0], fcntl(run->init_pidfd, F_DUPFD_CLOEXEC, 0));
}

int op_send_fd_to(struct run *run, const struct arg *args)
{
	(void)run;
	return send_with_fd(args[0].fd, args[2].p, args[2].len, args[1].fd);
}

int op_meet_caller(struct run *run, const struct arg *args)
{
	struct message answer;
	tell(run, MSG_MEETING, (uint32_t)args[0].u, (uint64_t)run->init, start_time_of_init(run));
	ssize_t got;
	do
		got = recv(run->control, &answer, sizeof answer, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return got == sizeof answer && answer.type == MSG_GO ? 0 : -ECANCELED;
}

/*
 * The last stop before the command: whoever connects lets it go on, is told what fails from here on, and sees the end of
 * the connection at the exec. The socket lies in a directory that only root of the host can enter.
 */
int op_gate(struct run *run, const struct arg *args)
{
	int caller;
	do
		caller = accept4(args[0].fd, NULL, NULL, SOCK_CLOEXEC);
	while (caller < 0 && errno == EINTR);
	if (caller < 0)
		return -errno;
	close(run->control);
	run->control = caller;
	/* A second one must not wait for an answer that never comes. */
	return shutdown(args[0].fd, SHUT_RDWR) < 0 ? -errno : 0;
}
