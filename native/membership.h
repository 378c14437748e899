/* A container's place in the name service (names/), which its monitor holds. */
#ifndef TSCRUN_MEMBERSHIP_H
#define TSCRUN_MEMBERSHIP_H

#include "stage.h"

/* What to wait for; -1: nothing. */
int names_watch(void);
/* The service has ended: another one is started, now or as soon as names_due() says. */
void names_lost(void);
uint64_t names_due(void);
void names_run_due(void);
/*
 * Something else is told of the container from now on; without a place it gets one, where more than the file came.
 * Takes what it needs of the file, the directory of the service's socket, and its program. 0, or why not.
 */
int names_change(struct run *run, int *fds, unsigned count);

#endif
