#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../text.h"

/* The size, -1 where it cannot be read or does not fit; the text ends with a NUL. */
static ssize_t read_at(int directory, const char *path, char *text, size_t size)
{
	ssize_t used = 0, got;
	int fd = openat(directory, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -1;
	do {
		got = read(fd, text + used, size - 1 - (size_t)used);
		used += got > 0 ? got : 0;
	} while (got > 0 && (size_t)used < size - 1);
	int problem = got < 0 ? errno : (size_t)used == size - 1 ? EFBIG : 0;
	close(fd);
	text[used] = '\0';
	errno = problem;
	return problem ? -1 : used;
}

/* Cuts the text at the next mark; where it goes on, NULL without one. */
static char *cut(char *text, char mark)
{
	char *end = text ? strchr(text, mark) : NULL;

	if (!end)
		return NULL;
	*end = '\0';
	return end + 1;
}

int read_brief(int directory, struct brief *brief)
{
	ssize_t size = read_at(directory, "brief", brief->text, sizeof brief->text);
	char *process, *plain, *cgroup, *document, *at = brief->text;

	if (size <= 0 || strlen(brief->text) != (size_t)size)
		return 0;
	process = cut(at, '\n');
	plain = cut(process, '\n');
	cgroup = cut(plain, '\n');
	document = cut(cgroup, '\n');
	if (!document || strcmp(brief->text, "1") != 0)
		return 0;
	brief->pid = strtol(process, &at, 10);
	brief->start_time = strtoull(at, &at, 10);
	brief->starts_plainly = strchr(plain, 's') != NULL;
	brief->ends_plainly = strchr(plain, 'e') != NULL;
	brief->cgroup = cgroup;
	brief->document[0] = document;
	brief->document[1] = document = cut(document, '\1');
	brief->document[2] = cut(document, '\1');
	return brief->pid > 0 && *at == '\0' && brief->document[2] != NULL;
}

/* A zombie has only its exit code left. */
int is_there(const struct brief *brief)
{
	char path[40], stat[1024], *at;

	*put(put_number(put(path, "/proc/"), (uint64_t)brief->pid), "/stat") = '\0';
	if (read_at(AT_FDCWD, path, stat, sizeof stat) < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -1;
	/* The name in brackets may hold anything; the state is field 3, the start time field 22 (proc_pid_stat(5)). */
	at = strrchr(stat, ')');
	if (!at || strlen(at) < 3)
		return -1;
	char state = at[2];
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -1;
	return strtoull(at, NULL, 10) == brief->start_time && state != 'Z' && state != 'X';
}

/* 1 or 0; -1: that cannot be told. */
static int is_frozen(const char *cgroup)
{
	char path[PATH_MAX], events[1024];

	if (*cgroup == '\0')
		return 0;
	if (strlen(cgroup) + sizeof "/cgroup.events" > sizeof path)
		return -1;
	*put(put(path, cgroup), "/cgroup.events") = '\0';
	if (read_at(AT_FDCWD, path, events, sizeof events) < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -1;
	return strstr(events, "frozen 1\n") != NULL;
}

/* Before its exec it is our own program, a file in memory; after `start` nobody listens at the gate any more. */
static int is_at_gate(int directory, const struct brief *brief)
{
	static const char ours[] = "/memfd:tscrun";
	char path[40], program[sizeof ours - 1];

	*put(put_number(put(path, "/proc/"), (uint64_t)brief->pid), "/exe") = '\0';
	ssize_t size = readlink(path, program, sizeof program);
	if (size < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -1;
	if (size < (ssize_t)sizeof program || memcmp(program, ours, sizeof program) != 0)
		return 0;
	if (faccessat(directory, "gate", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : -1;
}

enum status status_of(int directory, const struct brief *brief)
{
	int there = is_there(brief), frozen, waits;

	if (there <= 0)
		return there < 0 ? UNKNOWN : STOPPED;
	/* First, whatever else it is: nobody at the gate answers while it is frozen. */
	frozen = is_frozen(brief->cgroup);
	if (frozen != 0)
		return frozen < 0 ? UNKNOWN : PAUSED;
	waits = is_at_gate(directory, brief);
	return waits < 0 ? UNKNOWN : waits ? CREATED : RUNNING;
}
