/*
 * The monitor: waits for the container's end, copies its standard streams, hands signals on, and starts it again where
 * that is asked for.
 *
 * In the foreground it holds the lifeline: when Node is gone (the control socket ends), the container is killed. Detached
 * it does so only until the container runs; from then on it answers to the clients of its socket.
 */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clients.h"
#include "pump.h"
#include "text.h"
#include "window.h"

/* Between two starts of a container that keeps ending: doubled each time, forgotten once it ran for a while. */
#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 60000
#define STABLE_MS 10000

void signal_init(struct run *run, int signal_number)
{
	if (run->init_pidfd >= 0)
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

static uint64_t wall_clock_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Under another name first: a reader sees the old file or the new one. */
static void write_whole(int directory, const char *name, const char *text, size_t size)
{
	cleanup_close fd = openat(directory, "new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, text, size) == (ssize_t)size)
		renameat(directory, "new", directory, name);
}

struct entry {
	const char *name;
	uint64_t value;
};

/* A JSON object of numbers. */
static void write_record(int directory, const char *name, const struct entry *entries)
{
	char text[512], *at = put(text, "{\"version\":1");
	if (directory < 0)
		return;
	for (; entries->name; entries++)
		at = put_number(put(put(put(at, ",\""), entries->name), "\":"), entries->value);
	at = put(at, "}");
	write_whole(directory, name, text, (size_t)(at - text));
}

/* One life of the container. */
struct life {
	int started; /* the command ran */
	uint64_t started_ms, finished_ms;
	int status;
	uint64_t oom;
};

static void note_start(struct run *run, struct life *life, uint64_t restarts)
{
	uint64_t start_time = start_time_of_init(run);
	life->started = 1;
	life->started_ms = wall_clock_ms();
	write_record(run->run_dir, "state.json",
		     (struct entry[]){{"pid", (uint64_t)run->init},
				      {"startTime", start_time},
				      {"startedMs", life->started_ms},
				      {"restarts", restarts},
				      {NULL, 0}});
	tell(run, MSG_STARTED, 0, (uint64_t)run->init, start_time);
	events_started(&run->events);
}

static void note_end(struct run *run, const struct life *life, uint64_t restarts)
{
	write_record(run->directory, "exit.json",
		     (struct entry[]){{"status", (uint64_t)life->status},
				      {"oomKilled", life->oom},
				      {"startedMs", life->started_ms},
				      {"finishedMs", life->finished_ms},
				      {"restarts", restarts},
				      {"byPerson", (uint64_t)run->by_person},
				      {"failedColumn", run->failed ? run->failure.column : 0},
				      {"failedStep", run->failed ? run->failure.step : 0},
				      {"failedErrno", run->failed ? run->failure.error : 0},
				      {NULL, 0}});
	if (run->run_dir >= 0)
		unlinkat(run->run_dir, "state.json", 0);
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
		window_resize((unsigned short)message.a, (unsigned short)message.b);
	return 1;
}

/* With Node gone the monitor itself is told what fails in the first process before its exec. */
static void hear_yourself(struct run *run)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	close_fd(&run->control);
	close_fd(&run->own_end);
	run->control = pair[0];
	run->own_end = pair[1];
}

/* Whether the first process has told of a failure before it ended. */
static int has_failed(struct run *run)
{
	struct message message;
	while (run->own_end >= 0 && recv(run->own_end, &message, sizeof message, MSG_DONTWAIT) >= (ssize_t)sizeof message)
		if (message.type == MSG_FAILED) {
			run->failure = message;
			run->failed = 1;
		}
	return run->failed;
}

enum { WATCH_INIT, WATCH_CONTROL, WATCH_SYNC, WATCH_WINDOW, WATCH_CLIENTS, WATCH_PUMPS = WATCH_CLIENTS + CLIENT_WATCHES };

/* Until the first process has ended: streams, signals, the lifeline. */
static void watch(struct run *run, struct life *life, uint64_t restarts)
{
	struct pollfd watched[WATCH_PUMPS + PUMP_WATCHES] = {
		[WATCH_INIT] = {.fd = run->init_pidfd, .events = POLLIN},
		[WATCH_CONTROL] = {.fd = run->own_end >= 0 ? -1 : run->control, .events = POLLIN},
		[WATCH_SYNC] = {.fd = run->sync, .events = POLLIN},
		[WATCH_WINDOW] = {.fd = window_watch(), .events = POLLIN},
	};
	for (;;) {
		clients_poll(run, watched + WATCH_CLIENTS);
		int count = WATCH_PUMPS + pump_poll(watched + WATCH_PUMPS);
		if (poll(watched, (nfds_t)count, -1) < 0)
			continue; /* EINTR: stopped and continued */
		if (watched[WATCH_SYNC].revents) {
			/* Its end closes with the exec. */
			if (!has_failed(run))
				note_start(run, life, restarts);
			watched[WATCH_SYNC].fd = -1;
		}
		if (watched[WATCH_CONTROL].revents && !on_control(run)) {
			if (!run->detached || !life->started)
				kill_container(run);
			close_fd(&run->control);
			run->control = watched[WATCH_CONTROL].fd = -1;
		}
		if (watched[WATCH_WINDOW].revents)
			window_changed();
		clients_run(run, watched + WATCH_CLIENTS);
		pump_run(watched + WATCH_PUMPS);
		clients_leave();
		if (watched[WATCH_INIT].revents)
			break;
	}
	if (run->control >= 0 || run->detached)
		pump_drain(run->control);
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
	if (slot < run->plan->slots && run->fd[slot] >= 0) {
		close(run->fd[slot]);
		run->fd[slot] = -1;
	}
}

static struct life live(struct run *run, uint64_t restarts)
{
	struct life life = {0};
	if (run->init > 0) {
		pump_start(run, run->log.fd >= 0 ? &run->log : NULL);
		if (run->failed)
			kill_container(run);
		else
			watch(run, &life, restarts);
		life.status = reap(run);
	}
	if (!life.started && run->failed)
		life.status = 125 << 8; /* could not be started (again) */
	pump_end();
	life.oom = oom_killed(run);
	life.finished_ms = wall_clock_ms();
	return life;
}

static int is_to_live_again(const struct run *run, const struct life *life, uint64_t restarts)
{
	if (!run->detached || run->stopped || run->failed || !life->started)
		return 0;
	if (run->most_restarts && restarts >= run->most_restarts)
		return 0;
	return run->policy == RESTART_ALWAYS || (run->policy == RESTART_ON_FAILURE && life->status != 0);
}

/* Clients may stop the container meanwhile. */
static void wait_before_restart(struct run *run, uint64_t pause_ms)
{
	uint64_t until = now_ns() + pause_ms * 1000000;
	while (!run->stopped && now_ns() < until) {
		struct pollfd watched[CLIENT_WATCHES];
		int count = clients_poll(run, watched);
		if (poll(watched, (nfds_t)count, (int)((until - now_ns()) / 1000000 + 1)) > 0)
			clients_run(run, watched);
	}
}

/* Back to where the plan began: only what was inherited stays open. */
static void reset(struct run *run)
{
	for (uint32_t i = run->plan->inherited; i < run->plan->slots; i++) {
		close_fd(&run->fd[i]);
		run->fd[i] = -1;
	}
	close_fd(&run->sync);
	close_fd(&run->init_pidfd);
	run->sync = run->init_pidfd = -1;
	run->init = -1;
	/* What somebody has changed meanwhile; one that cannot be read leaves it as it was. */
	if (run->next_plan >= 0)
		(void)map_plan(run, take_fd(&run->next_plan));
}

/* Everything goes, or everything but what the next life needs. */
static int tear_down(struct run *run, int final)
{
	run->final = final;
	return run_column(run, COLUMN_TEARDOWN);
}

/* Whoever started the monitor as a service sees how the container ended. */
static int exit_code(const struct life *life)
{
	return WIFSIGNALED(life->status) ? 128 + WTERMSIG(life->status) : WEXITSTATUS(life->status);
}

int supervise(struct run *run)
{
	uint64_t pause_ms = FIRST_PAUSE_MS;
	for (uint64_t restarts = 0;; restarts++) {
		struct life life = live(run, restarts);
		struct message exited = {.type = MSG_EXITED, .a = (uint64_t)life.status, .b = life.oom};
		note_end(run, &life, restarts);
		if (life.started && run->detached)
			events_died(&run->events, life.status, life.oom != 0);
		/* Who is connected is so with this life; the next one may be joined anew. */
		clients_end(&exited);
		if (is_to_live_again(run, &life, restarts)) {
			release_mounts(run);
			tear_down(run, 0);
			pause_ms = wall_clock_ms() - life.started_ms > STABLE_MS ? FIRST_PAUSE_MS : pause_ms;
			wait_before_restart(run, pause_ms);
			if (run->policy == RESTART_NO)
				run->stopped = 1; /* meanwhile */
			if (run->stopped)
				note_end(run, &life, restarts); /* once more: by whom */
			pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
		} else {
			run->stopped = 1;
		}
		if (run->stopped) {
			int stream, refused = pump_refused(&stream);
			tell(run, MSG_EXITED, (uint32_t)refused, exited.a, exited.b | (stream == 2 ? 2 : 0));
			/* A caller in the foreground has its answer first. */
			if (life.started && !run->detached)
				events_died(&run->events, life.status, life.oom != 0);
			release_mounts(run);
			int failed = tear_down(run, 1) < 0;
			if (run->events.removes && !failed)
				events_write(&run->events, "destroy", NULL);
			return run->detached ? exit_code(&life) : failed;
		}
		reset(run);
		hear_yourself(run);
		run->failed = run_column(run, COLUMN_PARENT) < 0;
	}
}
