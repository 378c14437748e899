/*
 * timer COUNT JOBS COMMAND ARGS...: runs the command COUNT times, JOBS at a time, without its output, and prints the
 * nanoseconds from the first start to the last end, and how many runs did not end with 0. An argument `@id` becomes
 * another word for each run. It is small and knows no threads, so that starting a process from it costs little and
 * always the same.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static pid_t start(char **argv, int number)
{
	char id[64], *own[256];
	int count = 0;
	pid_t pid;
	posix_spawn_file_actions_t actions;
	snprintf(id, sizeof id, "bench-%d-%d", (int)getpid(), number);
	for (; argv[count] && count < 255; count++)
		own[count] = strcmp(argv[count], "@id") ? argv[count] : id;
	own[count] = NULL;
	posix_spawn_file_actions_init(&actions);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	if (posix_spawnp(&pid, own[0], &actions, NULL, own, environ) != 0)
		exit(127);
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	int count = atoi(argv[1]), jobs = atoi(argv[2]), started = 0, ended = 0, failed = 0;
	pid_t *ours = calloc((size_t)count, sizeof *ours);
	if (!ours || count < 1 || jobs < 1)
		return 2;
	/* What a command leaves behind comes to us, so that it can be waited for; unless it is made to go on. */
	int leave = getenv("TIMER_LEAVE") != NULL;
	if (!leave)
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	long long begin = now();
	while (ended < count) {
		if (started < count && started - ended < jobs) {
			ours[started] = start(argv + 3, started);
			started++;
			continue;
		}
		int status;
		pid_t pid = waitpid(-1, &status, 0);
		for (int i = 0; i < started; i++)
			if (ours[i] == pid) {
				ended++;
				failed += status != 0;
			}
	}
	long long took = now() - begin;
	printf("%lld %d\n", took, failed);
	fflush(stdout);
	/* podman's monitors end a little later. */
	alarm(20);
	while (!leave && waitpid(-1, NULL, 0) > 0)
		;
	return 0;
}
