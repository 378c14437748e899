/*
 * The monitor: waits for the container's end, copies its standard streams, hands signals on. It holds the lifeline:
 * when Node is gone (the control socket ends), the container is killed.
 */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pump.h"

static void signal_init(struct run *run, int signal_number)
{
	syscall(SYS_pidfd_send_signal, run->init_pidfd, signal_number, NULL, 0);
}

/* Process 1's death takes its pid namespace along; the cgroup also holds those of a shared pid namespace. */
static void kill_container(struct run *run)
{
	uint32_t slot = run->plan->cgroup_slot;
	if (slot < run->plan->slots && run->fd[slot] >= 0)
		cgroup_kill(run->fd[slot]);
	signal_init(run, SIGKILL);
}

static uint64_t oom_killed(struct run *run)
{
	char text[512];
	uint32_t slot = run->plan->cgroup_slot;
	if (slot >= run->plan->slots || run->fd[slot] < 0)
		return 0;
	cleanup_close fd = openat(run->fd[slot], "memory.events", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (got <= 0)
		return 0;
	text[got] = 0;
	char *line = strstr(text, "\noom_kill ");
	return line && strtoull(line + strlen("\noom_kill "), NULL, 10) > 0;
}

/* Answers whether Node is still there. */
static int on_control(struct run *run)
{
	struct message message;
	ssize_t got = recv(run->control, &message, sizeof message, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got != sizeof message)
		return 0;
	if (message.type == MSG_SIGNAL)
		signal_init(run, (int)message.a);
	else if (message.type == MSG_RESIZE)
		pump_resize(run, (unsigned short)message.a, (unsigned short)message.b);
	return 1;
}

enum { WATCH_INIT, WATCH_CONTROL, WATCH_SYNC, WATCH_WINCH, WATCH_PUMPS };

/* Until the first process has ended: streams, signals, the lifeline. */
static void watch(struct run *run)
{
	int winch = pump_start(run);
	struct pollfd watched[WATCH_PUMPS + 2 * MAX_PUMPS] = {
		[WATCH_INIT] = {.fd = run->init_pidfd, .events = POLLIN},
		[WATCH_CONTROL] = {.fd = run->control, .events = POLLIN},
		[WATCH_SYNC] = {.fd = run->sync, .events = POLLIN},
		[WATCH_WINCH] = {.fd = winch, .events = POLLIN},
	};
	for (;;) {
		int count = WATCH_PUMPS + pump_poll(watched + WATCH_PUMPS);
		if (poll(watched, (nfds_t)count, -1) < 0)
			continue; /* EINTR: stopped and continued */
		if (watched[WATCH_SYNC].revents) {
			/* Its end closes with the exec. */
			tell(run, MSG_STARTED, 0, (uint64_t)run->init, start_time_of_init(run));
			watched[WATCH_SYNC].fd = -1;
		}
		if (watched[WATCH_CONTROL].revents && !on_control(run)) {
			kill_container(run);
			watched[WATCH_CONTROL].fd = -1;
		}
		if (watched[WATCH_WINCH].revents)
			pump_window_changed(run, winch);
		pump_run(watched + WATCH_PUMPS);
		if (watched[WATCH_INIT].revents)
			break;
	}
	pump_drain();
	close_fd(&winch);
}

static int reap(struct run *run)
{
	int status = 0;
	pid_t got;
	do
		got = waitpid(run->init, &status, __WALL);
	while (got < 0 && errno == EINTR);
	return status;
}

/* The last holder of a mount namespace syncs the overlay's upper filesystem: that comes after the exit was told. */
static void release_mounts(struct run *run)
{
	uint32_t slot = run->plan->mntns_slot;
	if (slot < run->plan->slots && run->fd[slot] >= 0)
		close(run->fd[slot]);
}

int supervise(struct run *run)
{
	int status = 0;
	if (run->init > 0) {
		if (run->failed)
			kill_container(run);
		else
			watch(run);
		status = reap(run);
	}
	pump_restore(run);
	tell(run, MSG_EXITED, 0, (uint64_t)status, oom_killed(run));
	release_mounts(run);
	return run_column(run, COLUMN_TEARDOWN) < 0 ? 1 : 0;
}
