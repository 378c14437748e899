/*
 * Copies bytes between the container's streams and whoever is connected to them: the caller in the foreground, the log,
 * and those who attach later.
 */
#ifndef TSCRUN_PUMP_H
#define TSCRUN_PUMP_H

#include <poll.h>

#include "log.h"
#include "stage.h"

#define MAX_SOURCES 2	/* standard output and standard error */
#define MAX_PEOPLE 16	/* who may be connected: the caller, and clients of the socket */
#define PUMP_WATCHES (MAX_SOURCES * (1 + MAX_PEOPLE) + 2 * MAX_PEOPLE)
#define CALLER 0	/* number of the one who started the container in the foreground */

/* What somebody who connects brings; -1 for what is missing. */
struct connection {
	int in, out, err;
	int terminal;		/* `in` or `out` is a terminal to be made raw: the container has one of its own */
	char detach_keys[16];	/* a sequence in the input that ends the connection */
	unsigned detach_length;
};

/* Prepares the plan's pumps. `log` may be NULL. */
void pump_start(struct run *run, struct log *log);
/* Takes the descriptors over. `who` is 1 to MAX_PEOPLE - 1. */
void pump_connect(int who, const struct connection *connection);
void pump_disconnect(int who);
/* Whoever typed the keys that end a connection; -1 if nobody did. */
int pump_wants_to_leave(void);
/* Fills in what to wait for; answers how many entries, at most PUMP_WATCHES. */
int pump_poll(struct pollfd *watched);
/* Copies what can be copied without waiting. */
void pump_run(const struct pollfd *watched);
/* After the container's end: hands on what it left in its pipes, as long as the other end of `control` is there. */
void pump_drain(int control);
/* The errno with which the caller's output was refused, EPIPE apart, and which stream it was (1 or 2); or 0. */
int pump_refused(int *stream);
/* Puts the terminals back as they were, and forgets the container's streams. */
void pump_end(void);

#endif
