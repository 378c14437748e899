/* What a preparation has seen of the machine is looked at again: each thing must be found the same. */
#define _GNU_SOURCE
#include "prepared.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#define ROOM (256u << 10)
#define BASIC_STATS 0x7ffu
#define MOUNT_ID 0x1000u

struct sight {
	char *bytes; /* ROOM of them */
	size_t size;
};

static int see_numbers(struct sight *sight, const uint64_t *numbers, size_t count)
{
	sight->size = count * sizeof *numbers;
	memcpy(sight->bytes, numbers, sight->size);
	return 0;
}

/* Of struct statx (linux/stat.h): links, owner, mode, number and size; both times; the device and the mount. */
static const size_t IDENTITY[] = {0x10, 0x30, 0x60, 0x80, 0x88, 0x98, 0};
/* Mode and number; the device and the mount. */
static const size_t PLACE[] = {0x1c, 0x28, 0x88, 0x98, 0};

static int see_status(struct sight *sight, int directory, const char *path, const size_t *borders)
{
	char found[256] __attribute__((aligned(8)));
	uint32_t mask;
	if (syscall(SYS_statx, directory, path, *path ? 0 : AT_EMPTY_PATH, BASIC_STATS | MOUNT_ID, found) < 0)
		return errno;
	memcpy(&mask, found, sizeof mask);
	if (!(mask & MOUNT_ID))
		return ENOTSUP;
	for (; *borders; borders += 2) {
		memcpy(sight->bytes + sight->size, found + borders[0], borders[1] - borders[0]);
		sight->size += borders[1] - borders[0];
	}
	return 0;
}

static int see_file(struct sight *sight, const char *path)
{
	return see_status(sight, AT_FDCWD, path, IDENTITY);
}

/* What is in the directory may change: the container sees it as it is. */
static int see_place(struct sight *sight, const char *path)
{
	struct statfs filesystem;
	int failed = see_status(sight, AT_FDCWD, path, PLACE);
	if (failed)
		return failed;
	if (statfs(path, &filesystem) < 0)
		return errno;
	uint64_t type = (uint64_t)filesystem.f_type;
	memcpy(sight->bytes + sight->size, &type, sizeof type);
	sight->size += sizeof type;
	return 0;
}

static int see_text(struct sight *sight, const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : 0;
	sight->size = 0;
	while (fd >= 0 && (got = read(fd, sight->bytes + sight->size, ROOM - sight->size)) > 0)
		sight->size += (size_t)got;
	int failed = got < 0 ? errno : sight->size == ROOM ? EFBIG : 0;
	if (fd >= 0)
		close(fd);
	return failed;
}

static size_t line_at(const struct sight *sight, size_t begin)
{
	const char *end = memchr(sight->bytes + begin, '\n', sight->size - begin);
	return end ? (size_t)(end - sight->bytes) + 1 - begin : sight->size - begin;
}

static int see_lines(struct sight *sight, const char *path, const char *part)
{
	int failed = see_text(sight, path);
	size_t kept = 0, length;
	for (size_t at = 0; !failed && at < sight->size; at += length) {
		length = line_at(sight, at);
		if (!memmem(sight->bytes + at, length, part, strlen(part)))
			continue;
		memmove(sight->bytes + kept, sight->bytes + at, length);
		kept += length;
	}
	sight->size = kept;
	return failed;
}

/* Each word with one blank behind it, and a newline at the end of the line. */
static int see_words(struct sight *sight, const char *path, uint32_t count)
{
	int failed = see_text(sight, path);
	size_t kept = 0, length;
	for (size_t at = 0; !failed && at < sight->size; at += length) {
		uint32_t words = 0;
		length = line_at(sight, at);
		for (size_t i = at; i < at + length && words < count && sight->bytes[i] != '\n'; i++) {
			char c = sight->bytes[i];
			words += c == '\t' || c == ' ';
			sight->bytes[kept++] = c == '\t' ? ' ' : c;
		}
		sight->bytes[kept++] = '\n';
	}
	sight->size = kept;
	return failed;
}

static int see_link(struct sight *sight, const char *path)
{
	ssize_t got = readlink(path, sight->bytes, ROOM);
	sight->size = got < 0 ? 0 : (size_t)got;
	return got < 0 ? errno : 0;
}

static int see_inside(struct sight *sight, const char *root, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int directory = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = directory < 0 ? -1 : (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
	int failed = fd < 0 ? errno : see_status(sight, fd, "", IDENTITY);
	if (fd >= 0)
		close(fd);
	if (directory >= 0)
		close(directory);
	return failed;
}

static int see_limit(struct sight *sight, uint32_t resource)
{
	struct rlimit limit;
	if (getrlimit((int)resource, &limit) < 0)
		return errno;
	return see_numbers(sight, (uint64_t[]){limit.rlim_max}, 1);
}

static int see_variable(struct sight *sight, const char *name)
{
	const char *value = getenv(name);
	if (!value)
		return ENOENT;
	size_t length = strlen(value);
	if (length > ROOM)
		return EFBIG;
	sight->size = length;
	memcpy(sight->bytes, value, length);
	return 0;
}

static int see_terminal(struct sight *sight, uint32_t fd)
{
	struct winsize size;
	if (ioctl((int)fd, TIOCGWINSZ, &size) < 0)
		return ENOTTY;
	return see_numbers(sight, (uint64_t[]){size.ws_row, size.ws_col}, 2);
}

static int see(struct sight *sight, const struct witness *witness, const char *path, const char *extra)
{
	sight->size = 0;
	switch (witness->kind) {
	case WITNESS_FILE:
		return see_file(sight, path);
	case WITNESS_PLACE:
		return see_place(sight, path);
	case WITNESS_TEXT:
		return see_text(sight, path);
	case WITNESS_LINES:
		return see_lines(sight, path, extra);
	case WITNESS_WORDS:
		return see_words(sight, path, witness->number);
	case WITNESS_LINK:
		return see_link(sight, path);
	case WITNESS_ACCESS:
		return access(path, (int)witness->number) < 0 ? errno : 0;
	case WITNESS_INSIDE:
		return see_inside(sight, path, extra);
	case WITNESS_LIMIT:
		return see_limit(sight, witness->number);
	case WITNESS_VARIABLE:
		return see_variable(sight, path);
	case WITNESS_TERMINAL:
		return see_terminal(sight, witness->number);
	default:
		return -1;
	}
}

static int is_same(struct sight *sight, const struct witness *witness, const char *texts)
{
	const char *extra = texts + witness->path + 1, *seen = extra + witness->extra + 1;
	if (texts[witness->path] || extra[witness->extra])
		return 0;
	int failed = see(sight, witness, texts, extra);
	if (failed || witness->error)
		return failed == (int)witness->error;
	return sight->size == witness->seen && memcmp(sight->bytes, seen, sight->size) == 0;
}

int is_current(const struct prepared *prepared)
{
	static char room[ROOM];
	struct sight sight = {.bytes = room};
	const uint8_t *at = section_of(prepared, SECTION_WITNESSES), *end = at + size_of(prepared, SECTION_WITNESSES);
	while (at < end) {
		struct witness witness;
		if ((size_t)(end - at) < sizeof witness)
			return 0;
		memcpy(&witness, at, sizeof witness);
		uint64_t needed = sizeof witness + (uint64_t)witness.path + 1 + (uint64_t)witness.extra + 1 + witness.seen;
		if (witness.size % 8 || witness.size < needed || witness.size > (size_t)(end - at))
			return 0;
		if (!is_same(&sight, &witness, (const char *)at + sizeof witness))
			return 0;
		at += witness.size;
	}
	return 1;
}
