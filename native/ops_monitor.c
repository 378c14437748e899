/* Steps that tell the monitor how to supervise a container that outlives the command that started it. */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Its own session and cgroup: the end of the caller's terminal or service is not the container's. */
int op_detach(struct run *run, const struct arg *args)
{
	if (run->detached)
		return 0; /* at a restart it is already */
	if (args[0].fd >= 0) {
		cleanup_close procs = openat(args[0].fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
		if (procs < 0 || write(procs, "0", 1) != 1)
			return -errno;
	}
	if (setsid() < 0)
		return -errno;
	run->detached = 1;
	return 0;
}

int op_log(struct run *run, const struct arg *args)
{
	log_close(&run->log);
	if (args[1].len >= LOG_NAME_BYTES)
		return -ENAMETOOLONG;
	run->log = (struct log){.directory = args[0].fd,
				.format = (enum log_format)args[2].u,
				.max_size = args[3].u,
				.max_files = args[4].u,
				.fd = -1,
				.on_rotate = run->log.on_rotate};
	memcpy(run->log.name, args[1].p, args[1].len);
	return log_open(&run->log);
}

int op_listen(struct run *run, const struct arg *args)
{
	run->listener = args[0].fd;
	return 0;
}

int op_status(struct run *run, const struct arg *args)
{
	run->run_dir = args[0].fd;
	run->directory = args[1].fd;
	return 0;
}

int op_restart(struct run *run, const struct arg *args)
{
	run->policy = (uint32_t)args[0].u;
	run->most_restarts = args[1].u;
	return 0;
}

int op_time_limit(struct run *run, const struct arg *args)
{
	run->time_limit_ms = args[0].u;
	return 0;
}

int op_stop_by(struct run *run, const struct arg *args)
{
	run->stop_signal = args[0].u;
	run->stop_ms = args[1].u;
	return 0;
}

/* Answered as an error that ends the column: nothing went wrong. */
int op_last(struct run *run, const struct arg *args)
{
	(void)args;
	return run->final ? 0 : NOT_THE_LAST;
}
