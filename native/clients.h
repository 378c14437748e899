/* Those who come later: programs that connect to the monitor's socket to attach, to signal, to wait. */
#ifndef TSCRUN_CLIENTS_H
#define TSCRUN_CLIENTS_H

#include <poll.h>

#include "pump.h"

#define CLIENT_WATCHES MAX_PEOPLE

/* Fills in what to wait for: the listener and each client; answers how many. */
int clients_poll(struct run *run, struct pollfd *watched);
/* Takes new ones, reads what they ask for. */
void clients_run(struct run *run, const struct pollfd *watched);
/* Lets go of whoever typed the keys for it. */
void clients_leave(void);
/* Lets go of one who takes nothing. */
void clients_let_go(int who);
/* A health check has ended: tells those who asked for it. */
void clients_take_check(struct run *run);
/* Tells everyone how the container ended, and lets them go. */
void clients_end(const struct message *message);

#endif
