/* What a container writes, kept in a file: each line with its time and stream, in one of two formats of the field. */
#ifndef TSCRUN_LOG_H
#define TSCRUN_LOG_H

#include <stddef.h>
#include <stdint.h>

#define LOG_NAME_BYTES 128

enum log_format { LOG_NONE, LOG_K8S, LOG_JSON };

struct log {
	int directory; /* where the files are; -1: there is no log */
	char name[LOG_NAME_BYTES];
	enum log_format format;
	uint64_t max_size; /* bytes of one file, 0: no limit */
	uint64_t max_files;
	int fd;
	uint64_t size;
	void (*on_rotate)(const struct log *log); /* NULL: nobody follows it */
};

/* Opens the file for appending. 0 or -errno. */
int log_open(struct log *log);
/* The file that is written to, for reading. A descriptor, or -1. */
int log_reader(const struct log *log);
/* Writes what came from stream 1 or 2. A full disk loses lines, never the container. */
void log_write(struct log *log, int stream, const char *bytes, size_t size);
/* Gives back what only writing needs; all that was written is in the file. */
void log_rest(void);
void log_close(struct log *log);

#endif
