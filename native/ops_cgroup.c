/* The end of a container's cgroup, as a step. */
#define _GNU_SOURCE
#include "stage.h"

#include "remove.h"

int op_cgroup_remove(struct run *run, const struct arg *args)
{
	(void)run;
	return cgroup_end(args[0].fd, args[1].p);
}
