/* Copies bytes between the container's streams and the caller's. */
#ifndef TSCRUN_PUMP_H
#define TSCRUN_PUMP_H

#include <poll.h>

#include "stage.h"

#define MAX_PUMPS 8

/* Prepares the plan's pumps; answers a descriptor that tells window changes of the outer terminal, or -1. */
int pump_start(struct run *run);
/* Fills in what to wait for, two entries a pump; answers how many. */
int pump_poll(struct pollfd *watched);
/* Copies what can be copied without waiting. */
void pump_run(const struct pollfd *watched);
/* After the container's end: hands on what it left in its pipes. */
void pump_drain(void);
void pump_window_changed(struct run *run, int winch);
void pump_resize(struct run *run, unsigned short rows, unsigned short columns);
/* Puts the outer terminal back as it was. */
void pump_restore(struct run *run);

#endif
