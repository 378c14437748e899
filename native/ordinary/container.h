/* What `create` has written for us about a container (src/runtime/brief.ts), and what the kernel says of it. */
#ifndef TSCRUN_CONTAINER_H
#define TSCRUN_CONTAINER_H

#include <stddef.h>

enum status { CREATED, RUNNING, PAUSED, STOPPED, UNKNOWN };

struct brief {
	char text[65536];
	long pid;
	unsigned long long start_time;	/* of that process, in clock ticks */
	int starts_plainly, ends_plainly; /* nothing but the gate, nothing but a cgroup and files */
	const char *cgroup;		/* absolute; empty without one */
	const char *document[3];	/* of `state`, to be joined by the pid and the status */
};

/* Whether there is one, whole and of the version that is known here. */
int read_brief(int directory, struct brief *brief);
enum status status_of(int directory, const struct brief *brief);
/* Whether the pid still is that process. */
int is_there(const struct brief *brief);

#endif
