/* What others read about a container that its monitor supervises: state.json and exit.json. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "monitor.h"
#include "text.h"

uint64_t wall_clock_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void write_whole(int directory, const char *name, const char *text, size_t size)
{
	char other[64], *end = put(put(other, name), ".new");
	*end = 0;
	cleanup_close fd = openat(directory, other, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, text, size) == (ssize_t)size)
		renameat(directory, other, directory, name);
}

struct entry {
	const char *name;
	uint64_t value;
};

/* A JSON object of numbers. */
static void write_record(int directory, const char *name, const struct entry *entries)
{
	char text[512], *at = put(text, "{\"version\":1");
	if (directory < 0)
		return;
	for (; entries->name; entries++)
		at = put_number(put(put(put(at, ",\""), entries->name), "\":"), entries->value);
	at = put(at, "}");
	write_whole(directory, name, text, (size_t)(at - text));
}

void record_start(struct run *run, const struct life *life, uint64_t restarts)
{
	uint64_t start_time = start_time_of_init(run);
	write_record(run->run_dir, "state.json",
		     (struct entry[]){{"pid", (uint64_t)run->init},
				      {"startTime", start_time},
				      {"startedMs", life->started_ms},
				      {"restarts", restarts},
				      {NULL, 0}});
	tell(run, MSG_STARTED, 0, (uint64_t)run->init, start_time);
}

void record_end(struct run *run, const struct life *life, uint64_t restarts)
{
	write_record(run->directory, "exit.json",
		     (struct entry[]){{"status", (uint64_t)life->status},
				      {"oomKilled", life->oom},
				      {"timedOut", (uint64_t)life->timed_out},
				      {"startedMs", life->started_ms},
				      {"finishedMs", life->finished_ms},
				      {"restarts", restarts},
				      {"byPerson", (uint64_t)run->by_person},
				      {"failedColumn", run->failed ? run->failure.column : 0},
				      {"failedStep", run->failed ? run->failure.step : 0},
				      {"failedErrno", run->failed ? run->failure.error : 0},
				      {NULL, 0}});
	if (run->run_dir >= 0)
		unlinkat(run->run_dir, "state.json", 0);
}
