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

#include "text.h"

/* Each level holds a descriptor: a deeper tree, which a container may well make, is moved up and removed from there. */
#define MAX_DEPTH 64

struct removal {
	int top; /* the directory that goes; what was too deep is moved into it */
	uint64_t moved;
};

static int remove_entries(struct removal *removal, int directory, int depth);

static int remove_directory(struct removal *removal, int parent, const char *name, int depth)
{
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	if (depth >= MAX_DEPTH) {
		char moved[32];
		*put_number(put(moved, "moved."), removal->moved++) = 0;
		return renameat(parent, name, removal->top, moved) < 0 ? -errno : 0;
	}
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int failed = remove_entries(removal, fd, depth);
	return failed ? failed : unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* Closes the directory. */
static int remove_entries(struct removal *removal, int directory, int depth)
{
	DIR *dir = fdopendir(directory);
	int failed = dir ? 0 : -errno;
	struct dirent *entry;
	if (!dir)
		close(directory);
	while (dir && !failed && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		/* A mount point in here is EBUSY: nothing of another filesystem is removed. */
		if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		failed = errno == EISDIR ? remove_directory(removal, dirfd(dir), entry->d_name, depth + 1) : -errno;
	}
	if (dir)
		closedir(dir);
	return failed;
}

int op_remove_tree(struct run *run, const struct arg *args)
{
	(void)run;
	struct removal removal = {.top = openat(args[0].fd, args[1].p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
	if (removal.top < 0)
		return errno == ENOENT ? 0 : -errno;
	int failed = 0;
	/* Again for what was moved up; its names must differ from those of the round before, which may still be there. */
	for (uint64_t moved = ~0ull; !failed && removal.moved != moved;) {
		moved = removal.moved;
		failed = remove_entries(&removal, openat(removal.top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
	}
	close(removal.top);
	return failed ? failed : unlinkat(args[0].fd, args[1].p, AT_REMOVEDIR) < 0 ? -errno : 0;
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
	return op_remove_tree(run, args);
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
