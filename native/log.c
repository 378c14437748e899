/*
 * k8s-file: `2026-01-02T03:04:05.000000006Z stdout F text`, where P instead of F says that the line goes on (the format of
 * the Kubernetes CRI). json-file: `{"log":"text\n","stream":"stdout","time":"2026-..."}` (docker's).
 */
#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "idle.h"
#include "json.h"
#include "text.h"

/* A longer line is kept in pieces, as every reader of these formats expects it to be. */
#define PIECE (16 * 1024)

#define TIME_BYTES (sizeof "2026-01-02T03:04:05.000000006Z" - 1)

/* RFC 3339 with nanoseconds, in UTC. */
static void tell_time(char *at)
{
	struct timespec now;
	struct tm date;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &date);
	const struct {
		int value, digits;
		char after;
	} parts[] = {{date.tm_year + 1900, 4, '-'}, {date.tm_mon + 1, 2, '-'}, {date.tm_mday, 2, 'T'},
		     {date.tm_hour, 2, ':'},	    {date.tm_min, 2, ':'},     {date.tm_sec, 2, '.'}};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		at = put_digits(at, (uint64_t)parts[i].value, parts[i].digits);
		*at++ = parts[i].after;
	}
	*put_digits(at, (uint64_t)now.tv_nsec, 9) = 'Z';
}

static char *put_time(char *at, const char *time)
{
	memcpy(at, time, TIME_BYTES);
	return at + TIME_BYTES;
}

/* `log`, `log.1`, `log.2`: the higher, the older. */
static void name_of(char *out, const struct log *log, uint64_t number)
{
	out = put(out, log->name);
	if (number)
		out = put_number(put(out, "."), number);
	*out = 0;
}

/* Each file becomes one older; the oldest goes. */
static void rotate(struct log *log)
{
	char from[LOG_NAME_BYTES + 24], to[LOG_NAME_BYTES + 24];
	close(log->fd);
	for (uint64_t number = log->max_files; number > 1; number--) {
		name_of(to, log, number - 1);
		name_of(from, log, number - 2);
		renameat(log->directory, from, log->directory, to);
	}
	if (log->max_files <= 1)
		unlinkat(log->directory, log->name, 0);
	log->fd = -1;
	if (log_open(log) == 0 && log->on_rotate)
		log->on_rotate(log);
}

int log_reader(const struct log *log)
{
	return log->fd < 0 ? -1 : openat(log->directory, log->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

int log_open(struct log *log)
{
	struct stat info;
	if (log->directory < 0 || log->format == LOG_NONE)
		return 0;
	log->fd = openat(log->directory, log->name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (log->fd < 0 || fstat(log->fd, &info) < 0)
		return -errno;
	log->size = (uint64_t)info.st_size;
	return 0;
}

/* Lines on their way to the file: a write for each would slow a container down that writes short ones. */
#define LONGEST_LINE (PIECE * 6 + 128)
static char lines[2 * LONGEST_LINE] __attribute__((aligned(4096)));
static size_t gathered;

static void flush(struct log *log)
{
	if (log->fd >= 0 && gathered && write(log->fd, lines, gathered) != (ssize_t)gathered) {
		struct stat info;
		if (fstat(log->fd, &info) == 0)
			log->size = (uint64_t)info.st_size;
	}
	gathered = 0;
}

/* One line, or a piece of one. */
static void add_piece(struct log *log, const char *time, int stream, const char *bytes, size_t size, int whole)
{
	if (sizeof lines - gathered < LONGEST_LINE)
		flush(log);
	char *line = lines + gathered;
	const char *name = stream == 2 ? "stderr" : "stdout";
	char *at = line;
	if (log->format == LOG_JSON) {
		at = put_json(put(at, "{\"log\":\""), bytes, size);
		at = put(put(put(at, whole ? "\\n\",\"stream\":\"" : "\",\"stream\":\""), name), "\",\"time\":\"");
		at = put(put_time(at, time), "\"}\n");
	} else {
		at = put(put(put_time(at, time), stream == 2 ? " stderr " : " stdout "), whole ? "F " : "P ");
		memcpy(at, bytes, size);
		at += size;
		*at++ = '\n';
	}
	size_t length = (size_t)(at - line);
	if (log->max_size && log->size && log->size + length > log->max_size) {
		flush(log);
		rotate(log);
		memmove(lines, line, length);
	}
	gathered += length;
	log->size += length;
}

void log_write(struct log *log, int stream, const char *bytes, size_t size)
{
	/* All that was read at once came at this time. */
	char time[TIME_BYTES];
	if (log->fd < 0)
		return;
	tell_time(time);
	while (size > 0) {
		const char *newline = memchr(bytes, '\n', size < PIECE ? size : PIECE);
		size_t length = newline ? (size_t)(newline - bytes) : size < PIECE ? size : PIECE;
		add_piece(log, time, stream, bytes, length, newline != NULL);
		length += newline != NULL;
		bytes += length;
		size -= length;
	}
	flush(log);
}

void log_rest(void)
{
	idle_free(lines, sizeof lines);
}

void log_close(struct log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
}
