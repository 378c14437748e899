/* A stage that is begun before it is needed, and is used again when its container has gone. */
#ifndef TSCRUN_AHEAD_H
#define TSCRUN_AHEAD_H

#include "stage.h"

/* At the very beginning: whose child we are, and where our name stands. */
void ahead_begin(char *title);
/* The next plan that the caller sends. 0 where the caller wants none, or has ended. */
int ahead_next(struct run *run);

#endif
