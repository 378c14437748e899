/*
 * What is no container's name is asked of others: each question by a socket of its own, so that its port is as random as
 * its number, and only whoever was asked can answer.
 */
#define _GNU_SOURCE
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT 53
#define PATIENCE_MS 1500
#define MOST_TRIES 4
#define MAX_ASKED 512
#define MAX_ASKED_OF_ONE 128
#define RESOLV_CONF_BYTES 8192
#define LOOK_AGAIN_MS 1000

struct asked {
	struct source source;
	struct member *member;
	struct sockaddr_in client;
	union address servers[MAX_SERVERS];
	unsigned server_count, tries;
	unsigned client_id;
	uint64_t due_ms;
	struct asked *next;
	size_t size;
	uint8_t query[];
};

static struct asked *all;
static unsigned asked_count;

static int read_server(const char *text, union address *server)
{
	*server = (union address){.any = {.sa_family = AF_UNSPEC}};
	if (inet_pton(AF_INET, text, &server->in.sin_addr) == 1) {
		server->in.sin_family = AF_INET;
		server->in.sin_port = htons(PORT);
		return 1;
	}
	memset(server, 0, sizeof *server);
	if (inet_pton(AF_INET6, text, &server->in6.sin6_addr) != 1)
		return 0;
	server->in6.sin6_family = AF_INET6;
	server->in6.sin6_port = htons(PORT);
	return 1;
}

static unsigned read_resolv_conf(const char *path, union address *servers)
{
	char text[RESOLV_CONF_BYTES];
	unsigned count = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return 0;
	text[got] = 0;
	for (char *line = text; line && count < MAX_SERVERS;) {
		char *end = strchr(line, '\n');
		if (end)
			*end = 0;
		if (strncmp(line, "nameserver", 10) == 0 && (line[10] == ' ' || line[10] == '\t')) {
			char *value = line + 10 + strspn(line + 10, " \t");
			value[strcspn(value, " \t\r")] = 0;
			count += (unsigned)read_server(value, &servers[count]);
		}
		line = end ? end + 1 : NULL;
	}
	return count;
}

/* The host's resolvers, as they are now: a laptop moves on while its containers stay. */
static unsigned host_servers(union address *servers)
{
	static union address known[MAX_SERVERS];
	static unsigned count;
	static uint64_t looked_ms;
	static struct stat seen;
	struct stat info;
	uint64_t now = now_ms();
	if (!looked_ms || now - looked_ms >= LOOK_AGAIN_MS) {
		const char *path = RESOLV_CONF;
		looked_ms = now;
		int found = stat(path, &info) == 0;
		if (!found && resolv_conf[0])
			found = stat(path = resolv_conf, &info) == 0;
		if (!found)
			count = 0, seen.st_ino = 0;
		else if (info.st_ino != seen.st_ino || info.st_size != seen.st_size ||
			 info.st_mtim.tv_sec != seen.st_mtim.tv_sec || info.st_mtim.tv_nsec != seen.st_mtim.tv_nsec) {
			seen = info;
			count = read_resolv_conf(path, known);
		}
	}
	memcpy(servers, known, sizeof known);
	return count;
}

int servers_of(const struct member *member, union address *servers)
{
	int count = -1;
	for (const char *line = member->text; line < member->text + member->size; line += strlen(line) + 1) {
		if (line[0] == 'D')
			return (int)host_servers(servers);
		if (line[0] != 'd' || line[1] != ' ')
			continue;
		count += count < 0;
		if (count < MAX_SERVERS)
			count += read_server(line + 2, &servers[count]);
	}
	return count;
}

int connect_to(const union address *server, int type)
{
	socklen_t size = server->any.sa_family == AF_INET ? sizeof server->in : sizeof server->in6;
	int fd = socket(server->any.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, &server->any, size) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

static void forget(struct asked *asked)
{
	struct asked **at = &all;
	while (*at != asked)
		at = &(*at)->next;
	*at = asked->next;
	close_source(&asked->source);
	asked->member->asked--;
	asked_count--;
	free(asked);
}

static void give_up(struct asked *asked)
{
	struct question question;
	uint8_t out[DNS_LEAST];
	store16(asked->query, asked->client_id);
	question_read(&question, asked->query, asked->size);
	size_t size = answer_make(out, sizeof out, &question, SERVFAIL, NULL, 0, 0);
	reply(asked->member, &asked->client, out, size);
	forget(asked);
}

/* The next of the servers; each is asked once, and where there are few once more. */
static void try_next(struct asked *asked)
{
	unsigned most = asked->server_count > 2 ? asked->server_count : 2;
	uint8_t id[2];
	for (;;) {
		close_source(&asked->source);
		if (asked->tries == most || asked->tries == MOST_TRIES) {
			give_up(asked);
			return;
		}
		const union address *server = &asked->servers[asked->tries++ % asked->server_count];
		asked->source.fd = connect_to(server, SOCK_DGRAM);
		if (asked->source.fd < 0 || getrandom(id, sizeof id, 0) != sizeof id)
			continue;
		memcpy(asked->query, id, sizeof id);
		if (send(asked->source.fd, asked->query, asked->size, MSG_NOSIGNAL) == (ssize_t)asked->size)
			break;
	}
	asked->due_ms = now_ms() + PATIENCE_MS;
	watch(&asked->source, EPOLLIN);
}

void upstream_ask(struct member *member, const struct sockaddr_in *client, const struct question *question)
{
	uint8_t out[DNS_LEAST];
	union address servers[MAX_SERVERS];
	int count = servers_of(member, servers);
	int full = asked_count == MAX_ASKED || member->asked == MAX_ASKED_OF_ONE;
	struct asked *asked = count > 0 && !full ? malloc(sizeof *asked + question->size) : NULL;
	if (!asked) {
		size_t size = answer_make(out, sizeof out, question, count < 0 ? NXDOMAIN : SERVFAIL, NULL, 0, 0);
		reply(member, client, out, size);
		return;
	}
	*asked = (struct asked){.source = {.fd = -1, .kind = ASKED, .owner = asked},
				.member = member,
				.client = *client,
				.server_count = (unsigned)count,
				.client_id = load16(question->packet),
				.next = all,
				.size = question->size};
	memcpy(asked->servers, servers, sizeof servers);
	memcpy(asked->query, question->packet, question->size);
	all = asked;
	member->asked++;
	asked_count++;
	try_next(asked);
}

void upstream_read(struct source *source)
{
	static uint8_t answer[65536];
	struct asked *asked = source->owner;
	struct question question;
	ssize_t got = recv(source->fd, answer, sizeof answer, 0);
	if (got < 0) {
		if (errno != EAGAIN)
			try_next(asked); /* nobody listens there */
		return;
	}
	question_read(&question, asked->query, asked->size);
	if (got < DNS_HEADER || memcmp(answer, asked->query, 2) != 0 || !answers(&question, answer, (size_t)got))
		return;
	int error = answer[3] & 15;
	if ((error == SERVFAIL || error == NOTIMP || error == REFUSED) && asked->tries < asked->server_count) {
		try_next(asked);
		return;
	}
	store16(answer, asked->client_id);
	reply(asked->member, &asked->client, answer, (size_t)got);
	forget(asked);
}

void upstream_forget(const struct member *member)
{
	for (struct asked *asked = all, *next; asked; asked = next) {
		next = asked->next;
		if (asked->member == member)
			forget(asked);
	}
}

uint64_t upstream_expire(uint64_t now)
{
	uint64_t due = 0;
	for (struct asked *asked = all, *next; asked; asked = next) {
		next = asked->next;
		if (asked->due_ms <= now)
			try_next(asked);
	}
	for (struct asked *asked = all; asked; asked = asked->next)
		if (!due || asked->due_ms < due)
			due = asked->due_ms;
	return due;
}
