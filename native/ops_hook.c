/* Programs of the caller that run at a point of the container's life. */
#define _GNU_SOURCE
#include "stage.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a text says \x01, which no JSON has, it gets the first process's pid as the host sees it. */
char *name_process(struct run *run, const struct arg *text, size_t *size)
{
	char digits[20];
	size_t count = decimal(digits, run->told_pid ? (uint64_t)*run->told_pid : 0), places = 0;
	for (uint64_t i = 0; i < text->len; i++)
		places += text->p[i] == 1;
	char *named = malloc(text->len + places * count + 1), *at = named;
	if (!named)
		return NULL;
	for (uint64_t i = 0; i < text->len; i++) {
		if (text->p[i] == 1) {
			memcpy(at, digits, count);
			at += count;
		} else {
			*at++ = text->p[i];
		}
	}
	*at = 0;
	*size = (size_t)(at - named);
	return named;
}

/* In a file, so that nobody waits for a program that does not read it. */
static int input_file(struct run *run, const struct arg *text)
{
	size_t size;
	char *named = name_process(run, text, &size);
	cleanup_close fd = memfd_create("tscrun-state", MFD_CLOEXEC);
	int written = named && fd >= 0 && write(fd, named, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0;
	free(named);
	return written ? take_fd(&fd) : -1;
}

/* Ends with `last`, where there is one. */
char **list_of(const struct arg *arg, char *last)
{
	char **list = calloc(arg->len + 2, sizeof *list);
	const char *text = arg->p;
	for (uint64_t i = 0; list && i < arg->len; i++, text += strlen(text) + 1)
		list[i] = (char *)(uintptr_t)text;
	if (list)
		list[arg->len] = last;
	return list;
}

/* In the child: what it is given, a process group of its own, and nothing of ours. `told` gets the errno of exec. */
static void become(const struct program *program, int told)
{
	sigset_t none;
	sigemptyset(&none);
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	if (setpgid(0, 0) == 0 && dup2(program->input, 0) == 0 && dup2(program->output, 1) == 1 &&
	    dup2(program->errors, 2) == 2 && syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
		execve(program->path, program->argv, program->env);
	int failed = errno;
	(void)!write(told, &failed, sizeof failed);
	_exit(127);
}

/* The end of what the program wrote, for the words of its failure. */
static void keep_note(struct run *run, int output)
{
	struct stat info;
	if (fstat(output, &info) < 0)
		return;
	off_t from = info.st_size > NOTE_BYTES ? info.st_size - NOTE_BYTES : 0;
	ssize_t got = pread(output, run->program_said, NOTE_BYTES, from);
	run->program_said_size = got > 0 ? (size_t)got : 0;
}

enum { WATCH_PROGRAM, WATCH_CALLER, WATCHED };

/*
 * 0 when it has ended in time; whoever waits for us may go meanwhile, then nobody needs it any more, unless it takes down
 * what would stay on the host.
 */
static int wait_for_end(struct run *run, pid_t child, uint64_t milliseconds)
{
	cleanup_close pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (pidfd < 0)
		return -errno;
	uint64_t end = now_ns() / 1000000 + milliseconds;
	for (;;) {
		uint64_t now = now_ns() / 1000000;
		int left = !milliseconds ? -1 : now >= end ? 0 : end - now > 1000000 ? 1000000 : (int)(end - now);
		struct pollfd watched[WATCHED] = {
			[WATCH_PROGRAM] = {.fd = pidfd, .events = POLLIN},
			[WATCH_CALLER] = {.fd = run->current == COLUMN_TEARDOWN ? -1 : run->control},
		};
		int got = poll(watched, WATCHED, left);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0 && watched[WATCH_PROGRAM].revents)
			return 0;
		if (got > 0 && watched[WATCH_CALLER].revents)
			return -ECANCELED;
		if (got == 0 && milliseconds && now_ns() / 1000000 >= end)
			return -ETIMEDOUT;
	}
}

int run_program(struct run *run, const struct program *program)
{
	int exec_error = 0, told[2] = {-1, -1}, status = 0;
	run->program_said_size = 0;
	if (pipe2(told, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = fork();
	if (child == 0)
		become(program, told[1]);
	int forked = child < 0 ? -errno : 0;
	close(told[1]);
	cleanup_close answer = told[0];
	if (forked < 0)
		return forked;
	ssize_t got;
	do
		got = read(answer, &exec_error, sizeof exec_error);
	while (got < 0 && errno == EINTR);
	int failed = got == sizeof exec_error ? 0 : wait_for_end(run, child, program->milliseconds);
	if (failed) {
		kill(-child, SIGKILL);
		kill(child, SIGKILL);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	keep_note(run, program->errors);
	if (got == sizeof exec_error)
		return -exec_error;
	if (failed)
		return failed;
	if (status) {
		run->program_status = (uint64_t)status;
		return -ECHILD;
	}
	run->program_said_size = 0;
	return 0;
}

int op_run_hook(struct run *run, const struct arg *args)
{
	char **argv = list_of(&args[1], NULL), **env = list_of(&args[2], NULL);
	cleanup_close input = input_file(run, &args[3]);
	cleanup_close output = memfd_create("tscrun-output", MFD_CLOEXEC);
	int result = -ENOMEM;
	if (argv && env) {
		struct program program = {args[0].p, argv, env, input, output, output, args[4].u};
		result = input < 0 || output < 0 || fcntl(output, F_SETFL, O_APPEND) < 0 ? -errno : run_program(run, &program);
	}
	free(argv);
	free(env);
	return result;
}
