/*
 * When a check is due, and what follows from its result. The check itself is made by a process of its own (check.c), which
 * also writes it down: the monitor holds nothing of it but two numbers.
 */
#define _GNU_SOURCE
#include "health.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"

#define MS 1000000u
/* A check ends by itself when its time is over; this much later it is stuck, and killed. */
#define GRACE_MS 2000

static pid_t checker = -1;
static int answer = -1;
static uint64_t next_ns;     /* when the next check is to begin, or the one under way to be killed; 0: never */
static uint64_t period_ends; /* of the start period */

/*
 * The directory of health.json; in milliseconds the interval and how long a check may take; how many failures in a row make
 * it unhealthy; in milliseconds the start period and the interval in it; HEALTH_*; the plan of an exec.
 */
int op_health(struct run *run, const struct arg *args)
{
	run->health = (struct health){.directory = args[0].fd,
				      .interval_ms = args[1].u,
				      .timeout_ms = args[2].u,
				      .retries = args[3].u,
				      .start_period_ms = args[4].u,
				      .start_interval_ms = args[5].u,
				      .action = args[6].u,
				      .plan = args[7].p,
				      .plan_size = args[7].len};
	return 0;
}

static int is_starting(const struct health *health)
{
	return health->status == HEALTH_STARTING && now_ns() < period_ends;
}

static void plan_next(const struct health *health)
{
	next_ns = now_ns() + (is_starting(health) ? health->start_interval_ms : health->interval_ms) * MS;
}

void health_begin(struct run *run, const struct life *life)
{
	struct health *health = &run->health;
	if (health->directory < 0)
		return;
	period_ends = life->started_ns + health->start_period_ms * MS;
	health_write(health, NULL, NULL);
	plan_next(health);
}

static void forget_check(void)
{
	close_fd(&answer);
	answer = -1;
	while (checker > 0 && waitpid(checker, NULL, __WALL) < 0 && errno == EINTR)
		;
	checker = -1;
}

void health_end(struct run *run)
{
	if (checker > 0)
		kill(checker, SIGKILL);
	forget_check();
	next_ns = 0;
	/* What was found is wanted most where it is the reason for the end; the run directory goes. */
	if (run->health.directory >= 0 && run->directory >= 0)
		health_keep(&run->health, run->directory);
}

uint64_t health_due(void)
{
	return next_ns;
}

int health_watch(void)
{
	return answer;
}

static void begin_check(struct run *run)
{
	checker = health_fork(run, is_starting(&run->health), &answer);
	if (checker < 0)
		plan_next(&run->health); /* no memory, no processes: perhaps later */
	else
		next_ns = now_ns() + (run->health.timeout_ms + GRACE_MS) * MS;
}

void health_run_due(struct run *run)
{
	if (!next_ns || now_ns() < next_ns)
		return;
	if (checker > 0) {
		kill(checker, SIGKILL);
		next_ns = 0; /* its end is seen at `answer` */
	} else if (is_frozen(run)) {
		plan_next(&run->health);
	} else {
		begin_check(run);
	}
}

int health_check_now(struct run *run)
{
	if (run->health.directory < 0)
		return ENOENT;
	if (!next_ns && checker < 0)
		return ESRCH; /* between two lives */
	if (checker < 0 && is_frozen(run))
		return EBUSY;
	if (checker < 0)
		begin_check(run);
	return checker < 0 ? EAGAIN : 0;
}

void health_judge(struct health *health, int passed, int in_start_period)
{
	if (passed) {
		health->streak = 0;
		health->status = HEALTH_HEALTHY;
	} else if (health->status != HEALTH_STARTING || !in_start_period) {
		health->streak++;
		if (health->streak >= health->retries)
			health->status = HEALTH_UNHEALTHY;
	}
}

static void tell_change(struct run *run)
{
	static const char *const events[] = {
		[HEALTH_HEALTHY] = "health_status: healthy", [HEALTH_UNHEALTHY] = "health_status: unhealthy"};
	if (events[run->health.status])
		events_write(&run->events, events[run->health.status], NULL);
}

/* It has just become unhealthy. */
static void act(struct run *run)
{
	switch (run->health.action) {
	case HEALTH_KILL:
		kill_container(run);
		break;
	case HEALTH_RESTART:
		run->again = 1;
		stop_container(run);
		break;
	case HEALTH_STOP:
		run->stopped = 1;
		stop_container(run);
		break;
	}
}

int health_take(struct run *run, int *passed)
{
	struct verdict verdict;
	struct health *health = &run->health;
	enum health_status before = health->status;
	ssize_t got = recv(answer, &verdict, sizeof verdict, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	forget_check();
	if (got == sizeof verdict) {
		health->status = verdict.status;
		health->streak = verdict.streak;
	} else {
		verdict = (struct verdict){.counts = !is_frozen(run)};
		if (verdict.counts) {
			health_judge(health, 0, is_starting(health));
			health_write(health, NULL, NULL);
		}
	}
	plan_next(health);
	*passed = verdict.passed;
	if (health->status != before)
		tell_change(run);
	if (health->status == HEALTH_UNHEALTHY && before != HEALTH_UNHEALTHY)
		act(run);
	return 1;
}
