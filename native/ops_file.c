/* Steps on files and directories. A path is always relative to a descriptor. */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PROC_MAGIC 0x9fa0
#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

static int open_how(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	/* IN_ROOT answers EAGAIN when a rename raced with it (openat2(2)): a few tries are enough for honest renames. */
	for (int tries = 0; tries < 32; tries++) {
		int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
		if (fd >= 0 || errno != EAGAIN)
			return fd;
	}
	return -1;
}

/* A plan has x86-64's numbers, so that it reads the same everywhere; three flags differ on other machines. */
static uint64_t native_flags(uint64_t flags)
{
	uint64_t native = flags & ~(uint64_t)(0200000 | 0400000 | 010000000);
	native |= flags & 0200000 ? O_DIRECTORY : 0;
	native |= flags & 0400000 ? O_NOFOLLOW : 0;
	return native | (flags & 010000000 ? O_PATH : 0);
}

int op_open(struct run *run, const struct arg *args)
{
	return store_fd(run, &args[0], open_how(args[1].fd, args[2].p, native_flags(args[3].u), args[4].u, args[5].u));
}

int op_mkdir(struct run *run, const struct arg *args)
{
	(void)run;
	return mkdirat(args[0].fd, args[1].p, (mode_t)args[2].u) < 0 ? -errno : 0;
}

int op_mknod(struct run *run, const struct arg *args)
{
	(void)run;
	return mknodat(args[0].fd, args[1].p, (mode_t)args[2].u, (dev_t)args[3].u) < 0 ? -errno : 0;
}

int op_symlink(struct run *run, const struct arg *args)
{
	(void)run;
	return symlinkat(args[0].p, args[1].fd, args[2].p) < 0 ? -errno : 0;
}

int op_chown(struct run *run, const struct arg *args)
{
	(void)run;
	int flags = AT_SYMLINK_NOFOLLOW | (args[1].len == 0 ? AT_EMPTY_PATH : 0);
	return fchownat(args[0].fd, args[1].p, (uid_t)args[2].u, (gid_t)args[3].u, flags) < 0 ? -errno : 0;
}

static int write_whole(int dir, const struct arg *path, const struct arg *bytes)
{
	cleanup_close fd = openat(dir, path->p, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	ssize_t written = write(fd, bytes->p, bytes->len);
	if (written < 0)
		return -errno;
	return (uint64_t)written == bytes->len ? 0 : -EIO;
}

int op_write_file(struct run *run, const struct arg *args)
{
	(void)run;
	return write_whole(args[0].fd, &args[1], &args[2]);
}

int op_write_file_or(struct run *run, const struct arg *args)
{
	(void)run;
	int result = write_whole(args[0].fd, &args[1], &args[2]);
	return result == -ENOENT ? write_whole(args[0].fd, &args[3], &args[4]) : result;
}

int op_write_fd(struct run *run, const struct arg *args)
{
	(void)run;
	ssize_t written = write(args[0].fd, args[1].p, args[1].len);
	return written < 0 ? -errno : (uint64_t)written == args[1].len ? 0 : -EIO;
}

/* A root filesystem may have its own /dev: what is there under this name must be this very device. */
int op_device(struct run *run, const struct arg *args)
{
	(void)run;
	struct stat found;
	mode_t mode = (mode_t)args[2].u;
	if (mknodat(args[0].fd, args[1].p, mode, (dev_t)args[3].u) < 0) {
		if (errno != EEXIST || fstatat(args[0].fd, args[1].p, &found, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		int same = (found.st_mode & S_IFMT) == (mode & S_IFMT) && (S_ISFIFO(mode) || found.st_rdev == args[3].u);
		return same ? 0 : -EEXIST;
	}
	if (args[4].u == 0 && args[5].u == 0)
		return 0;
	return fchownat(args[0].fd, args[1].p, (uid_t)args[4].u, (gid_t)args[5].u, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int op_rmdir(struct run *run, const struct arg *args)
{
	(void)run;
	return unlinkat(args[0].fd, args[1].p, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int op_create_file(struct run *run, const struct arg *args)
{
	(void)run;
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
	cleanup_close fd = openat(args[0].fd, args[1].p, flags, (mode_t)args[2].u);
	if (fd < 0)
		return -errno;
	for (uint64_t done = 0; done < args[3].len;) {
		ssize_t written = write(fd, args[3].p + done, args[3].len - done);
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		done += (uint64_t)written;
	}
	return 0;
}

int op_close(struct run *run, const struct arg *args)
{
	for (uint32_t i = 0; i < run->plan->slots; i++)
		if (run->fd[i] == args[0].fd)
			run->fd[i] = -1;
	close(args[0].fd);
	return 0;
}

int op_fchdir(struct run *run, const struct arg *args)
{
	(void)run;
	return fchdir(args[0].fd) < 0 ? -errno : 0;
}

int op_pipe(struct run *run, const struct arg *args)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	int failed = store_fd(run, &args[0], ends[0]);
	return failed ? failed : store_fd(run, &args[1], ends[1]);
}

enum target_kind { TARGET_DIRECTORY, TARGET_FILE, TARGET_PLAIN_DIRECTORY, TARGET_SAME, TARGET_PLAIN_FILE };

/* Makes what is missing at one name below `parent` and opens it; a link there is refused, never followed. */
static int make_component(int parent, const char *name, int as_file, mode_t mode)
{
	if (as_file) {
		cleanup_close made = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, mode);
		if (made < 0)
			return -1;
	} else if (mkdirat(parent, name, mode | (mode & 0444) >> 2) < 0 && errno != EEXIST) {
		return -1;
	}
	return open_how(parent, name, O_PATH | O_NOFOLLOW | (as_file ? 0 : O_DIRECTORY), 0, RESOLVE_BENEATH);
}

enum { MAX_LINKS = 40 };

/*
 * Where the name at `begin` of the path is a link that dangles (/etc/resolv.conf of a system whose /run is not here), what it
 * says takes its place, to be resolved inside the root as any path; `rest` is what follows the name. 0, or -1 for no such link.
 */
static int follow_dangling(int parent, char path[4096], size_t begin, const char *rest)
{
	char target[4096];
	ssize_t length = readlinkat(parent, path + begin, target, sizeof target);
	size_t keep = length > 0 && target[0] == '/' ? 0 : begin;
	if (length <= 0 || keep + (size_t)length + strlen(rest) >= sizeof target)
		return -1;
	memmove(path + keep + length, rest, strlen(rest) + 1);
	memcpy(path + keep, target, (size_t)length);
	return 0;
}

/*
 * The path is resolved by the kernel inside the root for every prefix (CVE-2021-30465, CVE-2024-45310): a component
 * that is missing is made below the descriptor of its parent. A plain directory may have no link on its way
 * (CVE-2023-27561: /proc as a link). What is there must be of the kind that the mount is.
 */
int op_target(struct run *run, const struct arg *args)
{
	enum target_kind kind = (enum target_kind)args[3].u;
	int plain = kind == TARGET_PLAIN_DIRECTORY || kind == TARGET_PLAIN_FILE;
	uint64_t resolve = plain ? IN_ROOT | RESOLVE_NO_SYMLINKS : IN_ROOT;
	struct stat like, found;
	char path[4096];
	if (args[2].len >= sizeof path)
		return -ENAMETOOLONG;
	if (kind == TARGET_SAME) {
		if (fstat(args[5].fd, &like) < 0)
			return -errno;
		kind = S_ISDIR(like.st_mode) ? TARGET_DIRECTORY : TARGET_FILE;
	}
	int as_file = kind == TARGET_FILE || kind == TARGET_PLAIN_FILE ? 1 : 0;
	cleanup_close at = open_how(args[1].fd, ".", O_PATH | O_DIRECTORY, 0, 0);
	size_t len = args[2].len, begin = 0;
	int links = 0;
	memcpy(path, args[2].p, len + 1);
	while (at >= 0 && begin < len) {
		size_t end = begin;
		while (end < len && path[end] != '/')
			end++;
		if (end == begin) {
			begin++;
			continue;
		}
		int last = end == len;
		path[end] = 0;
		int next = open_how(args[1].fd, path, O_PATH, 0, resolve);
		if (next < 0 && errno == ENOENT && !plain && links < MAX_LINKS) {
			char rest[4096] = "";
			if (!last) {
				rest[0] = '/';
				memcpy(rest + 1, path + end + 1, len - end);
			}
			if (follow_dangling(at, path, begin, rest) == 0) {
				links++;
				close(at);
				at = open_how(args[1].fd, ".", O_PATH | O_DIRECTORY, 0, 0);
				len = strlen(path);
				begin = 0;
				continue;
			}
			errno = ENOENT;
		}
		if (next < 0 && errno == ENOENT)
			next = make_component(at, path + begin, last && as_file, (mode_t)args[4].u);
		int failed = errno;
		close(at);
		at = next;
		errno = failed;
		path[end] = last ? 0 : '/';
		begin = end + 1;
	}
	if (at < 0 || fstat(at, &found) < 0)
		return -errno;
	if ((S_ISDIR(found.st_mode) ? 1 : 0) == as_file)
		return as_file ? -EISDIR : -ENOTDIR;
	return store_fd(run, &args[0], take_fd(&at));
}

static int is_procfs(int fd)
{
	struct statfs info;
	return fstatfs(fd, &info) == 0 && info.f_type == PROC_MAGIC;
}

/* A sysctl is written below a procfs whose own files nothing covers (CVE-2019-16884, CVE-2025-52881). */
int op_sysctl(struct run *run, const struct arg *args)
{
	(void)run;
	uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	if (!is_procfs(args[0].fd))
		return -ENOTSUP;
	cleanup_close fd = open_how(args[0].fd, args[1].p, O_WRONLY, 0, resolve);
	if (fd < 0)
		return -errno;
	return write(fd, args[2].p, args[2].len) == (ssize_t)args[2].len ? 0 : errno ? -errno : -EIO;
}
