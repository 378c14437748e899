/*
 * Pumps never block: the monitor must also see the container's end and the lifeline. The container's side is ours and
 * non-blocking; the other side may be shared with others, so its mode stays, and a write there is kept so small that
 * poll(2)'s word for "writable" covers it.
 *
 * A source (what the container writes) has an outlet for each one who is connected. It is read again when all of them
 * have taken what was read before: a slow reader slows the container, as a pipe would.
 */
#define _GNU_SOURCE
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "window.h"

#define BUFFER (64 * 1024)
/* How long a client may take nothing, at the end of a container. */
#define CLIENT_PATIENCE_MS 1000

struct outlet {
	int fd;	       /* -1: none */
	int is_file;   /* poll always says ready, and a write takes all */
	int is_socket;
	size_t begin;  /* of what it has not taken yet */
};

struct source {
	int from;   /* -1: it has ended */
	int stream; /* 1 or 2 */
	size_t end; /* of the bytes in the buffer */
	struct outlet outlets[MAX_PEOPLE];
	char buffer[BUFFER];
};

struct inlet {
	int from; /* -1: none */
	size_t begin, end;
	unsigned matched; /* characters of the detach keys seen */
	char *buffer;
};

struct person {
	struct inlet in;
	int terminal; /* put back at the end; -1: none */
	struct termios before;
	struct connection connection;
	int leaves;
};

static int refused, refused_stream;
static struct source sources[MAX_SOURCES];
static int source_count;
static struct person people[MAX_PEOPLE];
/* Apart: a page that nobody types into is never touched, and an idle monitor stays small. */
#define TYPED 4096
static char typed[MAX_PEOPLE][TYPED];
static struct log *log_file;
/* Where input goes: the container's stdin or its terminal's master; -1 where it takes none. */
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

static void open_outlet(struct source *source, int who, int fd)
{
	struct stat info;
	struct outlet *outlet = &source->outlets[who];
	if (fd < 0 || fstat(fd, &info) < 0)
		return;
	*outlet = (struct outlet){fd, S_ISREG(info.st_mode), S_ISSOCK(info.st_mode), source->end};
}

static void forget(struct person *person)
{
	*person = (struct person){.in = {.from = -1, .buffer = typed[person - people]},
				  .terminal = -1,
				  .connection = {.in = -1, .out = -1, .err = -1}};
}

static void forget_all(void)
{
	source_count = 0;
	for (int who = 0; who < MAX_PEOPLE; who++)
		forget(&people[who]);
	input = -1;
}

static void add_source(int from, int stream)
{
	struct source *source = &sources[source_count++];
	source->from = from;
	source->stream = stream;
	source->end = 0;
	for (int who = 0; who < MAX_PEOPLE; who++)
		source->outlets[who].fd = -1;
	fcntl(from, F_SETFL, fcntl(from, F_GETFL) | O_NONBLOCK);
}

static int slot(struct run *run, uint32_t index)
{
	return index < run->plan->slots ? run->fd[index] : -1;
}

/* The container's side is closed here as soon as it has ended, and then is no slot of the plan any more. */
static int take_slot(struct run *run, uint32_t index)
{
	return index < run->plan->slots ? take_fd(&run->fd[index]) : -1;
}

void pump_start(struct run *run, struct log *log)
{
	int master = -1, outer = -1;
	forget_all();
	log_file = log;
	for (uint32_t i = 0; i < run->plan->pumps; i++) {
		const struct plan_pump *pump = &run->pumps[i];
		if (pump->flags & PUMP_STDIN) {
			int from = slot(run, pump->from), to = slot(run, pump->to);
			/* Both directions of a terminal share the master: each closes its own copy. */
			input = pump->flags & PUMP_TERMINAL ? fcntl(to, F_DUPFD_CLOEXEC, 0) : take_slot(run, pump->to);
			fcntl(input, F_SETFL, fcntl(input, F_GETFL) | O_NONBLOCK);
			people[CALLER].in.from = from;
			if (pump->flags & PUMP_TERMINAL && from >= 0 && isatty(from)) {
				make_raw(&people[CALLER], from);
				outer = from;
			}
		} else if (source_count < MAX_SOURCES && slot(run, pump->from) >= 0) {
			int from = take_slot(run, pump->from), to = slot(run, pump->to);
			add_source(from, pump->flags & PUMP_STDERR ? 2 : 1);
			open_outlet(&sources[source_count - 1], CALLER, to);
			if (isatty(from)) {
				master = from;
				if (outer < 0 && to >= 0 && isatty(to))
					outer = to;
			}
		}
	}
	window_follow(outer, master);
}

void pump_connect(int who, const struct connection *connection)
{
	struct person *person = &people[who];
	forget(person);
	person->connection = *connection;
	person->in.from = input >= 0 ? connection->in : -1;
	for (int i = 0; i < source_count; i++)
		open_outlet(&sources[i], who, sources[i].stream == 2 ? connection->err : connection->out);
	if (connection->terminal && connection->in >= 0 && isatty(connection->in))
		make_raw(person, connection->in);
}

void pump_disconnect(int who)
{
	struct person *person = &people[who];
	if (person->terminal >= 0)
		tcsetattr(person->terminal, TCSADRAIN, &person->before);
	for (int i = 0; i < source_count; i++)
		sources[i].outlets[who].fd = -1;
	if (who != CALLER) {
		shut(&person->connection.in);
		shut(&person->connection.out);
		shut(&person->connection.err);
	}
	forget(person);
}

int pump_wants_to_leave(void)
{
	for (int who = 0; who < MAX_PEOPLE; who++)
		if (people[who].leaves)
			return who;
	return -1;
}

static int is_waiting(const struct source *source, const struct outlet *outlet)
{
	return outlet->fd >= 0 && outlet->begin < source->end;
}

static int is_taken(const struct source *source)
{
	for (int who = 0; who < MAX_PEOPLE; who++)
		if (is_waiting(source, &source->outlets[who]))
			return 0;
	return 1;
}

int pump_poll(struct pollfd *watched)
{
	int count = 0;
	for (int i = 0; i < source_count; i++) {
		struct source *source = &sources[i];
		watched[count++] = (struct pollfd){.fd = is_taken(source) ? source->from : -1, .events = POLLIN};
		for (int who = 0; who < MAX_PEOPLE; who++) {
			struct outlet *outlet = &source->outlets[who];
			/* Without anything to write only the reader's going away matters. */
			short events = is_waiting(source, outlet) ? POLLOUT : 0;
			watched[count++] = (struct pollfd){.fd = outlet->fd, .events = events};
		}
	}
	for (int who = 0; who < MAX_PEOPLE; who++) {
		struct inlet *in = &people[who].in;
		int full = in->begin < in->end;
		watched[count++] = (struct pollfd){.fd = full ? -1 : in->from, .events = POLLIN};
		watched[count++] = (struct pollfd){.fd = full ? input : -1, .events = POLLOUT};
	}
	return count;
}

static void fill(struct source *source)
{
	ssize_t got = read(source->from, source->buffer, BUFFER);
	if (got > 0) {
		source->end = (size_t)got;
		for (int who = 0; who < MAX_PEOPLE; who++)
			source->outlets[who].begin = 0;
		if (log_file)
			log_write(log_file, source->stream, source->buffer, source->end);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		shut(&source->from); /* a terminal says EIO when its last slave has closed */
	}
}

/* Nobody reads any more: in the foreground the writer is told by EPIPE, as without tscrun between them. */
static void end_of_outlet(struct source *source, struct outlet *outlet)
{
	outlet->fd = -1;
	if (outlet == &source->outlets[CALLER] && source->from >= 0)
		shut(&source->from);
}

static void flush(struct source *source, struct outlet *outlet)
{
	const char *bytes = source->buffer + outlet->begin;
	size_t size = source->end - outlet->begin;
	if (!outlet->is_file && !outlet->is_socket && size > 4096)
		size = 4096; /* PIPE_BUF: what a pipe that polls writable takes */
	ssize_t put = outlet->is_socket ? send(outlet->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL)
					: write(outlet->fd, bytes, size);
	if (put >= 0)
		outlet->begin += (size_t)put;
	else if (errno != EAGAIN && errno != EINTR) {
		/* A full disk, say. Of a reader or a terminal that has gone away there is nothing to tell. */
		if (outlet == &source->outlets[CALLER] && errno != EPIPE && errno != EIO && !refused) {
			refused = errno;
			refused_stream = source->stream;
		}
		end_of_outlet(source, outlet);
	}
}

int pump_refused(int *stream)
{
	*stream = refused_stream;
	return refused;
}

/* The input has ended: the container's stdin is closed behind the last byte. */
static void end_of_input(struct person *person)
{
	person->in.from = -1;
	if (input >= 0)
		shut(&input);
	for (int who = 0; who < MAX_PEOPLE; who++)
		people[who].in.from = -1;
}

/* Looks for the keys that end a connection; what has been typed of them before something else is passed on. */
static void watch_keys(struct person *person)
{
	struct inlet *in = &person->in;
	const struct connection *connection = &person->connection;
	for (size_t i = in->begin; connection->detach_length && i < in->end; i++) {
		in->matched = in->buffer[i] == connection->detach_keys[in->matched] ? in->matched + 1
			      : in->buffer[i] == connection->detach_keys[0]	    ? 1
										    : 0;
		if (in->matched < connection->detach_length)
			continue;
		person->leaves = 1;
		in->end = i + 1 > in->begin + in->matched ? i + 1 - in->matched : in->begin;
		in->from = -1;
		return;
	}
}

static void take_input(struct person *person)
{
	struct inlet *in = &person->in;
	ssize_t got = read(in->from, in->buffer, TYPED);
	if (got > 0) {
		in->begin = 0;
		in->end = (size_t)got;
		watch_keys(person);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		end_of_input(person);
	}
}

static void give_input(struct inlet *in)
{
	ssize_t put = input < 0 ? -1 : write(input, in->buffer + in->begin, in->end - in->begin);
	if (put >= 0) {
		in->begin += (size_t)put;
	} else if (input < 0 || (errno != EAGAIN && errno != EINTR)) {
		in->begin = in->end = 0;
		in->from = -1;
		if (input >= 0)
			shut(&input);
	}
}

static void run_source(struct source *source, const struct pollfd *watched)
{
	if (source->from >= 0 && watched[0].fd >= 0 && watched[0].revents)
		fill(source);
	for (int who = 0; who < MAX_PEOPLE; who++) {
		struct outlet *outlet = &source->outlets[who];
		short events = watched[1 + who].revents;
		if (is_waiting(source, outlet) && (events & POLLOUT || outlet->is_file))
			flush(source, outlet);
		else if (outlet->fd >= 0 && events & (POLLERR | POLLHUP | POLLNVAL))
			end_of_outlet(source, outlet);
	}
}

void pump_run(const struct pollfd *watched)
{
	for (int i = 0; i < source_count; i++)
		run_source(&sources[i], watched + i * (1 + MAX_PEOPLE));
	watched += source_count * (1 + MAX_PEOPLE);
	for (int who = 0; who < MAX_PEOPLE; who++) {
		struct inlet *in = &people[who].in;
		if (in->from >= 0 && watched[2 * who].fd >= 0 && watched[2 * who].revents)
			take_input(&people[who]);
		if (in->begin < in->end && (input < 0 || watched[2 * who + 1].revents))
			give_input(in);
	}
}

/*
 * All writers are dead, so what read(2) does not find now will never come. A reader may take for ever: who waits for it
 * is the caller, and when that one is gone nobody does. Of a container that lives on its own the end matters more than
 * a client that takes nothing: the log has it all.
 */
void pump_drain(int control)
{
	for (int i = 0; i < source_count; i++) {
		struct source *source = &sources[i];
		for (;;) {
			struct pollfd room[MAX_PEOPLE + 1];
			if (is_taken(source)) {
				source->end = 0;
				if (source->from >= 0)
					fill(source);
				if (source->end == 0)
					break;
			}
			for (int who = 0; who < MAX_PEOPLE; who++) {
				struct outlet *outlet = &source->outlets[who];
				room[who] = (struct pollfd){.fd = is_waiting(source, outlet) ? outlet->fd : -1, .events = POLLOUT};
			}
			room[MAX_PEOPLE] = (struct pollfd){.fd = control, .events = 0};
			if (is_taken(source))
				continue;
			int ready = poll(room, MAX_PEOPLE + 1, CLIENT_PATIENCE_MS);
			if (ready < 0)
				continue;
			if (room[MAX_PEOPLE].revents)
				return;
			for (int who = 0; ready == 0 && who < MAX_PEOPLE; who++)
				if (who != CALLER && is_waiting(source, &source->outlets[who]))
					source->outlets[who].fd = -1;
			for (int who = 0; who < MAX_PEOPLE; who++)
				if (room[who].revents)
					flush(source, &source->outlets[who]);
		}
	}
}

void pump_end(void)
{
	for (int who = 0; who < MAX_PEOPLE; who++)
		if (people[who].terminal >= 0)
			tcsetattr(people[who].terminal, TCSADRAIN, &people[who].before);
	for (int i = 0; i < source_count; i++)
		shut(&sources[i].from);
	shut(&input);
	window_end();
}
