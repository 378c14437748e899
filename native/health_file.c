/* health.json: a line for how it stands, then a line for each of the last checks, so that the next one can be added. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "health.h"
#include "idle.h"
#include "json.h"
#include "monitor.h"
#include "text.h"

#define FILE_NAME "health.json"
#define KEPT 5
#define OUTPUT_BYTES 4096
#define LINE_BYTES (JSON_MOST * OUTPUT_BYTES + 512)

static char before[KEPT * LINE_BYTES] __attribute__((aligned(4096)));
static char after[(KEPT + 1) * LINE_BYTES] __attribute__((aligned(4096)));

static ssize_t read_file(int directory)
{
	cleanup_close fd = openat(directory, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -1 : read(fd, before, sizeof before);
}

/* The lines of the last checks, at most `most` of them, without what parts them. Answers how many. */
static int read_checks(int directory, const char **lines, size_t *sizes, int most)
{
	ssize_t got = read_file(directory);
	int count = 0;
	for (const char *line = before, *end; got > 0 && (end = memchr(line, '\n', (size_t)(before + got - line))); line = end + 1) {
		static const char begin[] = "{\"startedMs\"";
		if ((size_t)(end - line) < sizeof begin || memcmp(line, begin, sizeof begin - 1) != 0)
			continue;
		if (count == most) {
			memmove(lines, lines + 1, (size_t)(most - 1) * sizeof *lines);
			memmove(sizes, sizes + 1, (size_t)(most - 1) * sizeof *sizes);
			count--;
		}
		lines[count] = line;
		sizes[count++] = (size_t)(end - line) - (end[-1] == ',');
	}
	return count;
}

static char *put_check(char *at, const struct check *check, const char *said)
{
	at = put_number(put(at, "{\"startedMs\":"), check->started_ms);
	at = put_number(put(at, ",\"endedMs\":"), check->ended_ms);
	at = put(at, ",\"exitCode\":");
	at = check->exit_code < 0 ? put(at, "-1") : put_number(at, (uint64_t)check->exit_code);
	at = put(at, check->timed_out ? ",\"timedOut\":true" : "");
	if (check->error)
		at = put_number(put(put_number(put(at, ",\"errno\":"), check->error), ",\"op\":"), check->op);
	at = put(at, check->said_more ? ",\"more\":true" : "");
	return put(put_json(put(at, ",\"output\":\""), said, check->said), "\"}");
}

void health_write(const struct health *health, const struct check *check, const char *said)
{
	static const char *const names[] = {"starting", "healthy", "unhealthy"};
	const char *lines[KEPT];
	size_t sizes[KEPT];
	int count = read_checks(health->directory, lines, sizes, check ? KEPT - 1 : KEPT);
	char *at = put(put(put(after, "{\"version\":1,\"status\":\""), names[health->status]), "\",\"failingStreak\":");
	at = put(put_number(at, health->streak), ",\"checks\":[\n");
	for (int i = 0; i < count; i++) {
		memcpy(at, lines[i], sizes[i]);
		at = put(at + sizes[i], i + 1 < count || check ? ",\n" : "\n");
	}
	if (check)
		at = put(put_check(at, check, said), "\n");
	at = put(at, "]}\n");
	write_whole(health->directory, FILE_NAME, after, (size_t)(at - after));
	idle_free(before, sizeof before);
	idle_free(after, sizeof after);
}

void health_keep(const struct health *health, int directory)
{
	ssize_t got = read_file(health->directory);
	if (got > 0)
		write_whole(directory, FILE_NAME, before, (size_t)got);
	idle_free(before, sizeof before);
}
