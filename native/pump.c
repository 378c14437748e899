/*
 * Pumps never block: the monitor must also see the container's end and the lifeline. The container's side is ours and
 * non-blocking; the other side may be shared with others, so its mode stays, and a write there is kept so small that
 * poll(2)'s word for "writable" covers it.
 *
 * A source (what the container writes) has an outlet for each one who is connected. It is read again when all of them
 * have taken what was read before: a slow reader slows the container, as a pipe would. A client that takes nothing at all
 * is let go after a while: the log has it all, and the container and the others go on.
 */
#define _GNU_SOURCE
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "idle.h"
#include "text.h"
#include "window.h"

#define BUFFER (64 * 1024)
/* How long a client may take nothing of what waits for it; and at the end of a container. */
#define CLIENT_PATIENCE_NS 10000000000u
#define LAST_PATIENCE_MS 1000

struct outlet {
	int fd;	       /* -1: none */
	int own;       /* a terminal, opened once more so that writing to it does not wait; else -1 */
	int is_file;   /* poll always says ready, and a write takes all */
	int is_socket;
	size_t begin;  /* of what it has not taken yet */
	uint64_t last_ns; /* when it has taken something, or had taken all */
};

struct source {
	int from;   /* -1: it has ended */
	int stream; /* 1 or 2 */
	size_t end; /* of the bytes in the buffer */
	struct outlet outlets[MAX_PEOPLE];
	char *buffer;
};

static int refused, refused_stream;
static struct source sources[MAX_SOURCES];
static char buffers[MAX_SOURCES][BUFFER] __attribute__((aligned(4096)));
static int source_count;
static struct log *log_file;

static void shut(int *fd)
{
	close_fd(fd);
	*fd = -1;
}

/* A terminal that polls writable may have room for one byte; its mode is the user's, so this is a mode of our own. */
static int reopen(int fd)
{
	char path[40], *at = put_number(put(path, "/proc/self/fd/"), (uint64_t)fd);
	*at = 0;
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void open_outlet(struct source *source, int who, int fd)
{
	struct stat info;
	struct outlet *outlet = &source->outlets[who];
	if (fd < 0 || fstat(fd, &info) < 0)
		return;
	int own = isatty(fd) ? reopen(fd) : -1;
	*outlet = (struct outlet){.fd = own >= 0 ? own : fd,
				  .own = own,
				  .is_file = S_ISREG(info.st_mode),
				  .is_socket = S_ISSOCK(info.st_mode),
				  .begin = source->end};
}

static void close_outlet(struct outlet *outlet)
{
	if (outlet->fd >= 0)
		shut(&outlet->own);
	outlet->fd = -1;
}

static void add_source(int from, int stream)
{
	struct source *source = &sources[source_count];
	source->buffer = buffers[source_count++];
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
	source_count = 0;
	input_start();
	log_file = log;
	for (uint32_t i = 0; i < run->plan->pumps; i++) {
		const struct plan_pump *pump = &run->pumps[i];
		if (pump->flags & PUMP_STDIN) {
			int from = slot(run, pump->from), to = slot(run, pump->to);
			int is_terminal = pump->flags & PUMP_TERMINAL && from >= 0 && isatty(from);
			/* Both directions of a terminal share the master: each closes its own copy. */
			input_open(pump->flags & PUMP_TERMINAL ? fcntl(to, F_DUPFD_CLOEXEC, 0) : take_slot(run, pump->to), from,
				   is_terminal);
			if (is_terminal)
				outer = from;
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
	input_connect(who, connection);
	for (int i = 0; i < source_count; i++)
		open_outlet(&sources[i], who, sources[i].stream == 2 ? connection->err : connection->out);
}

void pump_disconnect(int who)
{
	for (int i = 0; i < source_count; i++)
		close_outlet(&sources[i].outlets[who]);
	input_disconnect(who);
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

uint64_t pump_patience_ends(int *who_waits)
{
	uint64_t first = 0;
	for (int i = 0; i < source_count; i++)
		for (int who = CALLER + 1; who < MAX_PEOPLE; who++) {
			const struct outlet *outlet = &sources[i].outlets[who];
			if (is_waiting(&sources[i], outlet) && (!first || outlet->last_ns + CLIENT_PATIENCE_NS < first)) {
				first = outlet->last_ns + CLIENT_PATIENCE_NS;
				*who_waits = who;
			}
		}
	return first;
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
	input_poll(watched + count);
	return count + INPUT_WATCHES;
}

static void fill(struct source *source)
{
	ssize_t got = read(source->from, source->buffer, BUFFER);
	if (got > 0) {
		uint64_t now = now_ns();
		source->end = (size_t)got;
		for (int who = 0; who < MAX_PEOPLE; who++) {
			source->outlets[who].begin = 0;
			source->outlets[who].last_ns = now;
		}
		if (log_file)
			log_write(log_file, source->stream, source->buffer, source->end);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		shut(&source->from); /* a terminal says EIO when its last slave has closed */
	}
}

/* Nobody reads any more: in the foreground the writer is told by EPIPE, as without tscrun between them. */
static void end_of_outlet(struct source *source, struct outlet *outlet)
{
	close_outlet(outlet);
	if (outlet == &source->outlets[CALLER] && source->from >= 0)
		shut(&source->from);
}

static void flush(struct source *source, struct outlet *outlet)
{
	const char *bytes = source->buffer + outlet->begin;
	size_t size = source->end - outlet->begin;
	if (!outlet->is_file && !outlet->is_socket && outlet->own < 0 && size > 4096)
		size = 4096; /* PIPE_BUF: what a pipe that polls writable takes */
	ssize_t put = outlet->is_socket ? send(outlet->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL)
					: write(outlet->fd, bytes, size);
	if (put >= 0) {
		outlet->begin += (size_t)put;
		outlet->last_ns = now_ns();
	} else if (errno != EAGAIN && errno != EINTR) {
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
	input_run(watched + source_count * (1 + MAX_PEOPLE));
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
			int ready = poll(room, MAX_PEOPLE + 1, LAST_PATIENCE_MS);
			if (ready < 0)
				continue;
			if (room[MAX_PEOPLE].revents)
				return;
			for (int who = 0; ready == 0 && who < MAX_PEOPLE; who++)
				if (who != CALLER && is_waiting(source, &source->outlets[who]))
					close_outlet(&source->outlets[who]);
			for (int who = 0; who < MAX_PEOPLE; who++)
				if (room[who].revents)
					flush(source, &source->outlets[who]);
		}
	}
}

void pump_rest(void)
{
	for (int i = 0; i < source_count; i++)
		if (is_taken(&sources[i]))
			idle_free(buffers[i], BUFFER);
	input_rest();
}

void pump_end(void)
{
	input_end();
	for (int i = 0; i < source_count; i++) {
		for (int who = 0; who < MAX_PEOPLE; who++)
			close_outlet(&sources[i].outlets[who]);
		shut(&sources[i].from);
	}
	window_end();
}
