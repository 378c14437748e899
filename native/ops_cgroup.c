/* The end of a container's cgroup. */
#define _GNU_SOURCE
#include "stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int cgroup_kill(int cgroup)
{
	cleanup_close fd = openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, "1", 1) != 1 ? -errno : 0;
}

static int is_populated(int events)
{
	char text[256];
	ssize_t got = pread(events, text, sizeof text - 1, 0);
	if (got < 0)
		return -errno;
	text[got] = 0;
	return strstr(text, "populated 1") != NULL;
}

/* cgroup.events changes with POLLPRI when the last process has gone; the limit only guards against a stuck kernel. */
static int wait_until_empty(int cgroup)
{
	cleanup_close events = openat(cgroup, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (events < 0)
		return -errno;
	for (int tries = 0; tries < 100; tries++) {
		int populated = is_populated(events);
		if (populated <= 0)
			return populated;
		struct pollfd change = {.fd = events, .events = POLLPRI};
		poll(&change, 1, 100);
	}
	return -EBUSY;
}

/* Removes a cgroup and those the container made below it. */
static int remove_tree(int parent, const char *name, int depth)
{
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY || depth > 64)
		return -errno;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return -errno;
	struct dirent *entry;
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			remove_tree(fd, entry->d_name, depth + 1);
	closedir(dir);
	return unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int op_cgroup_remove(struct run *run, const struct arg *args)
{
	(void)run;
	/* The usual case: process 1 has taken everyone along, and nobody divided the cgroup. */
	if (unlinkat(args[0].fd, args[1].p, AT_REMOVEDIR) == 0)
		return 0;
	cleanup_close cgroup = openat(args[0].fd, args[1].p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (cgroup < 0)
		return errno == ENOENT ? 0 : -errno;
	int failed = cgroup_kill(cgroup);
	if (!failed)
		failed = wait_until_empty(cgroup);
	return failed ? failed : remove_tree(args[0].fd, args[1].p, 0);
}
