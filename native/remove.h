/* What a container leaves on the disk, and its cgroup: of the stage, and of the launcher where it replays a start. */
#ifndef TSCRUN_REMOVE_H
#define TSCRUN_REMOVE_H

/* A directory with all below it, on its filesystem. 0, also where there is none, or -errno. */
int remove_tree(int parent, const char *name);
/* Kills everyone in a cgroup, with what it takes along. 0 or -errno. */
int cgroup_kill(int cgroup);
/* Kills everyone in a cgroup, waits for their end, and removes it with those below it. 0, also where there is none, or -errno. */
int cgroup_end(int parent, const char *name);

#endif
