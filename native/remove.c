/* A directory with all below it goes, on its own filesystem. */
#define _GNU_SOURCE
#include "remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

int remove_tree(int parent, const char *name)
{
	struct removal removal = {.top = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
	if (removal.top < 0)
		return errno == ENOENT ? 0 : -errno;
	int failed = 0;
	/* Again for what was moved up; its names must differ from those of the round before, which may still be there. */
	for (uint64_t moved = ~0ull; !failed && removal.moved != moved;) {
		moved = removal.moved;
		failed = remove_entries(&removal, openat(removal.top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
	}
	close(removal.top);
	return failed ? failed : unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}
