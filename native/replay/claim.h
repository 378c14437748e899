/* What a container has on the disk while it runs: made in the order of src/engine/state/containers.ts, and taken back. */
#ifndef TSCRUN_CLAIM_H
#define TSCRUN_CLAIM_H

#include "prepared.h"

struct claim {
	struct identity identity;
	char range[21];
	int containers, names, ranges, runs, leases; /* directories; leases is -1 without a network */
	int lock;     /* the container's directory, with its flock; -1: there is none yet */
	int run;      /* its run directory */
	int use_lock; /* nobody may take the image away until the record names it; -1: none is held */
	int has_name, has_range, has_run, has_ip4, has_ip6;
};

/* Opens the places and holds the image; nothing is made. 0 or -1. */
int open_places(struct claim *claim, const struct prepared *prepared);
/* Whether a killed command has left something in the run directory that wants putting right. */
int is_swept(const struct claim *claim);
/* Makes id, name, directories, range and addresses of a container. 0 or -1; what was made until then is in the claim. */
int claim_container(struct claim *claim, const struct prepared *prepared);
/* Writes a file into the run directory under another name first. 0 or -1. */
int write_run_file(const struct claim *claim, const char *name, const void *bytes, size_t size);
void release_image(struct claim *claim);
/* Everything of the container goes; what was never made is not missed. */
void take_back(struct claim *claim);
/* The same but for its run directory, by which the next command finds what a monitor may leave that still takes down. */
void take_back_files(struct claim *claim);
void close_places(struct claim *claim);

#endif
