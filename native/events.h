/* What happens to containers, told to a file that all commands and monitors of a store append to. */
#ifndef TSCRUN_EVENTS_H
#define TSCRUN_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#define EVENT_NAME_BYTES 256
#define EVENT_ATTRIBUTES_BYTES 8192
#define EVENT_VOLUMES_BYTES 4096

/* Of the container that is supervised; `path` is NULL where nobody wants to know. */
struct events {
	const char *path;
	const char *id;
	char name[EVENT_NAME_BYTES];
	const char *attributes; /* members of a JSON object */
	size_t attributes_size;
	const char *volumes; /* of each a name, and what a mount says of it as members of a JSON object; both end with a zero */
	size_t volumes_size;
	int removes;	     /* its end is its removal */
	int exec;	     /* it is one more command in the container */
	uint64_t created_ns; /* when it was made, if that has not been told yet */
};

/* Appends one event. `more`: further attributes as members of a JSON object, or NULL. What cannot be written is lost. */
void events_write(struct events *events, const char *action, const char *more);
/* The same of a volume. */
void events_write_volume(const struct events *events, const char *action, const char *name, const char *more);
/* The start, before it that it was made and its volumes are mounted. */
void events_started(struct events *events);
/* And that its volumes are unmounted; `removed`: and with it, its removal. */
void events_died(struct events *events, int status, int oom_killed, int timed_out, int removed);

/* Gives back what only writing needs. */
void events_rest(void);

#endif
