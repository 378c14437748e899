/* Health checks: a command in the container, now and again, whose exit code tells whether the container is well. */
#ifndef TSCRUN_HEALTH_H
#define TSCRUN_HEALTH_H

#include <stddef.h>
#include <stdint.h>

struct run;
struct life;

enum health_status { HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

/* What is asked for, and how it stands; of one container. */
struct health {
	int directory; /* of health.json; -1: there are no checks */
	uint64_t interval_ms, timeout_ms, retries, start_period_ms, start_interval_ms;
	uint64_t action; /* HEALTH_* of plan.h */
	const char *plan; /* of the check, which is an exec */
	size_t plan_size;
	enum health_status status;
	uint64_t streak; /* of failures */
};

/* A check that has ended. */
struct check {
	uint64_t started_ms, ended_ms;
	int exit_code;	/* -1: it was killed, or could not be started */
	int timed_out;
	uint32_t error, op; /* which step could not be done, and why; 0 where all could */
	size_t said;	/* bytes of its output that are kept */
	int said_more;
};

/* The process that makes a check answers this; nothing where it was itself killed. */
struct verdict {
	int counts; /* 0: the container was frozen meanwhile */
	int passed;
	enum health_status status;
	uint64_t streak;
};

/* The command runs: the first check comes after a while. */
void health_begin(struct run *run, const struct life *life);
/* The container has ended, and with it a check under way. */
void health_end(struct run *run);
/* When the next thing is to be done (CLOCK_MONOTONIC, nanoseconds); 0: nothing. */
uint64_t health_due(void);
/* Does what is due. */
void health_run_due(struct run *run);
/* A descriptor that is readable when a check has ended, or -1. */
int health_watch(void);
/* Takes the verdict; answers 1 if there is one to tell those who wait for it, and whether the check passed. */
int health_take(struct run *run, int *passed);
/* Makes a check at once, unless one is under way. 0, or the errno: ENOENT where none is defined. */
int health_check_now(struct run *run);

/* How a result changes the state (docker's rules). */
void health_judge(struct health *health, int passed, int in_start_period);
/* Writes health.json with one more check, or (NULL) as it is now; the last five checks stay in it. */
void health_write(const struct health *health, const struct check *check, const char *said);
/* Copies health.json to where it outlives the container. */
void health_keep(const struct health *health, int directory);
/* Makes a check in a process of its own. Answers its pid, and where its verdict will be. */
int health_fork(struct run *run, int in_start_period, int *verdict);

#endif
