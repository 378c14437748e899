/* The size of the container's terminal: that of the terminal it is shown on. */
#ifndef TSCRUN_WINDOW_H
#define TSCRUN_WINDOW_H

/* Copies the size of `outer` to `inner`, now and whenever SIGWINCH tells of a change. `outer` may be -1: nothing to follow. */
void window_follow(int outer, int inner);
/* A descriptor that is readable after a change, or -1. */
int window_watch(void);
void window_changed(void);
/* Sets the size that somebody from elsewhere tells. */
void window_resize(unsigned short rows, unsigned short columns);
void window_end(void);

#endif
