#define _GNU_SOURCE
#include "oom.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "stage.h"

static const char spared[] = "-999";
static char before[16];
static ssize_t before_size;

static void set_score(const char *score, size_t size)
{
	cleanup_close fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, score, size);
}

void oom_spare(void)
{
	cleanup_close fd = before_size ? -1 : open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		before_size = read(fd, before, sizeof before);
	/* -1000, never: lower already. */
	if (before_size > 0 && strncmp(before, "-1000", 5))
		set_score(spared, sizeof spared - 1);
}

void oom_as_before(void)
{
	if (before_size > 0)
		set_score(before, (size_t)before_size);
}
