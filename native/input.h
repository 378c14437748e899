/* Those who are connected with the container: what they type, their terminals, the keys with which they leave. */
#ifndef TSCRUN_INPUT_H
#define TSCRUN_INPUT_H

#include <poll.h>

#define MAX_PEOPLE 16	/* who may be connected: the caller, and clients of the socket */
#define INPUT_WATCHES (2 * MAX_PEOPLE)
#define CALLER 0	/* number of the one who started the container in the foreground */
#define MAX_DETACH_KEYS 16

/* What somebody who connects brings; -1 for what is missing. */
struct connection {
	int in, out, err;
	int terminal;		/* `in` or `out` is a terminal to be made raw: the container has one of its own */
	char detach_keys[MAX_DETACH_KEYS]; /* a sequence in the input that ends the connection */
	unsigned detach_length;
};

/* Nobody is connected, and input goes nowhere. */
void input_start(void);
/* Input goes here, which is closed behind its last byte; what the caller types is `from`, -1 for nothing. */
void input_open(int to, int from, int is_terminal);
/* Takes the descriptors of a connection over. */
void input_connect(int who, const struct connection *connection);
/* Puts the terminal back and closes what the connection brought. */
void input_disconnect(int who);
/* Whoever typed the keys that end a connection; -1 if nobody did. */
int input_wants_to_leave(void);
/* Fills in what to wait for: INPUT_WATCHES entries. */
void input_poll(struct pollfd *watched);
/* Copies what can be copied without waiting. */
void input_run(const struct pollfd *watched);
/* Nothing has come for a while: gives back what only copying needs. */
void input_rest(void);
/* Puts the terminals back as they were, and closes the container's stdin. */
void input_end(void);

#endif
