/*
 * A process that runs containers one after the other has the next one's plan run up to its `hold` before it is needed.
 * What the plan says is the same whenever it is run; what a start inherits from its caller beside the plan (limits,
 * priority, cgroups, rights ...) is looked at twice: when this process was made, and behind its hold, before the command
 * may run. If anything of it has changed meanwhile, the start fails there, and the caller begins anew.
 */
#define _GNU_SOURCE
#include "ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FACTS 8192
#define IOPRIO_WHO_PROCESS 1

struct facts {
	size_t size;
	int incomplete; /* equal to nothing, not even to itself */
	char bytes[FACTS];
};

static struct facts at_birth;
static int caller_proc = -1;
static pid_t caller;
static char *our_title;
static size_t title_room;

static void add(struct facts *facts, const void *bytes, size_t size)
{
	if (size > sizeof facts->bytes - facts->size) {
		facts->incomplete = 1;
		return;
	}
	memcpy(facts->bytes + facts->size, bytes, size);
	facts->size += size;
}

static void add_number(struct facts *facts, long value)
{
	facts->incomplete |= value == -1 && errno != 0;
	add(facts, &value, sizeof value);
}

static size_t read_of_caller(const char *name, char *text, size_t room)
{
	cleanup_close fd = openat(caller_proc, name, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, room);
	return got < 0 ? 0 : (size_t)got;
}

/* What a kernel does not have is not there both times. */
static void add_file(struct facts *facts, const char *name)
{
	char text[2048];
	add(facts, text, read_of_caller(name, text, sizeof text));
}

/* Of /proc/PID/status what is inherited: all else changes all the time. */
static void add_status(struct facts *facts)
{
	static const char *const lines[] = {"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp", "Speculation",
					    "Mems_allowed:", "THP_enabled:", "untag_mask:"};
	char text[8192];
	size_t size = read_of_caller("status", text, sizeof text - 1);
	facts->incomplete |= size == 0 || size == sizeof text - 1;
	text[size] = 0;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
		for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
			if (!strncmp(line, lines[i], strlen(lines[i])))
				add(facts, line, (size_t)(end - line));
}

/* `net:[4026531840]`: a third of the time that the file itself takes, which the kernel makes for whoever asks. */
static void add_namespace(struct facts *facts, const char *name)
{
	char text[64];
	ssize_t size = readlinkat(caller_proc, name, text, sizeof text);
	if (size > 0)
		add(facts, text, (size_t)size);
}

static void add_place(struct facts *facts, const char *name)
{
	struct stat info;
	if (fstatat(caller_proc, name, &info, 0) < 0)
		return;
	add(facts, &info.st_dev, sizeof info.st_dev);
	add(facts, &info.st_ino, sizeof info.st_ino);
}

static void gather(struct facts *facts)
{
	static const char *const files[] = {"cgroup", "oom_score_adj", "coredump_filter", "personality", "timerslack_ns"};
	static const char *const namespaces[] = {"ns/mnt", "ns/user", "ns/net", "ns/uts", "ns/ipc", "ns/cgroup",
						 "ns/pid_for_children", "ns/time_for_children"};
	char attributes[64] = {0}, processors[1024] = {0};
	facts->size = 0;
	facts->incomplete = caller_proc < 0 || getppid() != caller;
	for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
		struct rlimit limit;
		facts->incomplete |= prlimit(caller, resource, NULL, &limit) < 0;
		add(facts, &limit, sizeof limit);
	}
	facts->incomplete |= syscall(SYS_sched_getattr, caller, attributes, sizeof attributes, 0) < 0;
	add(facts, attributes, sizeof attributes);
	facts->incomplete |= syscall(SYS_sched_getaffinity, caller, sizeof processors, processors) < 0;
	add(facts, processors, sizeof processors);
	errno = 0;
	add_number(facts, syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, caller));
	add_number(facts, getpgid(caller));
	add_number(facts, getsid(caller));
	add_status(facts);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		add_file(facts, files[i]);
	add_place(facts, "root");
	for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++)
		add_namespace(facts, namespaces[i]);
}

static int is_as_at_birth(void)
{
	static struct facts now;
	gather(&now);
	return !now.incomplete && !at_birth.incomplete && now.size == at_birth.size &&
	       !memcmp(now.bytes, at_birth.bytes, now.size);
}

/* Shown by ps(1); it has the room that the name had which we were started by. */
static void call_ourselves(const char *text)
{
	if (!our_title)
		return;
	strncpy(our_title, text, title_room);
	our_title[title_room] = 0;
}

void ahead_begin(char *title)
{
	char name[32] = "/proc/";
	our_title = title;
	title_room = title ? strlen(title) : 0;
	caller = getppid();
	name[6 + decimal(name + 6, (uint64_t)caller)] = 0;
	caller_proc = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	gather(&at_birth);
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

#define MOST_GIVEN 16

/* Inherited slots that have their descriptors. */
static uint32_t filled;
/* The caller may have changed since our birth, and has not said yet that the command may run. */
static int unchecked;

/*
 * The caller has had us woken beside it, not behind it. It does so only where we were free to run everywhere, and all ones
 * are as good as never having been asked; a child that was born meanwhile has it from us.
 */
static void run_everywhere(const struct run *run)
{
	unsigned char all[1024];
	memset(all, 0xff, sizeof all);
	syscall(SYS_sched_setaffinity, 0, sizeof all, all);
	if (run->init > 0)
		syscall(SYS_sched_setaffinity, run->init, sizeof all, all);
}

/* Until it says that the command may run the caller has work to do on its processor, where the child would only disturb it. */
static void bring_along(const struct run *run)
{
	unsigned char ours[1024];
	long size = syscall(SYS_sched_getaffinity, 0, sizeof ours, ours);
	if (size > 0 && run->init > 0)
		syscall(SYS_sched_setaffinity, run->init, size, ours);
}

/* One message of the caller with the descriptors beside it; their number, or -errno. */
static int receive(struct run *run, struct message *message, int *fds)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(MOST_GIVEN * sizeof(int))];
	} control = {0};
	struct iovec part = {message, sizeof *message};
	struct msghdr whole = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t got;
	do
		got = recvmsg(run->control, &whole, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	struct cmsghdr *header = CMSG_FIRSTHDR(&whole);
	size_t count = 0;
	if (header && header->cmsg_type == SCM_RIGHTS) {
		count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), count * sizeof(int));
	}
	if (got == sizeof *message && message->type == MSG_SOON && message->a)
		bring_along(run);
	if (got == sizeof *message && message->type == MSG_GO && message->a)
		run_everywhere(run);
	if (got == sizeof *message && !(whole.msg_flags & MSG_CTRUNC))
		return (int)count;
	close_all(fds, count);
	return got == 0 ? -ECANCELED : -EBADMSG;
}

static int has_ended(int pidfd)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	return poll(&end, 1, 0) != 0;
}

/* A signal or a size that comes late is of the container before. */
static int receive_one_of(struct run *run, uint32_t one, uint32_t other, struct message *message, int *fds)
{
	int count;
	while ((count = receive(run, message, fds)) >= 0 && message->type != one && message->type != other)
		close_all(fds, (size_t)count);
	return count;
}

/* The next of the inherited slots get theirs. */
static int fill(struct run *run, const int *fds, int count)
{
	if (count < 0)
		return count;
	if ((uint32_t)count > run->plan->inherited - filled) {
		close_all(fds, (size_t)count);
		return -EBADMSG;
	}
	for (int i = 0; i < count; i++)
		run->fd[filled++] = fds[i];
	return 0;
}

/* Whoever has use for it at once says so by what `take` waits for. */
int op_hold(struct run *run, const struct arg *args)
{
	struct message message;
	int given[MOST_GIVEN];
	(void)start_time_of_init(run); /* told later, when somebody waits for it */
	filled = 0;
	int failed = fill(run, given, receive_one_of(run, MSG_SOON, MSG_GO, &message, given));
	if (failed)
		return failed;
	unchecked = message.type == MSG_SOON;
	call_ourselves(args[0].p);
	return has_ended(run->init_pidfd) ? -ESRCH : 0;
}

int op_take(struct run *run, const struct arg *args)
{
	(void)args;
	struct message message;
	int given[MOST_GIVEN];
	/* While the child does its part, and the caller its own. */
	if (unchecked && !is_as_at_birth())
		return -ESTALE;
	int failed = unchecked ? fill(run, given, receive_one_of(run, MSG_GO, MSG_GO, &message, given)) : 0;
	if (failed)
		return failed;
	if (filled != run->plan->inherited)
		return -EBADMSG;
	return has_ended(run->init_pidfd) ? -ESRCH : 0;
}

/*
 * Nothing of the container before is left but its words in a log that is not ours, and what nobody else can see: that is
 * answered, since to close it may wait for all processors (synchronize_rcu), for which nobody else has to.
 */
static int forget(struct run *run)
{
	uint32_t late = run->plan->late_slot;
	int rest = late < run->plan->slots ? run->fd[late] : -1;
	for (uint32_t i = 0; i < run->plan->slots; i++)
		if (i != late)
			close_fd(&run->fd[i]);
	close_fd(&run->sync);
	close_fd(&run->init_pidfd);
	munmap(run->memory, run->memory_size);
	int control = run->control, *fd = run->fd;
	pid_t *told_pid = run->told_pid;
	stage_fresh(run);
	run->control = control;
	run->fd = fd;
	run->told_pid = told_pid;
	return rest;
}

/* A datagram of its own, whose size nobody knows before it is there. */
static int take_plan(struct run *run)
{
	struct message *message;
	ssize_t size;
	do
		size = recv(run->control, NULL, 0, MSG_PEEK | MSG_TRUNC);
	while (size < 0 && errno == EINTR);
	if (size <= 0)
		return -ECANCELED;
	message = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (message == MAP_FAILED)
		return -errno;
	ssize_t got = recv(run->control, message, (size_t)size, 0);
	int is_plan = got == size && (size_t)got > sizeof *message && message->type == MSG_PLAN;
	if (is_plan && message->a)
		run_everywhere(run);
	if (is_plan && stage_plan(run, message, (size_t)size, sizeof *message) == 0)
		return 0;
	munmap(message, (size_t)size);
	return is_plan || got != size ? -EBADMSG : -EAGAIN;
}

int ahead_next(struct run *run)
{
	int failed, rest = forget(run);
	call_ourselves("tscrun: ahead");
	tell(run, MSG_RELEASED, 0, 0, 0);
	close_fd(&rest);
	do
		failed = take_plan(run);
	while (failed == -EAGAIN);
	return !failed;
}
