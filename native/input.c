/*
 * Input of several people goes into one stream, as it comes. It ends for the container when the last one who had any has
 * come to its end; who leaves by the keys or is cut off ends nothing.
 */
#define _GNU_SOURCE
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "idle.h"
#include "stage.h"

struct person {
	int from; /* -1: none */
	size_t begin, end;
	unsigned matched; /* characters of the detach keys that were typed and are held back */
	char *buffer;
	int terminal; /* put back at the end; -1: none */
	struct termios before;
	struct connection connection;
	int leaves;
};

static struct person people[MAX_PEOPLE];
/* Apart: a page that nobody types into is never touched, and an idle monitor stays small. */
#define TYPED 4096
static char typed[MAX_PEOPLE][TYPED] __attribute__((aligned(4096)));
/* The container's stdin or its terminal's master; -1 where it takes none. */
static int input = -1;

static void shut(int *fd)
{
	close_fd(fd);
	*fd = -1;
}

static void make_raw(struct person *person, int fd)
{
	struct termios raw;
	if (tcgetattr(fd, &person->before) < 0)
		return;
	raw = person->before;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSANOW, &raw) == 0)
		person->terminal = fd;
}

static void forget(struct person *person)
{
	*person = (struct person){.from = -1,
				  .buffer = typed[person - people],
				  .terminal = -1,
				  .connection = {.in = -1, .out = -1, .err = -1}};
}

void input_start(void)
{
	for (int who = 0; who < MAX_PEOPLE; who++)
		forget(&people[who]);
	input = -1;
}

void input_open(int to, int from, int is_terminal)
{
	input = to;
	fcntl(input, F_SETFL, fcntl(input, F_GETFL) | O_NONBLOCK);
	people[CALLER].from = from;
	if (is_terminal)
		make_raw(&people[CALLER], from);
}

void input_connect(int who, const struct connection *connection)
{
	struct person *person = &people[who];
	forget(person);
	person->connection = *connection;
	person->from = input >= 0 ? connection->in : -1;
	if (connection->terminal && connection->in >= 0 && isatty(connection->in))
		make_raw(person, connection->in);
}

void input_disconnect(int who)
{
	struct person *person = &people[who];
	if (person->terminal >= 0)
		tcsetattr(person->terminal, TCSADRAIN, &person->before);
	if (who != CALLER) {
		shut(&person->connection.in);
		shut(&person->connection.out);
		shut(&person->connection.err);
	}
	forget(person);
}

int input_wants_to_leave(void)
{
	for (int who = 0; who < MAX_PEOPLE; who++)
		if (people[who].leaves)
			return who;
	return -1;
}

void input_poll(struct pollfd *watched)
{
	for (int who = 0; who < MAX_PEOPLE; who++) {
		const struct person *person = &people[who];
		int full = person->begin < person->end;
		*watched++ = (struct pollfd){.fd = full ? -1 : person->from, .events = POLLIN};
		*watched++ = (struct pollfd){.fd = full ? input : -1, .events = POLLOUT};
	}
}

/* The container's stdin is closed behind the last byte of the last one who has any. */
static void end_of_input(struct person *person)
{
	person->from = -1;
	for (int who = 0; who < MAX_PEOPLE; who++)
		if (people[who].from >= 0)
			return;
	if (input >= 0)
		shut(&input);
}

/* How many of the characters that were held back still may begin the keys, when this one does not go on with them. */
static unsigned still_matched(const char *keys, unsigned matched)
{
	for (unsigned skip = 1; skip < matched; skip++)
		if (memcmp(keys + skip, keys, matched - skip) == 0)
			return matched - skip;
	return 0;
}

/*
 * Looks for the keys that end a connection. What has been typed of them is held back until the next character tells; where
 * that is another one, both are passed on. `got` bytes lie at MAX_DETACH_KEYS, so that there is room for what was held.
 */
static void watch_keys(struct person *person, size_t got)
{
	const char *keys = person->connection.detach_keys;
	const char *typed_now = person->buffer + MAX_DETACH_KEYS;
	char *out = person->buffer;
	for (size_t i = 0; i < got; i++) {
		while (person->matched && typed_now[i] != keys[person->matched]) {
			unsigned left = still_matched(keys, person->matched);
			memcpy(out, keys, person->matched - left);
			out += person->matched - left;
			person->matched = left;
		}
		if (typed_now[i] != keys[person->matched]) {
			*out++ = typed_now[i];
		} else if (++person->matched == person->connection.detach_length) {
			person->leaves = 1;
			person->from = -1;
			break;
		}
	}
	person->begin = 0;
	person->end = (size_t)(out - person->buffer);
}

static void take_input(struct person *person)
{
	const struct connection *connection = &person->connection;
	size_t before = connection->detach_length ? MAX_DETACH_KEYS : 0;
	ssize_t got = read(person->from, person->buffer + before, TYPED - before);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0 && connection->detach_length) {
		watch_keys(person, (size_t)got);
	} else if (got > 0) {
		person->begin = 0;
		person->end = (size_t)got;
	} else if (person->matched) {
		memcpy(person->buffer, connection->detach_keys, person->matched);
		person->begin = 0;
		person->end = person->matched;
		person->matched = 0;
	} else {
		end_of_input(person);
	}
}

static void give_input(struct person *person)
{
	ssize_t put = input < 0 ? -1 : write(input, person->buffer + person->begin, person->end - person->begin);
	if (put >= 0) {
		person->begin += (size_t)put;
	} else if (input < 0 || (errno != EAGAIN && errno != EINTR)) {
		person->begin = person->end = 0;
		person->from = -1;
		if (input >= 0)
			shut(&input);
	}
}

void input_run(const struct pollfd *watched)
{
	for (int who = 0; who < MAX_PEOPLE; who++, watched += 2) {
		struct person *person = &people[who];
		if (person->from >= 0 && watched[0].fd >= 0 && watched[0].revents)
			take_input(person);
		/* What was typed before the keys that end the connection has this one chance. */
		if (person->begin < person->end && (input < 0 || watched[1].revents || person->leaves))
			give_input(person);
	}
}

void input_rest(void)
{
	for (int who = 0; who < MAX_PEOPLE; who++)
		if (people[who].begin >= people[who].end)
			idle_free(typed[who], TYPED);
}

void input_end(void)
{
	for (int who = 0; who < MAX_PEOPLE; who++)
		if (people[who].terminal >= 0)
			tcsetattr(people[who].terminal, TCSADRAIN, &people[who].before);
	shut(&input);
}
