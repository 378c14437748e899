/*
 * A client of the monitor's socket (SOCK_SEQPACKET, in a directory for root alone) sends one `struct message` at a time:
 *
 *   MSG_ATTACH  a: which descriptors come with it (ATTACH_*), in this order; behind it the detach keys
 *   MSG_SIGNAL  MSG_RESIZE  as on the control socket
 *   MSG_STOP    a: signal for the container's first process, which then is not started again; b: see plan.h
 *   MSG_CHECK   make a health check now
 *   MSG_FOLLOW  answered by MSG_LOG now and after each rotation: the file waits in the socket until it is taken, so that
 *               a follower that is late loses nothing
 *   MSG_CHANGED  a, b: the restart policy; behind it the name; with it the plan of further lives. Answered by MSG_GO
 *   MSG_NAMES   with it what the name service is told of the container, the directory of its socket, and its program.
 *               Answered by MSG_GO
 *
 * and is told MSG_GO when it is attached, MSG_DETACHED, MSG_CHECKED, and at the end MSG_EXITED. Who only waits sends
 * nothing.
 */
#define _GNU_SOURCE
#include "clients.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "membership.h"
#include "window.h"

struct request {
	struct message message;
	char text[EVENT_NAME_BYTES];
};

/* Number 0 is the caller, who has the control socket. */
static int clients[MAX_PEOPLE] = {[0 ... MAX_PEOPLE - 1] = -1};

/* Those who wait for the end of a health check. */
static int waits_for_check[MAX_PEOPLE];

static int follows[MAX_PEOPLE];
/* So much waits for one who takes nothing: less than a hundred files, which stay on the disk. */
#define FOLLOWED_BYTES 32768

static void hand_over(const struct log *log, int who)
{
	struct message message = {.type = MSG_LOG};
	cleanup_close fd = log_reader(log);
	if (fd >= 0)
		(void)send_with_fd(clients[who], &message, sizeof message, fd);
}

static void hand_over_to_all(const struct log *log)
{
	for (int who = 1; who < MAX_PEOPLE; who++)
		if (follows[who])
			hand_over(log, who);
}

static void follow(struct run *run, int who)
{
	const int most = FOLLOWED_BYTES;
	(void)setsockopt(clients[who], SOL_SOCKET, SO_SNDBUF, &most, sizeof most);
	run->log.on_rotate = hand_over_to_all;
	follows[who] = 1;
	hand_over(&run->log, who);
}

static void answer(int who, uint32_t type, uint32_t error, uint64_t a)
{
	struct message message = {.type = type, .error = error, .a = a};
	(void)!send(clients[who], &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void drop(int who)
{
	pump_disconnect(who);
	close(clients[who]);
	clients[who] = -1;
	waits_for_check[who] = follows[who] = 0;
}

static void check(struct run *run, int who)
{
	int failed = health_check_now(run);
	waits_for_check[who] = !failed;
	if (failed)
		answer(who, MSG_CHECKED, (uint32_t)failed, 0);
}

void clients_take_check(struct run *run)
{
	int passed;
	if (!health_take(run, &passed))
		return;
	for (int who = 1; who < MAX_PEOPLE; who++) {
		if (waits_for_check[who])
			answer(who, MSG_CHECKED, 0, (uint64_t)passed);
		waits_for_check[who] = 0;
	}
}

void clients_let_go(int who)
{
	answer(who, MSG_DETACHED, 0, 1);
	drop(who);
}

int clients_poll(struct run *run, struct pollfd *watched)
{
	watched[0] = (struct pollfd){.fd = run->listener, .events = POLLIN};
	for (int who = 1; who < MAX_PEOPLE; who++)
		watched[who] = (struct pollfd){.fd = clients[who], .events = POLLIN};
	return MAX_PEOPLE;
}

/* The descriptors of a message, in order; those nobody asked for are closed. */
static void attach(int who, const struct request *request, size_t text, const int *fds, unsigned count)
{
	struct connection connection = {-1, -1, -1, (request->message.a & ATTACH_TERMINAL) != 0, "", 0};
	int *const places[] = {&connection.in, &connection.out, &connection.err};
	unsigned next = 0;
	for (unsigned i = 0; i < 3; i++)
		if (request->message.a & (1u << i) && next < count)
			*places[i] = fds[next++];
	while (next < count)
		close(fds[next++]);
	connection.detach_length = text < sizeof connection.detach_keys ? (unsigned)text : sizeof connection.detach_keys;
	memcpy(connection.detach_keys, request->text, connection.detach_length);
	pump_disconnect(who);
	pump_connect(who, &connection);
	answer(who, MSG_GO, 0, 0);
}

/* What is told of it from now on, and how it goes on. A plan for other descriptors than ours is none. */
static void change(struct run *run, int who, const struct request *request, size_t text, int *plan)
{
	struct plan_header header;
	if (pread(*plan, &header, sizeof header, 0) != sizeof header || header.inherited != run->plan->inherited)
		return;
	run->policy = (uint32_t)request->message.a;
	run->most_restarts = request->message.b;
	if (text > 0 && text < sizeof run->events.name) {
		memcpy(run->events.name, request->text, text);
		run->events.name[text] = 0;
	}
	close_fd(&run->next_plan);
	run->next_plan = take_fd(plan);
	answer(who, MSG_GO, 0, 0);
}

static void obey(struct run *run, int who, const struct request *request, size_t text, int *fds, unsigned count)
{
	const struct message *message = &request->message;
	switch (message->type) {
	case MSG_ATTACH:
		attach(who, request, text, fds, count);
		return;
	case MSG_CHANGED:
		if (count > 0)
			change(run, who, request, text, &fds[0]);
		break;
	case MSG_NAMES:
		answer(who, MSG_GO, (uint32_t)names_change(run, fds, count), 0);
		break;
	case MSG_STOP:
		run->stopped = 1;
		run->by_person = message->b != STOP_FOR_NOW;
		if (message->a)
			signal_init(run, (int)message->a);
		break;
	case MSG_SIGNAL:
		signal_init(run, (int)message->a);
		break;
	case MSG_FOLLOW:
		follow(run, who);
		break;
	case MSG_CHECK:
		check(run, who);
		break;
	case MSG_RESIZE:
		window_resize((unsigned short)message->a, (unsigned short)message->b);
		break;
	}
	for (unsigned i = 0; i < count; i++)
		close_fd(&fds[i]);
}

static void serve(struct run *run, int who)
{
	struct request request;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control = {0};
	struct iovec part = {&request, sizeof request};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
	ssize_t got = recvmsg(clients[who], &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	struct cmsghdr *header = got < 0 ? NULL : CMSG_FIRSTHDR(&message);
	int fds[3];
	unsigned count = 0;
	if (header && header->cmsg_type == SCM_RIGHTS) {
		count = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(header), count * sizeof(int));
	}
	if (got >= (ssize_t)sizeof request.message) {
		obey(run, who, &request, (size_t)got - sizeof request.message, fds, count);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	drop(who);
}

/* What it has asked for already is done at once: who attaches before the start misses nothing. */
static void take_client(struct run *run)
{
	int fd = accept4(run->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	for (int who = 1; fd >= 0 && who < MAX_PEOPLE; who++) {
		if (clients[who] >= 0)
			continue;
		clients[who] = fd;
		serve(run, who);
		return;
	}
	close_fd(&fd); /* all places are taken: it sees the end at once */
}

void clients_run(struct run *run, const struct pollfd *watched)
{
	if (watched[0].revents)
		take_client(run);
	for (int who = 1; who < MAX_PEOPLE; who++)
		if (clients[who] >= 0 && watched[who].fd == clients[who] && watched[who].revents)
			serve(run, who);
}

void clients_leave(void)
{
	int who = input_wants_to_leave();
	if (who <= 0)
		return;
	pump_disconnect(who);
	answer(who, MSG_DETACHED, 0, 0);
	drop(who);
}

void clients_end(const struct message *message)
{
	for (int who = 1; who < MAX_PEOPLE; who++) {
		/* The log goes on with the next life. */
		if (clients[who] < 0 || follows[who])
			continue;
		(void)!send(clients[who], message, sizeof *message, MSG_NOSIGNAL | MSG_DONTWAIT);
		drop(who);
	}
}
