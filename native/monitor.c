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
#include "idle.h"
#include "membership.h"
#include "monitor.h"
#include "oom.h"
#include "pump.h"
#include "remove.h"
#include "window.h"

/* Between two starts of a container that keeps ending: doubled each time, forgotten once it ran for a while. */
#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 60000
#define STABLE_MS 10000
/* So long nothing has happened when the monitor gives back what only working needs. */
#define REST_AFTER_MS 500

void signal_init(struct run *run, int signal_number)
{
	if (run->init_pidfd >= 0)
		syscall(SYS_pidfd_send_signal, run->init_pidfd, signal_number, NULL, 0);
}

/* Process 1's death takes its pid namespace along; the cgroup also holds those of a shared pid namespace. */
void kill_container(struct run *run)
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

int is_frozen(struct run *run)
{
	char text[128];
	uint32_t slot = run->plan->cgroup_slot;
	if (slot >= run->plan->slots || run->fd[slot] < 0)
		return 0;
	cleanup_close fd = openat(run->fd[slot], "cgroup.events", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (got <= 0)
		return 0;
	text[got] = 0;
	return strstr(text, "frozen 1") != NULL;
}

void stop_container(struct run *run)
{
	signal_init(run, run->stop_signal ? (int)run->stop_signal : SIGTERM);
	run->kill_ns = now_ns() + run->stop_ms * 1000000;
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

enum { WATCH_INIT, WATCH_CONTROL, WATCH_SYNC, WATCH_WINDOW, WATCH_CHECK, WATCH_NAMES, WATCH_CLIENTS,
       WATCH_PUMPS = WATCH_CLIENTS + CLIENT_WATCHES };

static void begin(struct run *run, struct life *life, uint64_t restarts)
{
	life->started = 1;
	life->started_ms = wall_clock_ms();
	life->started_ns = now_ns();
	record_start(run, life, restarts);
	events_started(&run->events);
	health_begin(run, life);
	if (run->detached)
		oom_spare();
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static uint64_t limit_of(const struct run *run, const struct life *life)
{
	return run->time_limit_ms && life->started && !life->timed_out ? life->started_ns + run->time_limit_ms * 1000000 : 0;
}

/* When the next thing is to be done that nobody asks for, in milliseconds; -1: never. */
static int time_left(const struct run *run, const struct life *life)
{
	int slow;
	uint64_t now = now_ns(), due = sooner(limit_of(run, life), run->kill_ns);
	due = sooner(sooner(sooner(due, health_due()), names_due()), pump_patience_ends(&slow));
	if (!due)
		return -1;
	if (due <= now)
		return 0;
	return due - now > 1000000000000u ? 1000000 : (int)((due - now) / 1000000 + 1);
}

static void do_what_is_due(struct run *run, struct life *life)
{
	int slow = -1;
	uint64_t now = now_ns(), limit = limit_of(run, life), patience = pump_patience_ends(&slow);
	if (limit && now >= limit) {
		life->timed_out = 1;
		kill_container(run);
	}
	if (run->kill_ns && now >= run->kill_ns) {
		run->kill_ns = 0;
		kill_container(run);
	}
	if (patience && now >= patience)
		clients_let_go(slow);
	health_run_due(run);
	names_run_due();
}

/* Without a further life only the end of the plan is still needed. */
static void rest(const struct run *run)
{
	const uint8_t *begins = run->column[COLUMN_PARENT], *needed = run->column[COLUMN_TEARDOWN];
	if ((!run->detached || run->policy == RESTART_NO) && run->health.directory < 0)
		idle_free((void *)(uintptr_t)begins, (size_t)(needed - begins));
	pump_rest();
	log_rest();
	events_rest();
}

/* poll(2) until something happens or is due. */
static int wait_for_work(struct run *run, const struct life *life, struct pollfd *watched, int count)
{
	int left = time_left(run, life), long_one = left < 0 || left > REST_AFTER_MS;
	int ready = poll(watched, (nfds_t)count, long_one ? REST_AFTER_MS : left);
	if (ready || !long_one)
		return ready;
	/* Before the command runs there is no rest: its start is short. */
	if (life->started)
		rest(run);
	left = time_left(run, life);
	return life->started ? idle_poll(watched, (nfds_t)count, left) : poll(watched, (nfds_t)count, left);
}

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
		watched[WATCH_CHECK] = (struct pollfd){.fd = health_watch(), .events = POLLIN};
		watched[WATCH_NAMES] = (struct pollfd){.fd = names_watch(), .events = POLLIN};
		clients_poll(run, watched + WATCH_CLIENTS);
		int count = WATCH_PUMPS + pump_poll(watched + WATCH_PUMPS);
		if (wait_for_work(run, life, watched, count) < 0)
			continue; /* EINTR: stopped and continued */
		if (watched[WATCH_SYNC].revents) {
			/* Its end closes with the exec; what could not come to that says so first. */
			char failed;
			if (recv(run->sync, &failed, sizeof failed, MSG_DONTWAIT) <= 0 && !has_failed(run))
				begin(run, life, restarts);
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
		if (watched[WATCH_CHECK].revents)
			clients_take_check(run);
		if (watched[WATCH_NAMES].revents)
			names_lost();
		clients_run(run, watched + WATCH_CLIENTS);
		pump_run(watched + WATCH_PUMPS);
		clients_leave();
		do_what_is_due(run, life);
		if (watched[WATCH_INIT].revents)
			break;
	}
	health_end(run);
	run->kill_ns = 0;
	/* Nobody of a detached container's waits at the control socket: its end is none of the output's. */
	if (run->control >= 0 || run->detached)
		pump_drain(run->detached ? -1 : run->control);
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
	if (run->again)
		return 1;
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
	run->again = 0;
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
	if (life->timed_out)
		return EXIT_TIMED_OUT;
	return WIFSIGNALED(life->status) ? 128 + WTERMSIG(life->status) : WEXITSTATUS(life->status);
}

int supervise(struct run *run)
{
	uint64_t pause_ms = FIRST_PAUSE_MS;
	for (uint64_t restarts = 0;; restarts++) {
		struct life life = live(run, restarts);
		struct message exited = {.type = MSG_EXITED, .a = (uint64_t)life.status, .b = life.oom | (life.timed_out ? 4 : 0)};
		record_end(run, &life, restarts);
		if (life.started && run->detached)
			events_died(&run->events, life.status, life.oom != 0, life.timed_out, 0);
		/* Who is connected is so with this life; the next one may be joined anew. */
		clients_end(&exited);
		if (is_to_live_again(run, &life, restarts)) {
			release_mounts(run);
			tear_down(run, 0);
			pause_ms = wall_clock_ms() - life.started_ms > STABLE_MS ? FIRST_PAUSE_MS : pause_ms;
			wait_before_restart(run, pause_ms);
			if (run->policy == RESTART_NO && !run->again)
				run->stopped = 1; /* meanwhile */
			if (run->stopped)
				record_end(run, &life, restarts); /* once more: by whom */
			pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
		} else {
			run->stopped = 1;
		}
		if (run->stopped) {
			int stream, refused = pump_refused(&stream);
			tell(run, MSG_EXITED, (uint32_t)refused, exited.a, exited.b | (stream == 2 ? 2 : 0));
			/* A caller in the foreground has its answer first. */
			if (life.started && !run->detached)
				events_died(&run->events, life.status, life.oom != 0, life.timed_out, run->events.removes);
			release_mounts(run);
			int failed = tear_down(run, 1) < 0;
			if (run->events.removes && run->detached && life.started && !failed)
				events_write(&run->events, "destroy", NULL);
			return run->detached ? exit_code(&life) : failed;
		}
		reset(run);
		hear_yourself(run);
		oom_as_before();
		run->failed = run_column(run, COLUMN_PARENT) < 0;
	}
}
