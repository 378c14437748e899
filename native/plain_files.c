/*
 * Writes the plain files of a layer: members of a tar that are nothing but a header and data. What is a member, what may
 * be written and what an error means is decided in TypeScript (src/images/extractor): whatever is not plain, or does not
 * succeed, is left to it, and nothing of it is there.
 */
#include <linux/fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "plan.h"
#include "sys.h"

#define EXPORT __attribute__((visibility("default")))
#define BLOCK 512
#define MAX_PATH 256 /* 155 of the prefix, a slash, 100 of the name */

#define call(nr, a, b, c, d) sys6((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* Also src/images/extractor/plain-files.ts. */
struct plain_files {
	/* What may be written. */
	int64_t files, bytes;
	/* Owners are set even where they are root: directories hand their group on. */
	int64_t chown;
	/* What has been written. */
	int64_t written, written_bytes;
};

struct member {
	char path[MAX_PATH + 1];
	uint64_t mode, uid, gid, size, mtime;
};

/* Octal digits, spaces in front, at least one digit, then NULs or spaces: false for all else that tars may have there. */
static int octal(const uint8_t *field, int length, uint64_t *value)
{
	int at = 0, digits = 0;
	*value = 0;
	while (at < length && field[at] == ' ')
		at++;
	for (; at < length && field[at] >= '0' && field[at] <= '7'; at++, digits++)
		*value = *value * 8 + (field[at] - '0');
	for (; at < length; at++)
		if (field[at] != 0 && field[at] != ' ')
			return 0;
	return digits > 0;
}

static int checksum_fits(const uint8_t *block)
{
	uint64_t stated;
	uint32_t sum = 0;
	for (int i = 0; i < BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : block[i];
	return octal(block + 148, 8, &stated) && stated == sum;
}

/* Appends a field; answers the new end. */
static int append(char *path, int end, const uint8_t *field, int length)
{
	for (int i = 0; i < length && field[i]; i++)
		path[end++] = (char)field[i];
	return end;
}

/* Components that are not empty and do not begin with a dot: neither `..` nor a whiteout. */
static int is_clean(const char *path, int length)
{
	char before = '/';
	for (int i = 0; i < length; i++) {
		if (before == '/' && (path[i] == '/' || path[i] == '.'))
			return 0;
		before = path[i];
	}
	return before != '/';
}

static int equal(const uint8_t *bytes, const char *text, int length)
{
	for (int i = 0; i < length; i++)
		if (bytes[i] != (uint8_t)text[i])
			return 0;
	return 1;
}

/* True for a file of POSIX's or GNU's format whose header says all there is about it. */
static int read_plain(const uint8_t *block, struct member *member)
{
	int posix = equal(block + 257, "ustar\0", 6), end = 0;
	if (block[156] != '0' || (!posix && !equal(block + 257, "ustar  ", 8)) || !checksum_fits(block))
		return 0;
	if (!octal(block + 100, 8, &member->mode) || !octal(block + 108, 8, &member->uid) ||
	    !octal(block + 116, 8, &member->gid) || !octal(block + 124, 12, &member->size) ||
	    !octal(block + 136, 12, &member->mtime))
		return 0;
	if (posix && block[345]) {
		end = append(member->path, 0, block + 345, 155);
		member->path[end++] = '/';
	}
	end = append(member->path, end, block, 100);
	member->path[end] = 0;
	/* Set-id bits and such are more than one call; owners that a container's ids have not are noted. */
	return (member->mode & ~0777ull) == 0 && member->uid < RANGE_SIZE && member->gid < RANGE_SIZE &&
	       is_clean(member->path, end);
}

static int write_all(long fd, const uint8_t *data, uint64_t size)
{
	while (size > 0) {
		long written = call(SYS_write, fd, data, size, 0);
		if (written <= 0)
			return 0;
		data += written;
		size -= (uint64_t)written;
	}
	return 1;
}

static int write_file(const struct member *member, const uint8_t *data, int chown)
{
	int64_t times[4] = {(int64_t)member->mtime, 0, (int64_t)member->mtime, 0};
	long flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	long fd = call(SYS_openat, AT_FDCWD, member->path, flags, member->mode);
	if (fd < 0)
		return 0;
	int done = write_all(fd, data, member->size) &&
		   (!chown || call(SYS_fchown, fd, member->uid, member->gid, 0) == 0) &&
		   call(SYS_utimensat, fd, NULL, times, 0) == 0;
	call(SYS_close, fd, 0, 0, 0);
	/* It is made anew by whoever finds the words for what went wrong. */
	if (!done)
		call(SYS_unlinkat, AT_FDCWD, member->path, 0, 0);
	return done;
}

/* Writes the members that `tar` begins with, below the working directory, as long as they are plain and whole; answers where it stopped. */
EXPORT long ts_plain_files(const uint8_t *tar, int64_t size, struct plain_files *plain)
{
	struct member member;
	int64_t at = 0;
	plain->written = plain->written_bytes = 0;
	while (size - at >= BLOCK && plain->written < plain->files && read_plain(tar + at, &member)) {
		uint64_t left = (uint64_t)(size - at - BLOCK);
		uint64_t padded = (member.size + BLOCK - 1) / BLOCK * BLOCK;
		if (padded > left || (int64_t)member.size > plain->bytes - plain->written_bytes)
			break;
		if (!write_file(&member, tar + at + BLOCK, plain->chown || member.uid || member.gid))
			break;
		at += BLOCK + (int64_t)padded;
		plain->written++;
		plain->written_bytes += (int64_t)member.size;
	}
	return at;
}
