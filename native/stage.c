/*
 * The stage: reads a plan from descriptor 4, runs its parent column and, as monitor, supervises the container.
 * No policy lives here, and no words for people: a failure is a column, a step and an errno on descriptor 3.
 */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ahead.h"

struct op {
	const char *signature;
	op_fn run;
};

#define HIGHEST_OP 128
#define OP_HOLD 107
static const struct op OPS[HIGHEST_OP] = {
#define ENTRY(code, name, signature) [code] = {signature, op_##name},
	TSCRUN_OPS(ENTRY)
#undef ENTRY
};

void close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void tell(struct run *run, uint32_t type, uint32_t error, uint64_t a, uint64_t b)
{
	struct message message = {type, run->current, run->step, error, a, b};
	/* Node may be gone: the lifeline is watched elsewhere. */
	(void)!send(run->control, &message, sizeof message, MSG_NOSIGNAL);
}

/* Digits without the weight of printf(3); 20 fit any number. Answers how many. */
size_t decimal(char *out, uint64_t value)
{
	char digits[20];
	size_t count = 0;
	do
		digits[count++] = (char)('0' + value % 10);
	while (value /= 10);
	for (size_t i = 0; i < count; i++)
		out[i] = digits[count - 1 - i];
	return count;
}

static void tell_failure(struct run *run, uint32_t error)
{
	struct {
		struct message head;
		char said[NOTE_BYTES];
	} message = {.head = {MSG_FAILED, run->current, run->step, error, run->program_status, 0}};
	memcpy(message.said, run->program_said, run->program_said_size);
	(void)!send(run->control, &message, sizeof message.head + run->program_said_size, MSG_NOSIGNAL);
}

int store_fd(struct run *run, const struct arg *slot, int fd)
{
	if (fd < 0)
		return -errno;
	if (run->fd[slot->u] >= 0)
		close(run->fd[slot->u]);
	run->fd[slot->u] = fd;
	return 0;
}

static uint64_t load64(const uint8_t *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof value);
	return value;
}

/* Bytes with their length before them, padded to 8; the bounds are checked although we wrote the plan. */
static int load_bytes(const uint8_t **at, const uint8_t *end, struct arg *arg)
{
	if (end - *at < 8)
		return -EBADMSG;
	arg->len = load64(*at);
	*at += 8;
	if (arg->len > PLAN_MAX_BYTES)
		return -EBADMSG;
	uint64_t padded = (arg->len + 8) & ~7ull; /* at least one NUL follows */
	if ((uint64_t)(end - *at) < padded)
		return -EBADMSG;
	arg->p = (const char *)*at;
	*at += padded;
	return 0;
}

static int load_slot(struct run *run, char letter, const uint8_t **at, const uint8_t *end, struct arg *arg)
{
	if (end - *at < 8)
		return -EBADMSG;
	arg->u = load64(*at);
	*at += 8;
	if (letter == 'f' && arg->u == SLOT_NONE)
		arg->fd = -1;
	else if (letter == 'f' && arg->u == SLOT_CWD)
		arg->fd = -100; /* AT_FDCWD */
	else if (arg->u >= run->plan->slots)
		return -EBADMSG;
	else if (letter == 'f' && run->fd[arg->u] < 0)
		return -EBADF;
	else
		arg->fd = run->fd[arg->u];
	return 0;
}

static int load_arg(struct run *run, char letter, const uint8_t **at, const uint8_t *end, struct arg *arg)
{
	switch (letter) {
	case 'u':
		if (end - *at < 8)
			return -EBADMSG;
		arg->u = load64(*at);
		*at += 8;
		return 0;
	case 'f':
	case 'o':
		return load_slot(run, letter, at, end, arg);
	case 's': {
		int failed = load_bytes(at, end, arg);
		return failed ? failed : arg->p[arg->len] == 0 && strlen(arg->p) == arg->len ? 0 : -EBADMSG;
	}
	case 'b':
		return load_bytes(at, end, arg);
	default: { /* v: the first 8 bytes count the texts */
		int failed = load_bytes(at, end, arg);
		if (failed || arg->len < 8)
			return failed ? failed : -EBADMSG;
		uint64_t count = load64((const uint8_t *)arg->p), found = 0;
		const char *texts = arg->p + 8, *last = arg->p + arg->len;
		for (const char *c = texts; c < last; c++)
			found += *c == 0;
		if (found != count || (last > texts && last[-1] != 0))
			return -EBADMSG;
		arg->p = texts;
		arg->len = count;
		return 0;
	}
	}
}

static int run_step(struct run *run, const struct plan_step *step, const uint8_t *at, const uint8_t *end)
{
	struct arg args[MAX_ARGS];
	const struct op *op = step->op < HIGHEST_OP ? &OPS[step->op] : NULL;
	if (!op || !op->run)
		return -ENOSYS;
	for (unsigned i = 0; op->signature[i]; i++) {
		int failed = i < MAX_ARGS ? load_arg(run, op->signature[i], &at, end, &args[i]) : -EBADMSG;
		if (failed)
			return failed;
	}
	int result = op->run(run, args);
	for (int i = 0; result < 0 && i < 3 && step->tolerate[i]; i++)
		if (-result == step->tolerate[i])
			return 0;
	return result;
}

/* Runs a column's steps in order. The first failure ends it and is told; teardown goes on, since the rest still helps. */
int run_column(struct run *run, enum column column)
{
	const uint8_t *at = run->column[column];
	int worst = 0;
	run->current = column;
	for (run->step = 0; run->step < run->plan->steps[column]; run->step++) {
		struct plan_step step;
		memcpy(&step, at, sizeof step);
		const uint8_t *args = at + sizeof step;
		int result = run_step(run, &step, args, args + step.size);
		if (result == NOT_THE_LAST)
			return worst;
		if (run->plan->flags & PLAN_TRACE)
			tell(run, MSG_TRACE, (uint32_t)-result, now_ns(), 0);
		if (result < 0) {
			if (!run->failed)
				tell_failure(run, (uint32_t)-result);
			if (column != COLUMN_TEARDOWN) {
				run->failure = (struct message){.column = column, .step = run->step, .error = (uint32_t)-result};
				return result;
			}
			worst = result;
		}
		at = args + step.size;
	}
	return worst;
}

/* Finds where each column begins; every size is checked against the end of the plan here, once. */
static int index_plan(struct run *run, const uint8_t *plan, size_t size)
{
	const uint8_t *columns[COLUMNS];
	unsigned holds = 0;
	const struct plan_header *header = (const void *)plan;
	if (size < sizeof *header || header->magic != PLAN_MAGIC || header->slots > MAX_SLOTS || header->inherited > header->slots)
		return -EBADMSG;
	const uint8_t *at = plan + ((sizeof *header + 7) & ~(size_t)7), *end = plan + size;
	for (int column = 0; column < COLUMNS; column++) {
		columns[column] = at;
		for (uint32_t i = 0; i < header->steps[column]; i++) {
			struct plan_step step;
			if ((size_t)(end - at) < sizeof step)
				return -EBADMSG;
			memcpy(&step, at, sizeof step);
			holds += step.op == OP_HOLD;
			at += sizeof step;
			if (step.size % 8 || (size_t)(end - at) < step.size)
				return -EBADMSG;
			at += step.size;
		}
	}
	if ((size_t)(end - at) / sizeof(struct plan_pump) < header->pumps)
		return -EBADMSG;
	if (holds != (header->flags & PLAN_HELD ? 1 : 0))
		return -EBADMSG;
	/* Slots that the plan before had not. */
	for (uint32_t i = run->plan ? run->plan->slots : 0; i < header->slots; i++)
		run->fd[i] = -1;
	memcpy(run->column, columns, sizeof columns);
	run->pumps = (const void *)at;
	run->plan = header;
	run->end = end;
	return 0;
}

int load_plan(struct run *run, const void *plan, size_t size, int *fd, const int *inherited)
{
	run->fd = fd;
	int failed = index_plan(run, plan, size);
	for (uint32_t i = 0; !failed && i < run->plan->inherited; i++)
		fd[i] = inherited[i];
	return failed;
}

/* Into memory of our own, which can be given back bit by bit. */
static void *read_file(int fd, size_t size)
{
	char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t have = 0; bytes != MAP_FAILED && have < size;) {
		ssize_t got = pread(fd, bytes + have, size - have, (off_t)have);
		if (got <= 0) {
			munmap(bytes, size);
			return MAP_FAILED;
		}
		have += (size_t)got;
	}
	return bytes;
}

int map_plan(struct run *run, int fd)
{
	struct stat info;
	int failed = fstat(fd, &info) < 0 ? -errno : 0;
	if (!failed && (info.st_size < (off_t)sizeof(struct plan_header) || info.st_size > PLAN_MAX_BYTES))
		failed = -EBADMSG;
	void *plan = failed ? MAP_FAILED : read_file(fd, (size_t)info.st_size);
	if (!failed && plan == MAP_FAILED)
		failed = -EIO;
	close(fd);
	return failed ? failed : stage_plan(run, plan, (size_t)info.st_size, 0);
}

int stage_plan(struct run *run, void *memory, size_t size, size_t offset)
{
	int failed = index_plan(run, (const uint8_t *)memory + offset, size - offset);
	if (failed)
		return failed;
	run->memory = memory;
	run->memory_size = size;
	return 0;
}

static int read_plan(struct run *run)
{
	static int slots[MAX_SLOTS];
	run->fd = slots;
	int failed = map_plan(run, PLAN_FD);
	/* Those of a plan that is held come there. */
	for (uint32_t i = 0; !failed && !(run->plan->flags & PLAN_HELD) && i < run->plan->inherited; i++)
		run->fd[i] = FIRST_INHERITED_FD + (int)i;
	return failed;
}

/* Node ignores SIGPIPE and raises limits; a terminal's keys reach this process too, but are meant for the container. */
static void settle_signals(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
	sigset_t none;
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_DFL);
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Without a monitor the first process is the caller's child (CLONE_PARENT), and is on its own from here on. */
static int leave(struct run *run, int failed)
{
	if (run->init > 0 && failed)
		syscall(SYS_pidfd_send_signal, run->init_pidfd, SIGKILL, NULL, 0);
	else if (run->init > 0)
		tell(run, MSG_STARTED, 0, (uint64_t)run->init, start_time_of_init(run));
	return failed ? 1 : 0;
}

void stage_fresh(struct run *run)
{
	*run = (struct run){.control = CONTROL_FD, .sync = -1, .init = -1, .init_pidfd = -1, .listener = -1, .own_end = -1, .run_dir = -1,
			    .directory = -1, .next_plan = -1, .plugin_result = -1, .log = {.directory = -1, .fd = -1}, .health = {.directory = -1}};
}

/* One container after the other, as long as the caller sends plans and nothing is left of the one before. */
static int serve(struct run *run)
{
	int failed;
	do {
		run->failed = run_column(run, COLUMN_PARENT) < 0;
		failed = supervise(run) || run->failed;
	} while (!failed && run->control >= 0 && ahead_next(run));
	return failed;
}

int main(int argc, char **argv)
{
	static struct run run;
	stage_fresh(&run);
	settle_signals();
	prctl(PR_SET_NAME, "tscrun-monitor");
	int failed = read_plan(&run);
	if (failed) {
		tell(&run, MSG_FAILED, (uint32_t)-failed, 0, 0);
		return 1;
	}
	if (run.plan->flags & PLAN_HELD) {
		ahead_begin(argc > 0 ? argv[0] : NULL);
		return serve(&run);
	}
	failed = run_column(&run, COLUMN_PARENT);
	if (!(run.plan->flags & PLAN_MONITOR))
		return leave(&run, failed);
	if (failed)
		run.failed = 1;
	return supervise(&run);
}
