/*
 * Copies bytes from the container's streams to whoever is connected to them: the caller in the foreground, the log, and
 * those who attach later. Their input goes the other way, see input.c.
 */
#ifndef TSCRUN_PUMP_H
#define TSCRUN_PUMP_H

#include <poll.h>

#include "input.h"
#include "log.h"
#include "stage.h"

#define MAX_SOURCES 2	/* standard output and standard error */
#define PUMP_WATCHES (MAX_SOURCES * (1 + MAX_PEOPLE) + INPUT_WATCHES)

/* Prepares the plan's pumps. `log` may be NULL. */
void pump_start(struct run *run, struct log *log);
/* Takes the descriptors over. `who` is 1 to MAX_PEOPLE - 1. */
void pump_connect(int who, const struct connection *connection);
void pump_disconnect(int who);
/* Fills in what to wait for; answers how many entries, at most PUMP_WATCHES. */
int pump_poll(struct pollfd *watched);
/* When (CLOCK_MONOTONIC, nanoseconds) the first client that takes nothing is to be let go, and which; 0 if none is slow. */
uint64_t pump_patience_ends(int *who_waits);
/* Copies what can be copied without waiting. */
void pump_run(const struct pollfd *watched);
/* After the container's end: hands on what it left in its pipes, as long as the other end of `control` is there. */
void pump_drain(int control);
/* The errno with which the caller's output was refused, EPIPE apart, and which stream it was (1 or 2); or 0. */
int pump_refused(int *stream);
/* Nothing has come for a while: gives back what only copying needs. */
void pump_rest(void);
/* Puts the terminals back as they were, and forgets the container's streams. */
void pump_end(void);

#endif
