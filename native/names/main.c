/* See names.h. One event at a time, so that nothing which was told of can have ended meanwhile. */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "names.h"

/* Whoever has started it is connected already. */
#define FIRST_WITHIN_MS 5000

static int events;
static struct source listener = {.fd = NAMES_LISTENER, .kind = LISTENER};

uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

void watch(struct source *source, uint32_t wanted)
{
	struct epoll_event event = {.events = wanted, .data = {.ptr = source}};
	epoll_ctl(events, EPOLL_CTL_ADD, source->fd, &event);
}

void watch_again(struct source *source, uint32_t wanted)
{
	struct epoll_event event = {.events = wanted, .data = {.ptr = source}};
	epoll_ctl(events, EPOLL_CTL_MOD, source->fd, &event);
}

/* Others may have the same socket open: it would be told of for ever. */
void close_source(struct source *source)
{
	if (source->fd < 0)
		return;
	epoll_ctl(events, EPOLL_CTL_DEL, source->fd, NULL);
	close(source->fd);
	source->fd = -1;
}

void reply(const struct member *member, const struct sockaddr_in *to, const uint8_t *answer, size_t size)
{
	struct sockaddr_in host = *to;
	uint8_t head[8];
	struct iovec parts[] = {{head, sizeof head}, {(void *)(uintptr_t)answer, size}};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control = {.header = {.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo))}};
	/* A socket that was bound before lo was there has no address to send from. */
	struct in_pktinfo from = {.ipi_spec_dst.s_addr = htonl(NAMES_ADDRESS)};
	struct msghdr message = {.msg_name = &host,
				 .msg_namelen = sizeof host,
				 .msg_iov = parts,
				 .msg_iovlen = 2,
				 .msg_control = &control,
				 .msg_controllen = sizeof control.space};
	if (size == 0 || size > 65535 - 28)
		return;
	memcpy(CMSG_DATA(&control.header), &from, sizeof from);
	if (member->raw < 0) {
		message.msg_iov = &parts[1];
		message.msg_iovlen = 1;
		sendmsg(member->queries.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		return;
	}
	/* udp(7): from the port that was asked; 0 is no checksum, which no memory needs. */
	host.sin_port = 0;
	memcpy(store16(head, 53), &to->sin_port, 2);
	store16(store16(head + 4, (unsigned)(sizeof head + size)), 0);
	sendmsg(member->raw, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void leave(struct member *member)
{
	struct member **at = &members;
	upstream_forget(member);
	calls_forget(member);
	while (*at && *at != member)
		at = &(*at)->next;
	if (*at)
		*at = member->next;
	close_source(&member->connection);
	close_source(&member->queries);
	close_source(&member->calls);
	if (member->raw >= 0)
		close(member->raw);
	free(member->text);
	free(member);
}

/* How many descriptors came with it; -1: it is no message of ours, 0: none is there. */
static int receive(int fd, int *fds)
{
	uint32_t magic = 0;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(NAMES_MAX_FDS * sizeof(int))];
	} control = {0};
	struct iovec part = {&magic, sizeof magic};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
	ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	struct cmsghdr *header = got < 0 ? NULL : CMSG_FIRSTHDR(&message);
	int count = 0;
	if (header && header->cmsg_type == SCM_RIGHTS) {
		count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(header), (size_t)count * sizeof(int));
	}
	if (got == sizeof magic && magic == NAMES_MAGIC && count > 0)
		return count;
	for (int i = 0; i < count; i++)
		close(fds[i]);
	return -1;
}

static void take_sockets(struct member *member, const int *fds, int count)
{
	member->queries.fd = fds[0];
	member->calls.fd = fds[1];
	member->raw = count > 2 ? fds[2] : -1;
	watch(&member->queries, EPOLLIN);
	watch(&member->calls, EPOLLIN);
}

/* What a monitor says of its container; its end is the container's. */
static void hear(struct member *member)
{
	int fds[NAMES_MAX_FDS];
	int count = receive(member->connection.fd, fds), used = 0;
	if (count == 0)
		return;
	int failed = count < 0 || set_text(member, fds[0]) < 0;
	if (count > 0)
		close(fds[used++]);
	if (!failed && member->queries.fd < 0 && count >= 3) {
		take_sockets(member, fds + 1, count - 1);
		used = count;
	}
	while (used < count)
		close(fds[used++]);
	if (failed)
		leave(member);
}

/* Answers whether one was there. What it says is heard at once: whoever asks afterwards must find it. */
static int take_member(void)
{
	int fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct member *member = fd < 0 ? NULL : malloc(sizeof *member);
	if (!member) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	*member = (struct member){.connection = {.fd = fd, .kind = CONNECTION, .owner = member},
				  .queries = {.fd = -1, .kind = QUERIES, .owner = member},
				  .calls = {.fd = -1, .kind = CALLS, .owner = member},
				  .raw = -1,
				  .next = members};
	members = member;
	watch(&member->connection, EPOLLIN);
	hear(member);
	return 1;
}

static void answer(struct member *member)
{
	static uint8_t packet[DNS_MOST], out[DNS_MOST];
	struct question question;
	struct sockaddr_in client;
	socklen_t size = sizeof client;
	ssize_t got = recvfrom(member->queries.fd, packet, sizeof packet, MSG_DONTWAIT, (void *)&client, &size);
	if (got < 0 || size != sizeof client || client.sin_port == 0)
		return;
	int error = question_read(&question, packet, (size_t)got);
	if (error == NO_QUESTION)
		return;
	size_t made = error ? answer_make(out, sizeof out, &question, error, NULL, 0, 0)
			    : answer_own(member, &question, out, question.limit);
	if (made)
		reply(member, &client, out, made);
	else if (!error)
		upstream_ask(member, &client, &question);
}

static void serve(struct source *source)
{
	switch (source->kind) {
	case LISTENER:
		take_member();
		return;
	case CONNECTION:
		hear(source->owner);
		return;
	case QUERIES:
		answer(source->owner);
		return;
	case CALLS:
		calls_take(source->owner);
		return;
	case ASKED:
		upstream_read(source);
		return;
	case NEAR:
	case FAR:
		calls_step(source);
		return;
	}
}

static int time_left(int first)
{
	uint64_t now = now_ms(), asked = upstream_expire(now), called = calls_expire(now);
	uint64_t due = !asked || (called && called < asked) ? called : asked;
	if (!due)
		return first ? FIRST_WITHIN_MS : -1;
	return due <= now ? 0 : (int)(due - now);
}

int main(void)
{
	struct epoll_event event;
	int first = 1;
	prctl(PR_SET_NAME, "tscrun-names");
	events = epoll_create1(EPOLL_CLOEXEC);
	if (events < 0 || confine() < 0)
		return 1;
	watch(&listener, EPOLLIN);
	/* One that comes while it goes sees its connection end, and starts another. */
	while (first || members || take_member()) {
		int ready = epoll_wait(events, &event, 1, time_left(first));
		if (ready > 0)
			serve(event.data.ptr);
		else if (ready == 0 && first)
			return 0;
		first = first && !members;
	}
	return 0;
}
