/* What the files of the stage program share. */
#ifndef TSCRUN_STAGE_H
#define TSCRUN_STAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "events.h"
#include "health.h"
#include "log.h"
#include "plan.h"

struct arg {
	uint64_t u;      /* u: the number; o: the slot's index */
	int fd;          /* f: the descriptor */
	const char *p;   /* s b v: where the bytes are */
	uint64_t len;    /* s b v: how many; for v the count of texts */
};

#define NOTE_BYTES 1024

struct run {
	const struct plan_header *plan;
	const uint8_t *column[COLUMNS]; /* where each column's steps begin */
	const struct plan_pump *pumps;
	const uint8_t *end;
	void *memory; /* of the plan, to be unmapped */
	size_t memory_size;
	enum column current;
	uint32_t step;
	int *fd; /* of each slot, -1 where there is none */
	int control;
	int sync;   /* socket to the other of stage and init; -1 before clone */
	pid_t init; /* of the container's first process, once cloned */
	int init_pidfd;
	uint64_t init_start; /* its start time, where somebody has asked; 0 */
	char **env; /* set by set_env, used by exec */
	int failed; /* a failure has been told on the control socket */
	struct message failure; /* the last one of the parent's column, for the record */
	pid_t *told_pid; /* of the first process as the host sees it, shared with it; NULL before clone */
	uint64_t program_status; /* wait status of a hook that failed */
	char program_said[NOTE_BYTES]; /* the end of its output */
	size_t program_said_size;
	int plugins_absent; /* there is nothing that they have made */
	int plugin_result; /* what the plugins of a network have made of it so far; -1: nothing */

	/* The monitor's, for a container that outlives the command that started it. */
	int detached;
	int listener;	/* where clients connect; -1: none */
	int run_dir, directory; /* of state.json and exit.json; -1: none are written */
	struct log log;
	uint32_t policy;	   /* RESTART_* */
	uint64_t most_restarts;	   /* 0: no limit */
	int stopped;		   /* not to be started again */
	int by_person;		   /* who wanted that: noted for the next boot */
	int own_end;		   /* where the monitor reads what its child says, when Node has gone; -1 */
	int final;		   /* in the teardown: it will not be started again */
	int again;		   /* to be started again whatever the policy says */
	uint64_t time_limit_ms;	   /* of a life; 0: none */
	uint64_t stop_signal, stop_ms; /* how the monitor itself stops it, and when it kills instead */
	uint64_t kill_ns;	   /* when what was stopped is to be killed; 0: never */
	struct health health;
	int next_plan;		   /* of further lives; -1: as it is */
	struct events events;
};

/* Ends the teardown column without being a failure. */
#define NOT_THE_LAST 1

/* One function an op; 0 or -errno. */
typedef int (*op_fn)(struct run *run, const struct arg *args);
#define DECLARE_OP(code, name, signature) int op_##name(struct run *run, const struct arg *args);
TSCRUN_OPS(DECLARE_OP)
#undef DECLARE_OP

int run_column(struct run *run, enum column column);
/* As it is before any plan. */
void stage_fresh(struct run *run);
/* Takes the plan that lies in this memory from `offset` on, and keeps the memory; -EBADMSG, and nothing is taken. */
int stage_plan(struct run *run, void *memory, size_t size, size_t offset);
/* Takes the plan that a file holds, and closes it. What pointed into an earlier plan stays valid. */
int map_plan(struct run *run, int fd);
/* Makes `run` one of this plan, whose inherited slots hold these descriptors. `fd` has room for MAX_SLOTS. */
int load_plan(struct run *run, const void *plan, size_t size, int *fd, const int *inherited);
void tell(struct run *run, uint32_t type, uint32_t error, uint64_t a, uint64_t b);
void run_init(struct run *run) __attribute__((noreturn));
int supervise(struct run *run);
void signal_init(struct run *run, int signal_number);
int store_fd(struct run *run, const struct arg *slot, int fd);
int open_of_init(struct run *run, const char *name, int flags);
uint64_t start_time_of_init(struct run *run);
uint64_t start_time_in(int stat);
int send_with_fd(int socket, const void *bytes, size_t size, int fd);
uint64_t now_ns(void);
size_t decimal(char *out, uint64_t value);
char *name_process(struct run *run, const struct arg *text, size_t *size);

void close_fd(const int *fd);
/* A descriptor that closes with its scope; take_fd hands it on. */
#define cleanup_close __attribute__((cleanup(close_fd))) int
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

#endif
