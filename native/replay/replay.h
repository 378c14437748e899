/* A start that was prepared, done again without Node. */
#ifndef TSCRUN_REPLAY_H
#define TSCRUN_REPLAY_H

/* Returns where Node has to do what the arguments ask for, with nothing of the container left; else ends with its exit code. */
void replay(int argc, char **argv, const char *package);

#endif
