#define _GNU_SOURCE
#include "follow.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../plan.h"
#include "../text.h"

#if defined(__x86_64__)
#define ARCH "x64"
#else
#define ARCH "arm64"
#endif

/* spawn.c, which Node calls too. */
long ts_spawn(long program, const int *fds, long count, const char *name, int *pidfd);

static int memory_file(const char *name, const void *bytes, size_t size, int sealed)
{
	int fd = memfd_create(name, MFD_CLOEXEC | (sealed ? MFD_ALLOW_SEALING : 0));
	size_t done = 0;
	while (fd >= 0 && done < size) {
		ssize_t put = write(fd, (const char *)bytes + done, size - done);
		if (put <= 0)
			break;
		done += (size_t)put;
	}
	int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	if (fd >= 0 && done == size && (!sealed || fcntl(fd, F_ADD_SEALS, seals) == 0))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Nobody can write to it through /proc/self/exe of a container (CVE-2019-5736). */
static int sealed_stage(const char *package)
{
	static const char file[] = "/native/" ARCH "/stage";
	struct stat info;
	char *path = malloc(strlen(package) + sizeof file);
	if (!path)
		return -1;
	*put(put(path, package), file) = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC), memory = -1;
	free(path);
	if (fd >= 0 && fstat(fd, &info) == 0 && info.st_size > 0) {
		void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
		if (bytes != MAP_FAILED) {
			memory = memory_file("tscrun", bytes, (size_t)info.st_size, 1);
			munmap(bytes, (size_t)info.st_size);
		}
	}
	if (fd >= 0)
		close(fd);
	return memory;
}

int load_stage(struct follow *follow, const char *package, const void *plan, size_t size)
{
	*follow = (struct follow){.plan = -1, .control = -1, .signals = -1, .monitor = -1, .pidfd = -1, .terminal = -1};
	follow->program = sealed_stage(package);
	follow->plan = memory_file("tscrun-plan", plan, size, 0);
	return follow->program >= 0 && follow->plan >= 0 ? 0 : -1;
}

int hold_signals(struct follow *follow, sigset_t *before)
{
	static const int handed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT};
	sigset_t held;
	sigemptyset(&held);
	for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++)
		sigaddset(&held, handed_on[i]);
	if (sigprocmask(SIG_BLOCK, &held, before) < 0)
		return -1;
	/* One that is ignored would never come. */
	for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++)
		signal(handed_on[i], SIG_DFL);
	follow->signals = signalfd(-1, &held, SFD_CLOEXEC | SFD_NONBLOCK);
	return follow->signals < 0 ? -1 : 0;
}

void keep_terminal(struct follow *follow)
{
	if (tcgetattr(0, &follow->mode) == 0)
		follow->terminal = 0;
}

int start_stage(struct follow *follow, const char *name, int lock)
{
	int pair[2];
	char title[sizeof "tscrun: " + MAX_NAME];
	*put(put(title, "tscrun: "), name) = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	follow->control = pair[0];
	int fds[] = {pair[1], follow->plan, 0, 1, 2, lock};
	long pid = ts_spawn(follow->program, fds, sizeof fds / sizeof *fds, title, &follow->pidfd);
	close(pair[1]);
	if (pid < 0)
		return -1;
	follow->monitor = (pid_t)pid;
	return 0;
}

/* Its first process can be found by `ps` and `exec`. */
static void write_state(const struct claim *claim, const struct message *started)
{
	char text[256], *at = put(text, "{\"version\":1,\"id\":\"");
	at = put(put(at, claim->identity.id), "\",\"pid\":");
	at = put(put_number(at, started->a), ",\"startTime\":");
	at = put(put_number(at, started->b), ",\"startedMs\":");
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	at = put(put_number(at, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000), "}");
	write_run_file(claim, "state.json", text, (size_t)(at - text));
}

static void on_message(struct follow *follow, const struct message *message)
{
	switch (message->type) {
	case MSG_FAILED:
		/* What fails behind the exit is the taking down. */
		if (!follow->exited)
			follow->failed = 1;
		break;
	case MSG_STARTED:
		if (!follow->failed)
			follow->started = 1;
		break;
	case MSG_EXITED:
		follow->exited = 1;
		follow->status = (int)message->a;
		follow->refused = (int)message->error;
		follow->refused_error = (message->b & 2) != 0;
	}
}

/* All that lies in the socket. */
static void read_control(struct follow *follow, struct claim *claim)
{
	union {
		struct message message;
		char room[2048]; /* a failure may have text behind it */
	} in;
	struct message started = {0};
	ssize_t got;
	while ((got = recv(follow->control, &in, sizeof in, MSG_DONTWAIT)) > 0 || (got < 0 && errno == EINTR)) {
		if (got < (ssize_t)sizeof in.message)
			continue;
		on_message(follow, &in.message);
		if (in.message.type == MSG_STARTED)
			started = in.message;
	}
	/* A command that has ended already needs no state for others to find it by. */
	if (started.type && follow->started && !follow->exited)
		write_state(claim, &started);
	if (got == 0 || (got < 0 && errno != EAGAIN)) {
		close(follow->control);
		follow->control = -1;
	}
}

static void hand_on(struct follow *follow)
{
	struct signalfd_siginfo info;
	while (read(follow->signals, &info, sizeof info) == sizeof info) {
		struct message message = {.type = MSG_SIGNAL, .a = info.ssi_signo};
		if (follow->control >= 0 && !follow->exited)
			(void)!send(follow->control, &message, sizeof message, MSG_NOSIGNAL);
	}
}

void follow_stage(struct follow *follow, struct claim *claim)
{
	struct pollfd watched[] = {{.fd = follow->control, .events = POLLIN},
				   {.fd = follow->signals, .events = POLLIN},
				   {.fd = follow->pidfd, .events = POLLIN}};
	int gone = 0, ended = 0;
	while (!ended) {
		watched[0].fd = follow->control;
		if (poll(watched, 3, -1) < 0)
			continue; /* EINTR: stopped and continued */
		ended = watched[2].revents != 0;
		if (follow->control >= 0 && (watched[0].revents || ended))
			read_control(follow, claim);
		if (watched[1].revents)
			hand_on(follow);
		/* Process 1 of its pid namespace took everyone along: what it leaves goes while the monitor takes down the rest. */
		if (follow->exited && !follow->failed && !gone) {
			take_back_files(claim);
			gone = 1;
		}
	}
	int status = 0;
	waitpid(follow->monitor, &status, __WALL);
	follow->killed = WIFSIGNALED(status);
	follow->died = !follow->exited && !follow->failed;
	if (follow->died && follow->terminal >= 0)
		tcsetattr(follow->terminal, TCSADRAIN, &follow->mode);
}

void close_follow(struct follow *follow)
{
	int *fds[] = {&follow->program, &follow->plan, &follow->control, &follow->signals, &follow->pidfd};
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
