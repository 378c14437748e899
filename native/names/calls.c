/* The same over TCP (RFC 7766): what does not fit into a datagram. A call may ask one question after the other. */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define MAX_CALLS 128
#define MAX_CALLS_OF_ONE 32
#define MAX_QUESTION 4096
#define MAX_MESSAGE 65535

struct call {
	struct source near, far;
	struct member *member;
	enum { READ, CONNECT, WRITE_FAR, READ_FAR, WRITE } state;
	uint8_t *question; /* each with its length before it */
	size_t question_size;
	uint8_t *answer;
	size_t answer_size, done;
	uint8_t length[2]; /* of what is being read */
	unsigned server;
	uint64_t due_ms;
	struct call *next;
};

static struct call *all;
static unsigned call_count;

static void end_call(struct call *call)
{
	struct call **at = &all;
	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	close_source(&call->near);
	close_source(&call->far);
	call->member->calling--;
	call_count--;
	free(call->question);
	free(call->answer);
	free(call);
}

void calls_take(struct member *member)
{
	int fd = accept4(member->calls.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int full = call_count == MAX_CALLS || member->calling == MAX_CALLS_OF_ONE;
	struct call *call = fd >= 0 && !full ? malloc(sizeof *call) : NULL;
	if (!call) {
		if (fd >= 0)
			close(fd);
		return;
	}
	*call = (struct call){.near = {.fd = fd, .kind = NEAR, .owner = call},
			      .far = {.fd = -1, .kind = FAR, .owner = call},
			      .member = member,
			      .due_ms = now_ms() + PATIENCE_MS,
			      .next = all};
	all = call;
	member->calling++;
	call_count++;
	watch(&call->near, EPOLLIN);
}

/* A message with its length before it, as far as it is there: 1 when it is whole, 0 when not yet, -1 when it never will be. */
static int read_message(struct call *call, int fd, uint8_t **message, size_t *size, size_t most)
{
	for (;;) {
		uint8_t *to = call->done < 2 ? call->length + call->done : *message + call->done;
		size_t want = call->done < 2 ? 2 - call->done : *size - call->done;
		ssize_t got = read(fd, to, want);
		if (got <= 0)
			return got < 0 && errno == EAGAIN ? 0 : -1;
		call->done += (size_t)got;
		if (call->done == 2) {
			size_t length = load16(call->length);
			if (length < DNS_HEADER || length > most)
				return -1;
			free(*message);
			*message = malloc(2 + length);
			if (!*message)
				return -1;
			memcpy(*message, call->length, 2);
			*size = 2 + length;
		} else if (call->done > 2 && call->done == *size) {
			call->done = 0;
			return 1;
		}
	}
}

/* As above. */
static int write_message(struct call *call, int fd, const uint8_t *message, size_t size)
{
	while (call->done < size) {
		ssize_t put = send(fd, message + call->done, size - call->done, MSG_NOSIGNAL);
		if (put < 0)
			return errno == EAGAIN ? 0 : -1;
		call->done += (size_t)put;
	}
	call->done = 0;
	return 1;
}

static void set_state(struct call *call, int state)
{
	call->state = state;
	watch_again(&call->near, state == READ ? EPOLLIN : state == WRITE ? EPOLLOUT : 0);
	if (call->far.fd >= 0)
		watch_again(&call->far, state == READ_FAR ? EPOLLIN : EPOLLOUT);
}

static int have_answer(struct call *call, const uint8_t *answer, size_t size)
{
	free(call->answer);
	call->answer = size ? malloc(2 + size) : NULL;
	if (!call->answer)
		return -1;
	store16(call->answer, (unsigned)size);
	memcpy(call->answer + 2, answer, size);
	call->answer_size = 2 + size;
	set_state(call, WRITE);
	return 1;
}

static int refuse(struct call *call, const struct question *question, int error)
{
	uint8_t out[DNS_LEAST];
	close_source(&call->far);
	return have_answer(call, out, answer_make(out, sizeof out, question, error, NULL, 0, 0));
}

/* Each server once. */
static int call_server(struct call *call)
{
	struct question question;
	union address servers[MAX_SERVERS];
	int count = servers_of(call->member, servers);
	close_source(&call->far);
	call->done = 0;
	while (count > 0 && call->server < (unsigned)count && call->far.fd < 0)
		call->far.fd = connect_to(&servers[call->server++], SOCK_STREAM);
	if (call->far.fd < 0) {
		question_read(&question, call->question + 2, call->question_size - 2);
		return refuse(call, &question, count < 0 ? NXDOMAIN : SERVFAIL);
	}
	watch(&call->far, EPOLLOUT);
	set_state(call, CONNECT);
	return 1;
}

static int asked(struct call *call)
{
	static uint8_t out[16384];
	struct question question;
	int error = question_read(&question, call->question + 2, call->question_size - 2);
	if (error == NO_QUESTION)
		return -1;
	if (error)
		return refuse(call, &question, error);
	size_t size = answer_own(call->member, &question, out, sizeof out);
	if (size)
		return have_answer(call, out, size);
	call->server = 0;
	return call_server(call);
}

/* Goes on as far as it can: 0 when it has to wait, -1 at its end. */
static int step(struct call *call)
{
	int failed = 0, went = 0;
	socklen_t size = sizeof failed;
	switch (call->state) {
	case READ:
		went = read_message(call, call->near.fd, &call->question, &call->question_size, MAX_QUESTION);
		return went > 0 ? asked(call) : went;
	case CONNECT:
		if (getsockopt(call->far.fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0 || failed)
			return call_server(call);
		set_state(call, WRITE_FAR);
		return 1;
	case WRITE_FAR:
		went = write_message(call, call->far.fd, call->question, call->question_size);
		if (went > 0)
			set_state(call, READ_FAR);
		return went < 0 ? call_server(call) : went;
	case READ_FAR: {
		struct question question;
		went = read_message(call, call->far.fd, &call->answer, &call->answer_size, MAX_MESSAGE);
		if (went <= 0)
			return went < 0 ? call_server(call) : 0;
		question_read(&question, call->question + 2, call->question_size - 2);
		if (!answers(&question, call->answer + 2, call->answer_size - 2) ||
		    memcmp(call->answer + 2, call->question + 2, 2) != 0)
			return call_server(call);
		close_source(&call->far);
		set_state(call, WRITE);
		return 1;
	}
	case WRITE:
		went = write_message(call, call->near.fd, call->answer, call->answer_size);
		if (went > 0) {
			call->due_ms = now_ms() + PATIENCE_MS;
			set_state(call, READ);
		}
		return went;
	}
	return -1;
}

void calls_step(struct source *source)
{
	struct call *call = source->owner;
	int went;
	/* While another is asked nothing is read of the caller: only its leaving can have woken us. */
	if (source == &call->near && call->state != READ && call->state != WRITE) {
		end_call(call);
		return;
	}
	do
		went = step(call);
	while (went > 0 && call->state != CONNECT);
	if (went < 0)
		end_call(call);
}

void calls_forget(const struct member *member)
{
	for (struct call *call = all, *next; call; call = next) {
		next = call->next;
		if (call->member == member)
			end_call(call);
	}
}

uint64_t calls_expire(uint64_t now)
{
	uint64_t due = 0;
	for (struct call *call = all, *next; call; call = next) {
		next = call->next;
		if (call->due_ms <= now)
			end_call(call);
		else if (!due || call->due_ms < due)
			due = call->due_ms;
	}
	return due;
}
