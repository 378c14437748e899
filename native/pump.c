/*
 * Pumps never block: the monitor must also see the container's end and the lifeline. The container's side is ours and
 * non-blocking; the caller's side may be shared with others, so its mode stays, and a write there is kept so small
 * that poll(2)'s word for "writable" covers it.
 */
#define _GNU_SOURCE
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define BUFFER (64 * 1024)

struct pump {
	int from, to;
	uint32_t flags;
	int is_file;      /* poll always says ready, and a write takes all */
	int is_socket;
	size_t begin, end; /* of the bytes in the buffer that wait to be written */
	char buffer[BUFFER];
};

static struct pump pumps[MAX_PUMPS];
static int pump_count;
/* `terminal` is raw and put back at the end; `sized` has the window: the same one, or with output alone where that goes. */
static int terminal = -1, sized = -1, master = -1;
static struct termios before;

static int make_raw(int fd)
{
	struct termios raw;
	if (tcgetattr(fd, &before) < 0)
		return -1;
	raw = before;
	cfmakeraw(&raw);
	return tcsetattr(fd, TCSANOW, &raw);
}

static void copy_window_size(void)
{
	struct winsize size;
	if (ioctl(sized, TIOCGWINSZ, &size) == 0 && size.ws_col)
		ioctl(master, TIOCSWINSZ, &size);
}

static void add_pump(int from, int to, uint32_t flags)
{
	struct stat info;
	struct pump *pump = &pumps[pump_count++];
	pump->from = from;
	/* Both directions of a terminal share the master: each closes its own copy. */
	pump->to = flags & PUMP_STDIN && flags & PUMP_TERMINAL ? fcntl(to, F_DUPFD_CLOEXEC, 0) : to;
	pump->flags = flags;
	if (fstat(to, &info) == 0) {
		pump->is_file = S_ISREG(info.st_mode);
		pump->is_socket = S_ISSOCK(info.st_mode);
	}
	int ours = flags & PUMP_STDIN ? to : from;
	fcntl(ours, F_SETFL, fcntl(ours, F_GETFL) | O_NONBLOCK);
}

int pump_start(struct run *run)
{
	for (uint32_t i = 0; i < run->plan->pumps && i < MAX_PUMPS; i++) {
		const struct plan_pump *pump = &run->pumps[i];
		if (pump->from >= run->plan->slots || pump->to >= run->plan->slots)
			continue;
		add_pump(run->fd[pump->from], run->fd[pump->to], pump->flags);
		if (pump->flags & PUMP_TERMINAL && isatty(run->fd[pump->from])) {
			terminal = sized = run->fd[pump->from];
			master = run->fd[pump->to];
		} else if (sized < 0 && isatty(run->fd[pump->from]) && isatty(run->fd[pump->to])) {
			sized = run->fd[pump->to];
			master = run->fd[pump->from];
		}
	}
	if (terminal >= 0 && make_raw(terminal) < 0)
		terminal = -1;
	if (sized < 0)
		return -1;
	copy_window_size();
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int pump_poll(struct pollfd *watched)
{
	for (int i = 0; i < pump_count; i++) {
		struct pump *pump = &pumps[i];
		int full = pump->begin < pump->end;
		watched[2 * i] = (struct pollfd){.fd = full ? -1 : pump->from, .events = POLLIN};
		/* With an empty buffer only the reader's going away matters. */
		watched[2 * i + 1] = (struct pollfd){.fd = pump->to, .events = full ? POLLOUT : 0};
	}
	return 2 * pump_count;
}

static void shut(int *fd)
{
	close_fd(fd);
	*fd = -1;
}

/* The source has ended: the container's stdin is closed behind the last byte; the caller's own streams stay open. */
static void end_of_source(struct pump *pump)
{
	if (pump->flags & PUMP_STDIN) {
		shut(&pump->to);
		pump->from = -1;
	} else {
		shut(&pump->from);
		pump->to = -1;
	}
}

/* Nobody reads any more: the writer is told by EPIPE, as without tscrun between them. */
static void end_of_target(struct pump *pump)
{
	pump->begin = pump->end = 0;
	if (pump->flags & PUMP_STDIN)
		shut(&pump->to);
	else
		shut(&pump->from);
	pump->from = pump->to = -1;
}

static void fill(struct pump *pump)
{
	ssize_t got = read(pump->from, pump->buffer, BUFFER);
	if (got > 0) {
		pump->begin = 0;
		pump->end = (size_t)got;
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		end_of_source(pump); /* a terminal says EIO when its last slave has closed */
	}
}

static void flush(struct pump *pump)
{
	size_t size = pump->end - pump->begin;
	int ours = (pump->flags & PUMP_STDIN) != 0;
	if (!ours && !pump->is_file && !pump->is_socket && size > 4096)
		size = 4096; /* PIPE_BUF: what a pipe that polls writable takes */
	ssize_t put = pump->is_socket ? send(pump->to, pump->buffer + pump->begin, size, MSG_DONTWAIT | MSG_NOSIGNAL)
				      : write(pump->to, pump->buffer + pump->begin, size);
	if (put >= 0)
		pump->begin += (size_t)put;
	else if (errno != EAGAIN && errno != EINTR)
		end_of_target(pump);
}

void pump_run(const struct pollfd *watched)
{
	for (int i = 0; i < pump_count; i++) {
		struct pump *pump = &pumps[i];
		short in = watched[2 * i].revents, out = watched[2 * i + 1].revents;
		if (pump->from >= 0 && watched[2 * i].fd >= 0 && in)
			fill(pump);
		if (pump->to >= 0 && pump->begin < pump->end && (out & POLLOUT || pump->is_file))
			flush(pump);
		else if (pump->to >= 0 && out & (POLLERR | POLLHUP | POLLNVAL))
			end_of_target(pump);
	}
}

static int drain_one(struct pump *pump)
{
	if (pump->begin == pump->end && pump->from >= 0)
		fill(pump);
	return pump->begin < pump->end && pump->to >= 0;
}

/* All writers are dead, so what read(2) does not find now will never come. */
void pump_drain(void)
{
	for (int i = 0; i < pump_count; i++) {
		struct pump *pump = &pumps[i];
		if (pump->flags & PUMP_STDIN)
			continue;
		while (drain_one(pump)) {
			struct pollfd room = {.fd = pump->to, .events = POLLOUT};
			if (poll(&room, 1, -1) > 0 && room.revents & (POLLOUT | POLLERR | POLLHUP))
				flush(pump);
		}
	}
}

void pump_window_changed(struct run *run, int winch)
{
	(void)run;
	struct signalfd_siginfo info;
	while (read(winch, &info, sizeof info) == sizeof info)
		copy_window_size();
}

void pump_resize(struct run *run, unsigned short rows, unsigned short columns)
{
	(void)run;
	struct winsize size = {.ws_row = rows, .ws_col = columns};
	if (master >= 0)
		ioctl(master, TIOCSWINSZ, &size);
}

void pump_restore(struct run *run)
{
	(void)run;
	if (terminal >= 0)
		tcsetattr(terminal, TCSADRAIN, &before);
}
