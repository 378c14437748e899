/*
 * One JSON object a line, as docker's API has events:
 *
 *   {"Type":"container","Action":"die","Actor":{"ID":"...","Attributes":{"image":"...","name":"...","exitCode":"1"}},
 *    "scope":"local","time":1700000000,"timeNano":1700000000000000000}
 *
 * Each is one write(2) to a file opened for appending, so that lines of several writers stay whole. A file that has grown
 * too large becomes FILE.1; src/engine/events/events.ts writes and reads the same.
 */
#define _GNU_SOURCE
#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "idle.h"
#include "stage.h"
#include "text.h"

#define MOST_BYTES (1024 * 1024)
#define LONGEST_EVENT (EVENT_ATTRIBUTES_BYTES + EVENT_NAME_BYTES + 1024)

static uint64_t wall_clock_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static char *put_event(char *at, const struct events *events, const char *action, const char *more, uint64_t ns)
{
	at = put(put(put(at, "{\"Type\":\"container\",\"Action\":\""), action), "\",\"Actor\":{\"ID\":\"");
	at = put(put(at, events->id), "\",\"Attributes\":{");
	memcpy(at, events->attributes, events->attributes_size);
	at += events->attributes_size;
	at = put(put(put(at, events->attributes_size ? ",\"name\":\"" : "\"name\":\""), events->name), "\"");
	if (more)
		at = put(put(at, ","), more);
	at = put_number(put(at, "}},\"scope\":\"local\",\"time\":"), ns / 1000000000u);
	return put(put_number(put(at, ",\"timeNano\":"), ns), "}\n");
}

static char *put_volume_event(char *at, const struct events *events, const char *action, const char *name, const char *more)
{
	uint64_t ns = wall_clock_ns();
	at = put(put(put(at, "{\"Type\":\"volume\",\"Action\":\""), action), "\",\"Actor\":{\"ID\":\"");
	at = put(put(at, name), "\",\"Attributes\":{\"driver\":\"local\"");
	if (more)
		at = put(put(put(put(at, ",\"container\":\""), events->id), "\""), more);
	at = put_number(put(at, "}},\"scope\":\"local\",\"time\":"), ns / 1000000000u);
	return put(put_number(put(at, ",\"timeNano\":"), ns), "}\n");
}

/* Whoever holds the lock of the file that is still there under its name renames it: nobody does so twice. */
static void rotate(const char *path, int fd)
{
	struct stat ours, there;
	char older[PATH_MAX];
	if (fstat(fd, &ours) < 0 || ours.st_size < MOST_BYTES || strlen(path) + sizeof ".1" > sizeof older)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || lstat(path, &there) < 0)
		return;
	if (there.st_ino != ours.st_ino || there.st_dev != ours.st_dev)
		return;
	*put(put(older, path), ".1") = 0;
	(void)!rename(path, older);
}

static void append(const char *path, const char *text, size_t size)
{
	cleanup_close fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, size) != (ssize_t)size)
		return;
	rotate(path, fd);
}

static char text[2 * LONGEST_EVENT] __attribute__((aligned(4096)));
/* What the plan says: its own memory may be given back. */
static char kept[PATH_MAX + 65 + EVENT_ATTRIBUTES_BYTES + EVENT_VOLUMES_BYTES];

void events_write(struct events *events, const char *action, const char *more)
{
	if (!events->path || strlen(action) + (more ? strlen(more) : 0) > 512)
		return;
	char *end = put_event(text, events, action, more, wall_clock_ns());
	append(events->path, text, (size_t)(end - text));
}

void events_write_volume(const struct events *events, const char *action, const char *name, const char *more)
{
	if (!events->path || strlen(name) + (more ? strlen(more) : 0) > EVENT_VOLUMES_BYTES)
		return;
	char *end = put_volume_event(text, events, action, name, more);
	append(events->path, text, (size_t)(end - text));
}

static void write_volumes(const struct events *events, const char *action, int with_how)
{
	for (const char *at = events->volumes, *end = at + events->volumes_size; at < end;) {
		const char *name = at, *how = name + strlen(name) + 1;
		at = how + strlen(how) + 1;
		events_write_volume(events, action, name, with_how ? how : "");
	}
}

void events_started(struct events *events)
{
	char *at = text;
	if (!events->path || events->exec)
		return;
	if (events->created_ns)
		at = put_event(at, events, "create", NULL, events->created_ns);
	events->created_ns = 0;
	if (events->volumes_size) {
		append(events->path, text, (size_t)(at - text));
		write_volumes(events, "mount", 1);
		at = text;
	}
	at = put_event(at, events, "start", NULL, wall_clock_ns());
	append(events->path, text, (size_t)(at - text));
}

void events_died(struct events *events, int status, int oom_killed, int timed_out, int removed)
{
	char more[64];
	int code = timed_out ? EXIT_TIMED_OUT : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (!events->path)
		return;
	if (oom_killed && !events->exec)
		events_write(events, "oom", NULL);
	char *behind = put(put_number(put(more, "\"exitCode\":\""), (uint64_t)code), "\"");
	*(timed_out ? put(behind, ",\"timedOut\":\"true\"") : behind) = 0;
	char *at = put_event(text, events, events->exec ? "exec_die" : "die", more, wall_clock_ns());
	if (events->volumes_size) {
		append(events->path, text, (size_t)(at - text));
		write_volumes(events, "unmount", 0);
		at = text;
	}
	if (removed)
		at = put_event(at, events, "destroy", NULL, wall_clock_ns());
	append(events->path, text, (size_t)(at - text));
}

void events_rest(void)
{
	idle_free(text, sizeof text);
}

/* Names and what is said of them come in pairs. */
static int are_volumes(const struct arg *volumes)
{
	size_t zeros = 0;
	for (size_t i = 0; i < volumes->len; i++)
		zeros += !volumes->p[i];
	return !volumes->len || (!volumes->p[volumes->len - 1] && zeros % 2 == 0);
}

int op_events(struct run *run, const struct arg *args)
{
	struct events *events = &run->events;
	const char *path = args[0].p, *id = args[1].p, *name = args[2].p;
	int first = !events->path;
	if (strlen(path) >= PATH_MAX || strlen(id) > 64 || strlen(name) >= sizeof events->name || args[3].len > EVENT_ATTRIBUTES_BYTES)
		return -EMSGSIZE;
	if (args[5].len > EVENT_VOLUMES_BYTES || !are_volumes(&args[5]))
		return -EBADMSG;
	char *kept_id = put(kept, path) + 1, *kept_attributes = put(kept_id, id) + 1;
	memcpy(kept_attributes, args[3].p, args[3].len);
	kept_id[-1] = kept_attributes[-1] = 0;
	char *kept_volumes = kept_attributes + args[3].len;
	memcpy(kept_volumes, args[5].p, args[5].len);
	*events = (struct events){.path = kept,
				  .id = kept_id,
				  .attributes = kept_attributes,
				  .attributes_size = args[3].len,
				  .volumes = kept_volumes,
				  .volumes_size = args[5].len,
				  .removes = (args[4].u & EVENTS_REMOVE) != 0,
				  .exec = (args[4].u & EVENTS_EXEC) != 0};
	memcpy(events->name, name, strlen(name) + 1);
	/* Told with the start, which is on nobody's way. */
	if (first && args[4].u & EVENTS_CREATE)
		events->created_ns = wall_clock_ns();
	return 0;
}
