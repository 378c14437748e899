/* Steps of a process that joins a container which is already there. */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The mount namespace is the last but the user namespace: behind it the host's files are out of reach. */
static const int ORDER[] = {CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWNET, CLONE_NEWTIME, CLONE_NEWNS};

static int join_each(int process, uint64_t flags, uint64_t *refused)
{
	*refused = 0;
	for (size_t i = 0; i < sizeof ORDER / sizeof *ORDER; i++) {
		if (!(flags & (uint64_t)ORDER[i]) || setns(process, ORDER[i]) == 0)
			continue;
		if (errno != EPERM)
			return -errno;
		*refused |= (uint64_t)ORDER[i];
	}
	return 0;
}

/*
 * Some namespaces can be joined only before the container's user namespace (those of others, given by path), some only
 * behind it (its own, where we are not root of the host): each is tried on both sides, and one must work.
 */
int op_join(struct run *run, const struct arg *args)
{
	(void)run;
	uint64_t refused;
	int failed = join_each(args[0].fd, args[1].u, &refused);
	if (!failed && args[1].u & CLONE_NEWUSER) {
		if (setns(args[0].fd, CLONE_NEWUSER) < 0)
			return -errno;
		failed = join_each(args[0].fd, refused, &refused);
	}
	return failed ? failed : refused ? -EPERM : 0;
}

#define ACCOUNTS_MAX (10u << 20)
#define FIELD_UID 2
#define FIELD_HOME 5

/* The home directory in a line of passwd(5) if it is this user's; the line is changed. */
static char *home_of_line(char *line, uint64_t uid)
{
	char *field[7] = {line};
	int count = 1;
	for (char *c = line; *c && count < 7; c++)
		if (*c == ':') {
			*c = 0;
			field[count++] = c + 1;
		}
	char *end;
	if (count < 6 || *field[FIELD_UID] < '0' || *field[FIELD_UID] > '9')
		return NULL;
	if (strtoull(field[FIELD_UID], &end, 10) != uid || *end)
		return NULL;
	return *field[FIELD_HOME] ? field[FIELD_HOME] : NULL;
}

/* In the container's own /etc/passwd, which is hostile: neither a fifo nor a device is waited for, no line may be endless. */
static char *find_home(uint64_t uid)
{
	struct stat info;
	cleanup_close fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size > ACCOUNTS_MAX)
		return NULL;
	char *text = malloc((size_t)info.st_size + 1), *home = NULL;
	size_t have = 0;
	ssize_t got = 1;
	while (text && have < (size_t)info.st_size && (got = read(fd, text + have, (size_t)info.st_size - have)) > 0)
		have += (size_t)got;
	if (!text || got < 0)
		return NULL;
	text[have] = 0;
	for (char *line = text, *next; line && !home; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		home = home_of_line(line, uid);
	}
	return home;
}

/* HOME for an environment without one, as login(1) would set it. */
int op_set_home(struct run *run, const struct arg *args)
{
	size_t count = 0;
	for (; run->env && run->env[count]; count++)
		if (strncmp(run->env[count], "HOME=", 5) == 0)
			return 0;
	char *home = find_home(args[0].u);
	if (!home)
		home = (char *)(uintptr_t) "/";
	char **env = calloc(count + 2, sizeof *env), *entry = malloc(strlen(home) + sizeof "HOME=");
	if (!env || !entry)
		return -ENOMEM;
	memcpy(entry, "HOME=", 5);
	strcpy(entry + 5, home);
	if (count)
		memcpy(env, run->env, count * sizeof *env);
	env[count] = entry;
	run->env = env;
	return 0;
}
