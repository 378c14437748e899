/*
 * libtscrun.so: what Node calls through FFI. It links no libc, so that one file serves Node on glibc and on musl.
 */
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "sys.h"

#define EXPORT __attribute__((visibility("default")))
#define EMPTY_PATH 0x1000 /* AT_EMPTY_PATH */
#define SET_MASK 2	  /* SIG_SETMASK */

EXPORT long ts_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	return sys6(nr, a, b, c, d, e, f);
}

#define call(nr, a, b, c, d, e) sys6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

struct spawn {
	int program;	   /* a sealed memfd */
	const int *fds;	   /* become 3, 4, ... in the program */
	long count;
	const char *name;  /* argv[0] */
	volatile long error; /* the child writes it: it shares our memory */
};

/* Runs in the child on the parent's stack and memory (vfork): nothing but system calls, and no return. */
__attribute__((noreturn, noinline)) static void enter(struct spawn *spawn)
{
	const char *argv[] = {spawn->name, NULL}, *env[] = {NULL};
	long first = 3, limit = first + spawn->count + 1, copies[64], failed = 0;
	/* First out of the way, then into place: the two ranges may overlap. */
	long program = call(SYS_fcntl, spawn->program, 1030 /* F_DUPFD_CLOEXEC */, limit, 0, 0);
	for (long i = 0; i < spawn->count && !failed; i++)
		if ((copies[i] = call(SYS_fcntl, spawn->fds[i], 1030, limit, 0, 0)) < 0)
			failed = copies[i];
	long null = call(SYS_openat, AT_FDCWD, "/dev/null", 2 /* O_RDWR */, 0, 0);
	if (null < 0 && !failed)
		failed = null;
	for (long fd = 0; fd < 3 && !failed; fd++)
		if (null != fd && call(SYS_dup3, null, fd, 0, 0, 0) < 0)
			failed = -9; /* EBADF */
	for (long i = 0; i < spawn->count && !failed; i++)
		if (call(SYS_dup3, copies[i], first + i, 0, 0, 0) < 0)
			failed = -9;
	if (!failed)
		failed = call(SYS_close_range, first + spawn->count, ~0u, CLOSE_RANGE_CLOEXEC, 0, 0);
	if (!failed)
		failed = call(SYS_execveat, program, "", argv, env, EMPTY_PATH);
	spawn->error = failed;
	for (;;)
		call(SYS_exit, 127, 0, 0, 0, 0);
}

/*
 * Starts `program` with the given descriptors at 3, 4, ... and null devices at 0-2. The calling thread waits until the
 * exec (CLONE_VFORK); no handler of Node's can run meanwhile: all signals are blocked here and reset in the child.
 * Answers the pid, its pidfd in *pidfd, or -errno. The child sends no signal when it ends: wait for the pidfd, __WALL.
 */
EXPORT long ts_spawn(long program, const int *fds, long count, const char *name, int *pidfd)
{
	uint64_t all = ~0ull, before;
	struct spawn spawn = {(int)program, fds, count, name, 0};
	struct clone_args clone = {
		.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.pidfd = (uintptr_t)pidfd,
	};
	if (count > 64)
		return -7; /* E2BIG */
	call(SYS_rt_sigprocmask, SET_MASK, &all, &before, 8, 0);
	long pid = call(SYS_clone3, &clone, sizeof clone, 0, 0, 0);
	if (pid == 0)
		enter(&spawn);
	call(SYS_rt_sigprocmask, SET_MASK, &before, NULL, 8, 0);
	if (pid > 0 && spawn.error) {
		call(SYS_wait4, pid, NULL, 0x40000000 /* __WALL */, NULL, 0);
		call(SYS_close, *pidfd, 0, 0, 0, 0);
		return spawn.error;
	}
	return pid;
}
