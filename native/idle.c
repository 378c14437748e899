/*
 * A monitor does nothing for most of its life. What it holds meanwhile is what counts with a thousand of them: so the
 * stack below its sleep, and its own code but for the page it sleeps in, are given back. The code is the file's, and
 * common to all monitors; the first instruction after the sleep brings it back.
 */
#define _GNU_SOURCE
#include "idle.h"

#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "sys.h"

/* Of the linker: the program's read-only parts lie between these. */
extern const char __executable_start[], __init_array_start[];

#define STACK_KEPT (64 * 1024)

static uintptr_t page_size(void)
{
	static uintptr_t size;
	if (!size)
		size = getauxval(AT_PAGESZ);
	return size;
}

void idle_free(void *buffer, size_t size)
{
	uintptr_t page = page_size(), begin = ((uintptr_t)buffer + page - 1) & -page, end = ((uintptr_t)buffer + size) & -page;
	if (end > begin)
		madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* Here no code but this function's own may run, not even the C library's: the system calls are made in place. */
__attribute__((noinline, aligned(4096))) static long sleep_in(struct pollfd *watched, nfds_t count,
							      const struct timespec *timeout, uintptr_t begin, uintptr_t own,
							      uintptr_t behind, uintptr_t end)
{
	sys6(SYS_madvise, (long)begin, (long)(own - begin), MADV_DONTNEED, 0, 0, 0);
	sys6(SYS_madvise, (long)behind, (long)(end - behind), MADV_DONTNEED, 0, 0, 0);
	return sys6(SYS_ppoll, (long)watched, (long)count, (long)timeout, 0, 0, 0);
}

int idle_poll(struct pollfd *watched, nfds_t count, int timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	uintptr_t page = page_size(), here = (uintptr_t)__builtin_frame_address(0), own = (uintptr_t)sleep_in & -page;
	idle_free((void *)(here - STACK_KEPT), STACK_KEPT - page);
	return (int)sleep_in(watched, count, timeout_ms < 0 ? NULL : &timeout, (uintptr_t)__executable_start & -page, own,
			     own + page, (uintptr_t)__init_array_start & -page);
}
