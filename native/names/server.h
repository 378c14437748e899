/* What the files of the name service share. */
#ifndef TSCRUN_NAMES_SERVER_H
#define TSCRUN_NAMES_SERVER_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "dns.h"

/* What epoll(7) tells of. */
struct source {
	int fd;
	enum { LISTENER, CONNECTION, QUERIES, CALLS, ASKED, NEAR, FAR } kind;
	void *owner;
};

/* A container. */
struct member {
	struct source connection, queries, calls;
	int raw; /* datagrams are answered by it; -1: by `queries` itself */
	char *text; /* see names.h; each line ended with NUL */
	size_t size;
	unsigned asked, calling; /* how much of it is under way */
	struct member *next;
};
extern struct member *members;

/* A datagram of a container was led to our port: the answer must come from the other one. */
void reply(const struct member *member, const struct sockaddr_in *to, const uint8_t *answer, size_t size);
void watch(struct source *source, uint32_t events);
void watch_again(struct source *source, uint32_t events);
void close_source(struct source *source);
uint64_t now_ms(void);

/* Answers what concerns containers; 0 where others have to be asked. */
size_t answer_own(const struct member *member, const struct question *question, uint8_t *out, size_t room);
int set_text(struct member *member, int file);

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};
#define MAX_SERVERS 3

/* Whom to ask for a container: how many; -1: nobody is to be asked. */
int servers_of(const struct member *member, union address *servers);
int connect_to(const union address *server, int type);

void upstream_ask(struct member *member, const struct sockaddr_in *client, const struct question *question);
void upstream_read(struct source *source);
void upstream_forget(const struct member *member);
/* Gives up what has waited too long; answers when the next one has, 0: none waits. */
uint64_t upstream_expire(uint64_t now);

void calls_take(struct member *member);
void calls_step(struct source *source);
void calls_forget(const struct member *member);
uint64_t calls_expire(uint64_t now);

#define RESOLV_CONF "/etc/resolv.conf"
/* Where it was at our start, if there was one: a link of the host may lead through what is not in sight here. */
extern char resolv_conf[256];

/* Gives up everything but reading the host's resolv.conf and sockets of the internet. 0, or -1 with errno. */
int confine(void);

#endif
