/* The end of a container's cgroup. */
#define _GNU_SOURCE
#include "remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cgroup_kill(int cgroup)
{
	int fd = openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int failed = write(fd, "1", 1) == 1 ? 0 : -errno;
	close(fd);
	return failed;
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
	int events = openat(cgroup, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (events < 0)
		return -errno;
	int populated = is_populated(events);
	for (int tries = 1; tries < 100 && populated > 0; tries++) {
		struct pollfd change = {.fd = events, .events = POLLPRI};
		poll(&change, 1, 100);
		populated = is_populated(events);
	}
	close(events);
	return populated > 0 ? -EBUSY : populated;
}

/* Removes a cgroup and those the container made below it. */
static int remove_levels(int parent, const char *name, int depth)
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
			remove_levels(fd, entry->d_name, depth + 1);
	closedir(dir);
	return unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int cgroup_end(int parent, const char *name)
{
	/* The usual case: process 1 has taken everyone along, and nobody divided the cgroup. */
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
		return 0;
	int cgroup = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (cgroup < 0)
		return errno == ENOENT ? 0 : -errno;
	int failed = cgroup_kill(cgroup);
	if (!failed)
		failed = wait_until_empty(cgroup);
	close(cgroup);
	return failed ? failed : remove_levels(parent, name, 0);
}
