/*
 * libtscrun.so: what Node calls through FFI. It links no libc, so that one file serves Node on glibc and on musl.
 */
#include "sys.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT long ts_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	return sys6(nr, a, b, c, d, e, f);
}
