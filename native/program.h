/* Running a program of the host: hooks, nft, plugins of a network. */
#ifndef TSCRUN_PROGRAM_H
#define TSCRUN_PROGRAM_H

#include "stage.h"

struct program {
	const char *path;
	char **argv, **env;
	int input, output, errors; /* its standard descriptors; the end of `errors` is kept for the words of a failure */
	uint64_t milliseconds;	   /* then it is killed; 0: never */
};

/* Waits for its end. 0, or -errno: -ECHILD for a status other than 0, which run->program_status has. */
int run_program(struct run *run, const struct program *program);

/* A list for execve(2), to be freed. */
char **list_of(const struct arg *arg, char *last);

#endif
