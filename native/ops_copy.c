/* The content of a directory, copied: what a tmpfs covers is seen in it (tmpcopyup). */
#define _GNU_SOURCE
#include "stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_DEPTH 128

static int copy_bytes(int from, int to)
{
	static char buffer[65536] __attribute__((aligned(4096)));
	for (;;) {
		ssize_t got = read(from, buffer, sizeof buffer);
		if (got <= 0)
			return got < 0 ? -errno : 0;
		for (ssize_t done = 0; done < got;) {
			ssize_t written = write(to, buffer + done, (size_t)(got - done));
			if (written < 0)
				return -errno;
			done += written;
		}
	}
}

/* What says who may use it and how: capabilities of programs, access lists. A filesystem that has no such thing is fine. */
static int copy_attributes(int from, int to)
{
	static char names[65536] __attribute__((aligned(4096))), value[65536] __attribute__((aligned(4096)));
	ssize_t size = flistxattr(from, names, sizeof names);
	if (size < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (char *name = names; name < names + size; name += strlen(name) + 1) {
		ssize_t got = fgetxattr(from, name, value, sizeof value);
		if (got >= 0 && fsetxattr(to, name, value, (size_t)got, 0) < 0 && errno != ENOTSUP && errno != EPERM)
			return -errno;
	}
	return 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *info)
{
	cleanup_close source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	cleanup_close made = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (source < 0 || made < 0)
		return -errno;
	int failed = copy_bytes(source, made);
	if (failed)
		return failed;
	if (fchown(made, info->st_uid, info->st_gid) < 0 || fchmod(made, info->st_mode & 07777) < 0)
		return -errno;
	return copy_attributes(source, made);
}

static int copy_link(int from, int to, const char *name, const struct stat *info)
{
	char target[4096];
	ssize_t size = readlinkat(from, name, target, sizeof target - 1);
	if (size < 0)
		return -errno;
	target[size] = 0;
	if (symlinkat(target, to, name) < 0)
		return -errno;
	return fchownat(to, name, info->st_uid, info->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_tree(int from, int to, int depth);

static int copy_directory(int from, int to, const char *name, int depth)
{
	cleanup_close source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (source < 0 || mkdirat(to, name, 0700) < 0)
		return -errno;
	cleanup_close made = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return made < 0 ? -errno : copy_tree(source, made, depth + 1);
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat info;
	if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (S_ISDIR(info.st_mode))
		return copy_directory(from, to, name, depth);
	if (S_ISREG(info.st_mode))
		return copy_file(from, to, name, &info);
	if (S_ISLNK(info.st_mode))
		return copy_link(from, to, name, &info);
	if (S_ISSOCK(info.st_mode))
		return 0;
	if (mknodat(to, name, info.st_mode, info.st_rdev) < 0)
		return -errno;
	return fchownat(to, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* The entries of one directory into another, then whose it is and its mode. */
static int copy_tree(int from, int to, int depth)
{
	struct stat info;
	if (depth > MAX_DEPTH)
		return -ELOOP;
	int own = fcntl(from, F_DUPFD_CLOEXEC, 0);
	DIR *dir = own < 0 ? NULL : fdopendir(own);
	if (!dir)
		return -errno;
	int failed = 0;
	for (struct dirent *entry; !failed && (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			failed = copy_entry(from, to, entry->d_name, depth);
	closedir(dir);
	if (failed)
		return failed;
	if (fstat(from, &info) < 0 || fchown(to, info.st_uid, info.st_gid) < 0 || fchmod(to, info.st_mode & 07777) < 0)
		return -errno;
	return copy_attributes(from, to);
}

/* A descriptor that was opened with O_PATH, to be read. */
static int reopen(int directory)
{
	return openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A directory of the container, by a path that stays in its root; links on the way are the container's own affair. */
static int open_directory(int root, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

int op_copy_up(struct run *run, const struct arg *args)
{
	(void)run;
	cleanup_close from = open_directory(args[0].fd, args[1].p);
	if (from < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	cleanup_close to = reopen(args[2].fd);
	return to < 0 ? -errno : copy_tree(from, to, 0);
}

int op_copy_mode(struct run *run, const struct arg *args)
{
	(void)run;
	struct stat info;
	cleanup_close from = open_directory(args[0].fd, args[1].p);
	if (from < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	cleanup_close to = reopen(args[2].fd);
	if (to < 0 || fstat(from, &info) < 0)
		return -errno;
	return fchmod(to, info.st_mode & 07777) < 0 ? -errno : 0;
}
