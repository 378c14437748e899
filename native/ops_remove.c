/* What a container leaves on the disk goes when it ends, with no Node alive. */
#define _GNU_SOURCE
#include "stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remove.h"

int op_remove_tree(struct run *run, const struct arg *args)
{
	(void)run;
	return remove_tree(args[0].fd, args[1].p);
}

/*
 * Whoever uses a volume has a file in its directory `users`, which can go only when it is empty, and with it the volume;
 * one that somebody is looking into at this moment (its lock is held) is left to them.
 */
int op_remove_volume(struct run *run, const struct arg *args)
{
	cleanup_close volume = openat(args[0].fd, args[1].p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (volume < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(volume, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	if (unlinkat(volume, args[2].p, 0) < 0 && errno != ENOENT)
		return -errno;
	if (unlinkat(volume, "users", AT_REMOVEDIR) < 0 && errno != ENOENT)
		return errno == ENOTEMPTY || errno == EEXIST ? 0 : -errno;
	int failed = op_remove_tree(run, args);
	if (!failed)
		events_write_volume(&run->events, "destroy", args[1].p, NULL);
	return failed;
}

int op_unlink(struct run *run, const struct arg *args)
{
	(void)run;
	return unlinkat(args[0].fd, args[1].p, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* A link whose text is this one goes; answers whether it was. Another's stays. */
static int unlink_of(int directory, const char *name, const struct arg *text)
{
	char found[128];
	ssize_t length = readlinkat(directory, name, found, sizeof found);
	if (length != (ssize_t)text->len || memcmp(found, text->p, text->len))
		return 0;
	return unlinkat(directory, name, 0) == 0;
}

/* Under the name it had at the start, or, as somebody has renamed it since, wherever it is. */
int op_release_link(struct run *run, const struct arg *args)
{
	(void)run;
	if (unlink_of(args[0].fd, args[1].p, &args[2]))
		return 0;
	int fd = openat(args[0].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return -errno;
	for (struct dirent *entry; (entry = readdir(dir));)
		(void)unlink_of(dirfd(dir), entry->d_name, &args[2]);
	closedir(dir);
	return 0;
}
