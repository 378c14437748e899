/* What a container shares with another one is found by that one's record, again at each start: it may have had many pids. */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

/* At a restart the other one may be starting again, too: it is looked for this often, this far apart. */
#define TRIES 100
#define BETWEEN_NS 20000000

/* A number of the object in state.json (monitor.c writes it, or src/engine/state/containers.ts); 0 where it is not there. */
static uint64_t number_of(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* The file of a process that is still the recorded one after the file was opened: its pid is nobody else's till then. */
static int open_recorded(const char *state, const char *name)
{
	char text[1024], path[64 + 32];
	cleanup_close record = open(state, O_RDONLY | O_CLOEXEC);
	ssize_t got = record < 0 ? -1 : read(record, text, sizeof text - 1);
	if (got < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	text[got] = 0;
	uint64_t pid = number_of(text, "\"pid\":"), start_time = number_of(text, "\"startTime\":");
	if (pid == 0 || pid > INT32_MAX || strlen(name) > 32)
		return -ESRCH;
	char *end = put_number(put(path, "/proc/"), pid);
	strcpy(end, "/stat");
	cleanup_close pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	cleanup_close stat = pidfd < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (stat < 0 || start_time_in(stat) != start_time)
		return -ESRCH;
	*put(put(end, "/"), name) = 0;
	cleanup_close fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0)
		return -errno;
	return take_fd(&fd);
}

int op_open_container(struct run *run, const struct arg *args)
{
	struct timespec between = {.tv_nsec = BETWEEN_NS};
	int fd = open_recorded(args[1].p, args[2].p);
	for (int tries = 1; fd == -ESRCH && run->own_end >= 0 && !run->stopped && tries < TRIES; tries++) {
		nanosleep(&between, NULL);
		fd = open_recorded(args[1].p, args[2].p);
	}
	errno = fd < 0 ? -fd : 0;
	return store_fd(run, &args[0], fd < 0 ? -1 : fd);
}
