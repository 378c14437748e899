/* Steps on what a process carries beside its identity: scheduling, memory, its terminal's size. */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct sched_attr of sched_setattr(2), its first version. */
struct scheduling {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

int op_scheduler(struct run *run, const struct arg *args)
{
	(void)run;
	struct scheduling wanted = {
		.size = sizeof wanted,
		.policy = (uint32_t)args[0].u,
		.flags = args[1].u,
		.nice = (int32_t)(uint32_t)args[2].u,
		.priority = (uint32_t)args[3].u,
		.runtime = args[4].u,
		.deadline = args[5].u,
		.period = args[6].u,
	};
	return syscall(SYS_sched_setattr, 0, &wanted, 0) < 0 ? -errno : 0;
}

#define ONE_PROCESS 1 /* IOPRIO_WHO_PROCESS */

int op_io_priority(struct run *run, const struct arg *args)
{
	(void)run;
	return syscall(SYS_ioprio_set, ONE_PROCESS, 0, (int)args[0].u) < 0 ? -errno : 0;
}

int op_personality(struct run *run, const struct arg *args)
{
	(void)run;
	return personality(args[0].u) < 0 ? -errno : 0;
}

/* The kernel wants to know how many bits there are, and takes one less (set_mempolicy(2), BUGS). */
int op_memory_policy(struct run *run, const struct arg *args)
{
	(void)run;
	const void *nodes = args[1].len ? args[1].p : NULL;
	return syscall(SYS_set_mempolicy, (int)args[0].u, nodes, args[1].len ? args[1].len * 8 + 1 : 0) < 0 ? -errno : 0;
}

int op_cpu_affinity(struct run *run, const struct arg *args)
{
	(void)run;
	return syscall(SYS_sched_setaffinity, 0, args[0].len, args[0].p) < 0 ? -errno : 0;
}

int op_window_size(struct run *run, const struct arg *args)
{
	(void)run;
	struct winsize size = {.ws_row = (unsigned short)args[1].u, .ws_col = (unsigned short)args[2].u};
	return ioctl(args[0].fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}
