/*
 * `tscrun run` as it was done before: looks up what was prepared for these very arguments, makes sure that everything it
 * was made from is still the same, and starts the container with an identity of its own. Whatever is not as expected is
 * Node's to do, which begins from the start. Only once the command has run there is no way back.
 */
#define _GNU_SOURCE
#include "replay.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../remove.h"
#include "claim.h"
#include "follow.h"
#include "prepared.h"

#define DEFAULT_STORE "/var/lib/tscrun"

extern char **environ;

/* What would make Node itself say or keep something. */
static const char *const OF_NODE[] = {"NODE_DEBUG", "NODE_DEBUG_NATIVE", "NODE_V8_COVERAGE"};

/* NOT_KEYS of src/engine/config/file.ts, and a setting that is a witness; nothing was prepared with any other TSCRUN_*. */
static const char *const NO_SETTINGS[] = {"NODE=", "FACE=", "CONFIG=", "PREPARED=", "NOFILE=", "NODE_OPTIONS=",
					  "NODE_EXTRA_CA_CERTS=", "NETWORK=", "TEST_"};

static int is_setting(const char *entry)
{
	if (strncmp(entry, "TSCRUN_", 7) != 0)
		return 0;
	for (size_t i = 0; i < sizeof NO_SETTINGS / sizeof *NO_SETTINGS; i++)
		if (strncmp(entry + 7, NO_SETTINGS[i], strlen(NO_SETTINGS[i])) == 0)
			return 0;
	return 1;
}

static int may_replay(int argc, char **argv)
{
	uid_t real, effective, saved;
	const char *choice = getenv("TSCRUN_PREPARED");
	int run = 0;
	for (int i = 1; i < argc && !run; i++)
		run = strcmp(argv[i], "run") == 0;
	if (!run || (choice && strcmp(choice, "0") == 0) || getauxval(AT_SECURE))
		return 0;
	for (size_t i = 0; i < sizeof OF_NODE / sizeof *OF_NODE; i++)
		if (getenv(OF_NODE[i]))
			return 0;
	for (char **entry = environ; *entry; entry++)
		if (is_setting(*entry))
			return 0;
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return 0;
	return getresuid(&real, &effective, &saved) == 0 && real == 0 && effective == 0 && saved == 0;
}

/* Where to look; what lies there tells itself which arguments it is for. storeOfWords in src/engine/prepared/file.ts does the same. */
static const char *store_of(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--root") == 0 && i + 1 < argc)
			return argv[i + 1];
		if (strncmp(argv[i], "--root=", 7) == 0)
			return argv[i] + 7;
	}
	return DEFAULT_STORE;
}

/* As decodeExit of src/runtime/launch.ts. */
static int code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Says what Node would say, and answers the exit code. */
static int say(const struct prepared *prepared, uint32_t what)
{
	const uint8_t *at = section_of(prepared, SECTION_SAYINGS), *end = at + size_of(prepared, SECTION_SAYINGS);
	struct saying saying;
	while ((size_t)(end - at) >= sizeof saying) {
		memcpy(&saying, at, sizeof saying);
		at += sizeof saying;
		uint64_t padded = ((uint64_t)saying.size + 7) & ~7ull;
		if (padded > (size_t)(end - at))
			break;
		if (saying.what == what) {
			(void)!write(2, at, saying.size);
			return (int)saying.code;
		}
		at += padded;
	}
	return 125;
}

/* A monitor that was killed has left its cgroup. Where somebody in it does not end, the run directory stays: by that the
 * next command finds it. */
static int is_down(const struct prepared *prepared, const struct follow *follow, const struct claim *claim)
{
	const char *cgroups = prepared->place[PLACE_CGROUPS];
	if (follow->exited && !follow->killed)
		return 1;
	int parent = cgroups[0] ? open(cgroups, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	int failed = parent < 0 ? 0 : cgroup_end(parent, claim->identity.id);
	if (parent >= 0)
		close(parent);
	return !failed;
}

/* The container has run, or nobody can tell any more. */
static _Noreturn void finish(const struct prepared *prepared, const struct follow *follow, struct claim *claim)
{
	uint32_t stream = follow->refused_error ? SAYING_ERROR_STREAM : 0;
	if (is_down(prepared, follow, claim))
		take_back(claim);
	if (!follow->exited)
		_exit(say(prepared, SAYING_DIED));
	if (follow->refused)
		_exit(say(prepared, (uint32_t)follow->refused | stream));
	_exit(code_of(follow->status));
}

/* Node raises its soft limit on open files, and so its monitor has that one. */
static void raise_limit(struct rlimit *before)
{
	if (getrlimit(RLIMIT_NOFILE, before) == 0)
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){before->rlim_max, before->rlim_max});
}

/* Nobody has seen a signal yet that asks for an end: it takes its course when the signals are let through. */
static int is_asked_to_end(void)
{
	sigset_t pending;
	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) || sigismember(&pending, SIGHUP));
}

static void start(const struct prepared *prepared, const char *package, struct claim *claim)
{
	struct follow follow;
	struct rlimit limit;
	sigset_t before;
	uint8_t *plan = fill_in(prepared, SECTION_PLAN, &claim->identity);
	uint8_t *record = fill_in(prepared, SECTION_RECORD, &claim->identity);
	if (!plan || !record || load_stage(&follow, package, plan, size_of(prepared, SECTION_PLAN)) < 0)
		return;
	if (hold_signals(&follow, &before) == 0) {
		raise_limit(&limit);
		if (prepared->number[NUMBER_TERMINAL])
			keep_terminal(&follow);
		if (!is_asked_to_end() && start_stage(&follow, claim->identity.name, claim->lock) == 0) {
			/* Beside the start, not before it (docs/decisions/0014). */
			write_run_file(claim, "container.json", record, size_of(prepared, SECTION_RECORD));
			release_image(claim);
			follow_stage(&follow, claim);
			if (!follow.failed || follow.started)
				finish(prepared, &follow, claim);
			/* The first process can have told of the monitor's end as of a failure. */
			if (!is_down(prepared, &follow, claim))
				_exit(say(prepared, SAYING_DIED));
		}
		setrlimit(RLIMIT_NOFILE, &limit);
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	close_follow(&follow);
}

void replay(int argc, char **argv, const char *package)
{
	struct prepared prepared;
	struct claim claim;
	if (!may_replay(argc, argv) || find_prepared(&prepared, package, store_of(argc, argv), argc, argv) < 0)
		return;
	/* What is looked at is looked at while the image is held, as Node does it. */
	if (open_places(&claim, &prepared) == 0 && is_current(&prepared) && is_swept(&claim)) {
		if (claim_container(&claim, &prepared) == 0)
			start(&prepared, package, &claim);
		take_back(&claim);
	}
	close_places(&claim);
}
