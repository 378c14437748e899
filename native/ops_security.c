/* Steps that take rights away. A failure here always ends the start. */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int op_bounding(struct run *run, const struct arg *args)
{
	(void)run;
	for (unsigned long capability = 0; capability < 64; capability++) {
		if (args[0].u >> capability & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* past the last one this kernel knows */
				return 0;
			return -errno;
		}
	}
	return 0;
}

int op_capset(struct run *run, const struct arg *args)
{
	(void)run;
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	for (int word = 0; word < 2; word++) {
		data[word].effective = (uint32_t)(args[0].u >> 32 * word);
		data[word].permitted = (uint32_t)(args[1].u >> 32 * word);
		data[word].inheritable = (uint32_t)(args[2].u >> 32 * word);
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int op_ambient(struct run *run, const struct arg *args)
{
	(void)run;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	for (unsigned long capability = 0; capability < 64; capability++)
		if (args[0].u >> capability & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
			return -errno;
	return 0;
}

/* A descriptor where the flags ask for a listener; 0 or -errno. */
static int load_filter(const struct arg *flags, const struct arg *bytes)
{
	if (bytes->len % sizeof(struct sock_filter) || bytes->len / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return -EINVAL;
	struct sock_fprog program = {(unsigned short)(bytes->len / sizeof(struct sock_filter)),
				     (struct sock_filter *)(uintptr_t)bytes->p};
	int result = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, (unsigned)flags->u, &program);
	return result < 0 ? -errno : result;
}

int op_seccomp(struct run *run, const struct arg *args)
{
	(void)run;
	return load_filter(&args[0], &args[1]);
}

/* What the loader and its helper tell each other without a call that the filter might stop. */
struct handover {
	atomic_int listener; /* -1: not yet, -2: there will be none */
	atomic_int result;   /* 1: not yet, then 0 or -errno */
	int socket;
	const char *text;
	size_t size;
};

static int hand_over(void *data)
{
	struct handover *handover = data;
	struct timespec moment = {.tv_nsec = 20000};
	while (atomic_load(&handover->listener) == -1)
		nanosleep(&moment, NULL);
	int listener = atomic_load(&handover->listener);
	int result = 0;
	if (listener >= 0) {
		result = send_with_fd(handover->socket, handover->text, handover->size, listener);
		/* The container must not answer its own questions. */
		close(listener);
	}
	atomic_store(&handover->result, result);
	/* Only this task; it is a thread without a C library's knowledge of it. */
	syscall(SYS_exit, 0);
	return 0;
}

/* clone(2) as it is: from 1.2.5 on musl's clone() refuses CLONE_THREAD. A negative errno, where musl is the library. */
int __clone(int (*entry)(void *), void *stack, int flags, void *data, ...);

/*
 * From the moment the filter is loaded it may ask about any call, also sendmsg(2), and nobody answers before the listener
 * has been sent: a thread without the filter does that (seccomp_unotify(2)).
 */
int op_seccomp_notify(struct run *run, const struct arg *args)
{
	static char stack[16384] __attribute__((aligned(4096)));
	struct handover handover = {.listener = -1, .result = 1, .socket = args[2].fd};
	char *text = name_process(run, &args[3], &handover.size);
	if (!text)
		return -ENOMEM;
	handover.text = text;
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	int helper = __clone(hand_over, stack + sizeof stack, flags, &handover);
	if (helper < 0)
		return helper;
	int listener = load_filter(&args[0], &args[1]);
	atomic_store(&handover.listener, listener < 0 ? -2 : listener);
	/* No call is made here, not even to sleep: each could be one that the filter asks about. */
	while (atomic_load(&handover.result) == 1)
		;
	return listener < 0 ? listener : atomic_load(&handover.result);
}

int op_new_keyring(struct run *run, const struct arg *args)
{
	(void)run;
	(void)args;
	return syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 ? -errno : 0;
}

static int attach_program(int cgroup, int program)
{
	union bpf_attr attach = {.attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
	attach.target_fd = (uint32_t)cgroup;
	attach.attach_bpf_fd = (uint32_t)program;
	return syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) < 0 ? -errno : 0;
}

int op_device_program(struct run *run, const struct arg *args)
{
	(void)run;
	return attach_program(args[0].fd, args[1].fd);
}

int op_device_filter(struct run *run, const struct arg *args)
{
	(void)run;
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insn_cnt = (uint32_t)(args[1].len / sizeof(struct bpf_insn)),
		.insns = (uintptr_t)args[1].p,
		.license = (uintptr_t) "Apache-2.0",
	};
	/* The verifier gives up with EAGAIN when a signal is pending (bpf(2)); libbpf tries five times too. */
	int loaded = -1;
	for (int tries = 0; tries < 5 && loaded < 0 && (tries == 0 || errno == EAGAIN); tries++)
		loaded = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
	cleanup_close program = loaded;
	return program < 0 ? -errno : attach_program(args[0].fd, program);
}
