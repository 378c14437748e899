/* One life of a container, and what its monitor does about it. */
#ifndef TSCRUN_MONITOR_H
#define TSCRUN_MONITOR_H

#include "stage.h"

struct life {
	int started; /* the command ran */
	uint64_t started_ms, started_ns; /* CLOCK_REALTIME, CLOCK_MONOTONIC */
	uint64_t finished_ms;
	int status;
	uint64_t oom;
	int timed_out;
};

uint64_t wall_clock_ms(void);
/* Under another name first, which ends in `.new`: a reader sees the old file or the new one. */
void write_whole(int directory, const char *name, const char *text, size_t size);
/* state.json, while it runs; exit.json, when it has ended. */
void record_start(struct run *run, const struct life *life, uint64_t restarts);
void record_end(struct run *run, const struct life *life, uint64_t restarts);

/* Everyone in it, by its cgroup and by its first process. */
void kill_container(struct run *run);
/* Its stop signal, and SIGKILL when its time is over. */
void stop_container(struct run *run);
/* Whether everyone in it is frozen (paused). */
int is_frozen(struct run *run);

#endif
