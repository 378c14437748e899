/* The stage of a replayed start, from its spawn to its end: what src/runtime/launch.ts and src/cli/signals.ts do. */
#ifndef TSCRUN_FOLLOW_H
#define TSCRUN_FOLLOW_H

#include <signal.h>
#include <sys/types.h>
#include <termios.h>

#include "claim.h"

struct follow {
	int program; /* the stage, sealed in memory */
	int plan;
	int control;
	int signals;
	pid_t monitor;
	int pidfd;
	int started, failed, exited, died, killed;
	int status;	   /* wait(2)'s word */
	int refused;	   /* errno of a stream of ours that took no more; 0: none */
	int refused_error; /* it is standard error */
	int terminal;	   /* that is raw while the container runs; -1: none */
	struct termios mode;
};

/* Copies stage and plan into memory. 0 or -1. */
int load_stage(struct follow *follow, const char *package, const void *plan, size_t size);
/* From here on signals wait for the container. 0 or -1. */
int hold_signals(struct follow *follow, sigset_t *before);
/* The mode of standard input is put back where the monitor is killed. */
void keep_terminal(struct follow *follow);
/* Starts it as `tscrun: NAME`, with the lock's descriptor. 0 or -1. */
int start_stage(struct follow *follow, const char *name, int lock);
/* Hands on signals until the monitor has ended; the container's files go as soon as the command has ended. */
void follow_stage(struct follow *follow, struct claim *claim);
void close_follow(struct follow *follow);

#endif
