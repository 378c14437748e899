/* The calls of an OCI runtime that engines make again and again, where they are ordinary. */
#ifndef TSCRUN_ORDINARY_H
#define TSCRUN_ORDINARY_H

/* Ends with 0 where all is done; returns where Node has to do what the arguments ask for, and nothing has been done. */
void ordinary(int argc, char **argv);

#endif
