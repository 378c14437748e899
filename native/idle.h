/* How a monitor waits for a long time: without the memory that only working takes. */
#ifndef TSCRUN_IDLE_H
#define TSCRUN_IDLE_H

#include <poll.h>
#include <stddef.h>

/* Whole pages of a buffer whose content nobody needs any more go back to the kernel; they are zero when next read. */
void idle_free(void *buffer, size_t size);
/* poll(2) after everything that can be given back has been: what is not there is read again from the program's file. */
int idle_poll(struct pollfd *watched, nfds_t count, int timeout_ms);

#endif
