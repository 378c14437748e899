/*
 * One health check: an exec plan, done by a fork of the monitor, which dies with the monitor and has nothing of it open
 * but what it needs. Its output is kept up to a limit, its exit code is written down, and the monitor is told the verdict.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "health.h"
#include "monitor.h"
#include "oom.h"

#define SAID_BYTES 4096
/* The plan's inherited slots: the container's first process, standard input, output and error. */
#define GIVEN 4

static int slots[MAX_SLOTS];
static char said[SAID_BYTES];

/* Closes what lies between the descriptors that are kept, and behind them. */
static void close_all_but(const int *kept, int count)
{
	for (int from = 3;;) {
		int next = -1;
		for (int i = 0; i < count; i++)
			if (kept[i] >= from && (next < 0 || kept[i] < next))
				next = kept[i];
		if (next != from)
			syscall(SYS_close_range, (unsigned)from, next < 0 ? ~0u : (unsigned)next - 1, 0);
		if (next < 0)
			return;
		from = next + 1;
	}
}

/* Takes what is there; answers whether more may come. What is too much is read all the same, so that nobody waits. */
static int take_output(int from, struct check *check)
{
	char more[SAID_BYTES];
	ssize_t got = read(from, more, sizeof more);
	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR) ? -1 : 0;
	size_t room = SAID_BYTES - check->said, size = (size_t)got < room ? (size_t)got : room;
	for (size_t i = 0; i < size; i++)
		said[check->said + i] = more[i];
	check->said += size;
	check->said_more |= size < (size_t)got;
	return 1;
}

/* Until the command has ended or its time is over. */
static int wait_for_command(const struct run *exec, int output, uint64_t until_ns, struct check *check)
{
	for (;;) {
		uint64_t now = now_ns();
		struct pollfd watched[] = {{.fd = exec->init_pidfd, .events = POLLIN}, {.fd = output, .events = POLLIN}};
		if (now >= until_ns)
			return 0;
		int left = until_ns - now > 1000000000u ? 1000 : (int)((until_ns - now) / 1000000 + 1);
		if (poll(watched, 2, left) <= 0)
			continue;
		if (watched[0].revents)
			return 1;
		if (watched[1].revents && take_output(output, check) == 0)
			output = -1; /* it has closed its output, and goes on */
	}
}

static uint32_t op_at(const struct run *exec, uint32_t column, uint32_t index)
{
	const uint8_t *at = column < COLUMNS ? exec->column[column] : exec->end;
	for (uint32_t i = 0; column < COLUMNS && i < exec->plan->steps[column]; i++) {
		const struct plan_step *step = (const void *)at;
		if (i == index)
			return step->op;
		at += sizeof *step + step->size;
	}
	return 0;
}

/* The first failure counts: the other side then only reports that its partner has gone. */
static void take_failure(const struct run *exec, int told, struct check *check)
{
	struct message message;
	while (recv(told, &message, sizeof message, MSG_DONTWAIT) >= (ssize_t)sizeof message) {
		if (message.type != MSG_FAILED || check->error)
			continue;
		check->error = message.error;
		check->op = op_at(exec, message.column, message.step);
	}
}

static void make_check(const struct run *run, int target, struct check *check)
{
	static struct run exec = {.sync = -1, .init = -1, .init_pidfd = -1, .listener = -1, .own_end = -1, .run_dir = -1,
				  .directory = -1, .next_plan = -1, .plugin_result = -1, .log = {.directory = -1, .fd = -1}, .health = {.directory = -1}};
	int output[2], told[2], status = 0;
	uint64_t until = now_ns() + run->health.timeout_ms * 1000000;
	if (pipe2(output, O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, told) < 0) {
		check->error = (uint32_t)errno;
		return;
	}
	const int given[GIVEN] = {target, open("/dev/null", O_RDONLY | O_CLOEXEC), fcntl(output[1], F_DUPFD_CLOEXEC, 0), output[1]};
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	exec.control = told[0];
	int failed = load_plan(&exec, run->health.plan, run->health.plan_size, slots, given);
	if (!failed && exec.plan->inherited != GIVEN)
		failed = -EBADMSG;
	if (failed) {
		check->error = (uint32_t)-failed;
		return;
	}
	failed = run_column(&exec, COLUMN_PARENT);
	check->timed_out = !failed && !wait_for_command(&exec, output[0], until, check);
	if (exec.init > 0) {
		if (failed || check->timed_out)
			signal_init(&exec, SIGKILL);
		while (waitpid(exec.init, &status, __WALL) < 0 && errno == EINTR)
			;
	}
	while (take_output(output[0], check) > 0)
		;
	take_failure(&exec, told[1], check);
	if (!check->error && !check->timed_out)
		check->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int health_fork(struct run *run, int in_start_period, int *verdict)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	pid_t monitor = getpid(), pid = fork();
	if (pid != 0) {
		close(pair[1]);
		if (pid < 0)
			close(pair[0]);
		*verdict = pid < 0 ? -1 : pair[0];
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != monitor)
		_exit(1);
	prctl(PR_SET_NAME, "tscrun-health");
	uint32_t slot = run->plan->cgroup_slot;
	close_all_but((const int[]){pair[1], run->init_pidfd, run->health.directory, slot < run->plan->slots ? run->fd[slot] : -1}, 4);
	oom_as_before();
	struct check check = {.started_ms = wall_clock_ms(), .exit_code = -1};
	make_check(run, run->init_pidfd, &check);
	check.ended_ms = wall_clock_ms();
	struct verdict answer = {.counts = check.exit_code == 0 || !is_frozen(run), .passed = check.exit_code == 0};
	if (answer.counts) {
		health_judge(&run->health, answer.passed, in_start_period);
		health_write(&run->health, &check, said);
	}
	answer.status = run->health.status;
	answer.streak = run->health.streak;
	_exit(send(pair[1], &answer, sizeof answer, MSG_NOSIGNAL) == sizeof answer ? 0 : 1);
}
