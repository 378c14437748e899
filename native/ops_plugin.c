/* Plugins of the Container Network Interface: each is a program that is told what to do on its standard input. */
#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESULT_MAX (1 << 20)
#define PREVIOUS ",\"prevResult\":"

static int append_text(int fd, const char *text, size_t size)
{
	return write(fd, text, size) == (ssize_t)size ? 0 : errno ? -errno : -EIO;
}

static int append_file(int fd, int from)
{
	struct stat info;
	off_t at = 0;
	if (fstat(from, &info) < 0)
		return -errno;
	if (info.st_size > RESULT_MAX)
		return -EFBIG;
	while (at < info.st_size)
		if (sendfile(fd, from, &at, (size_t)(info.st_size - at)) <= 0)
			return errno ? -errno : -EIO;
	return 0;
}

/* The plugin's configuration, which comes without its last brace, with the result of the one before it. */
static int configuration(struct run *run, const struct arg *head)
{
	cleanup_close fd = memfd_create("tscrun-plugin", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int failed = append_text(fd, head->p, head->len);
	if (!failed && run->plugin_result >= 0) {
		failed = append_text(fd, PREVIOUS, sizeof PREVIOUS - 1);
		if (!failed)
			failed = append_file(fd, run->plugin_result);
	}
	if (!failed)
		failed = append_text(fd, "}", 1);
	if (!failed && lseek(fd, 0, SEEK_SET) < 0)
		failed = -errno;
	return failed ? failed : take_fd(&fd);
}

static void forget_result(struct run *run)
{
	if (run->plugin_result >= 0)
		close(run->plugin_result);
	run->plugin_result = -1;
}

/* What it prints is the result so far. One that has none to give, as when it deletes, leaves that of the one before. */
int op_plugin(struct run *run, const struct arg *args)
{
	if (run->plugins_absent)
		return 0;
	/* A path that holds when the container's processes are gone: the namespace is not, while we have it open. */
	char netns[64] = "CNI_NETNS=/proc/";
	size_t at = strlen(netns);
	at += decimal(netns + at, (uint64_t)getpid());
	memcpy(netns + at, "/fd/", 4);
	at += 4;
	netns[at + decimal(netns + at, (uint64_t)args[4].fd)] = 0;
	char **argv = list_of(&args[1], NULL), **env = list_of(&args[2], args[4].fd >= 0 ? netns : NULL);
	cleanup_close input = configuration(run, &args[3]);
	cleanup_close output = memfd_create("tscrun-result", MFD_CLOEXEC);
	cleanup_close errors = memfd_create("tscrun-errors", MFD_CLOEXEC);
	int result = !argv || !env ? -ENOMEM : input < 0 ? input : output < 0 || errors < 0 ? -errno : 0;
	if (!result) {
		struct program program = {args[0].p, argv, env, input, output, errors, args[5].u};
		result = run_program(run, &program);
	}
	free(argv);
	free(env);
	struct stat info;
	if (result || fstat(output, &info) < 0) {
		/* Its words are in what it printed (CNI specification, "Error"). */
		ssize_t got = pread(output, run->program_said, NOTE_BYTES, 0);
		if (result && got > 0)
			run->program_said_size = (size_t)got;
		return result ? result : -errno;
	}
	if (info.st_size > 0) {
		forget_result(run);
		run->plugin_result = take_fd(&output);
	}
	return 0;
}

/* The result of the last of a network's plugins is kept for when they delete. Without one the file says that they began. */
int op_keep_result(struct run *run, const struct arg *args)
{
	run->plugins_absent = 0;
	cleanup_close fd = openat(args[0].fd, args[1].p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int failed = fd < 0 ? -errno : run->plugin_result < 0 ? 0 : append_file(fd, run->plugin_result);
	forget_result(run);
	return failed;
}

/* The file goes: while it is there, something has to be deleted, and only then. */
int op_find_result(struct run *run, const struct arg *args)
{
	forget_result(run);
	cleanup_close fd = openat(args[0].fd, args[1].p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat info;
	run->plugins_absent = fd < 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &info) < 0)
		return -errno;
	if (info.st_size > 0)
		run->plugin_result = take_fd(&fd);
	return unlinkat(args[0].fd, args[1].p, 0) < 0 ? -errno : 0;
}
