#define _GNU_SOURCE
#include "window.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int followed = -1, sized = -1, changes = -1;

static void copy_size(void)
{
	struct winsize size;
	if (ioctl(followed, TIOCGWINSZ, &size) == 0 && size.ws_col)
		ioctl(sized, TIOCSWINSZ, &size);
}

void window_follow(int outer, int inner)
{
	sigset_t set;
	followed = outer;
	sized = inner;
	if (outer < 0 || inner < 0)
		return;
	copy_size();
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	changes = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int window_watch(void)
{
	return changes;
}

void window_changed(void)
{
	struct signalfd_siginfo info;
	while (read(changes, &info, sizeof info) == sizeof info)
		copy_size();
}

void window_resize(unsigned short rows, unsigned short columns)
{
	struct winsize size = {.ws_row = rows, .ws_col = columns};
	if (sized >= 0)
		ioctl(sized, TIOCSWINSZ, &size);
}

void window_end(void)
{
	if (changes >= 0)
		close(changes);
	followed = sized = changes = -1;
}
