/*
 * A container's place in the name service: its sockets are made in its namespace and handed to the one process that
 * serves all (names/names.h), which is started where none is there. The connection is the place; where the process is
 * killed, whoever holds one starts it again.
 */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "membership.h"
#include "names/names.h"
#include "text.h"

#define LOCK "names.lock"
#define TRIES 8
/* Between two starts of one that ends again and again. */
#define PAUSE_NS 1000000000u

enum { DATAGRAMS, CALLS, RAW, SOCKETS };

static struct {
	int connection; /* -1: none */
	int file;	/* what is told of the container; -1: nothing is */
	int sockets[SOCKETS];
	int link; /* holds the program that leads port 53 to them */
	int directory, program, cgroup;
	int own[2]; /* of these, what is nobody else's */
	uint64_t tried_ns, due_ns;
} names = {.connection = -1, .file = -1, .sockets = {-1, -1, -1}, .link = -1, .own = {-1, -1}};

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

#define INSN(op, to, from, distance, value) {.code = (op), .dst_reg = (to), .src_reg = (from), .off = (distance), .imm = (value)}

/*
 * Whoever in the container asks port 53 of the address is led to our sockets, which listen at another one: so a name
 * server in the container can have port 53 of all addresses. linux/bpf.h, struct bpf_sk_lookup.
 */
static int load_program(int map)
{
	struct bpf_insn program[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(struct bpf_sk_lookup, local_port), 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 16, 53),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(struct bpf_sk_lookup, local_ip4), 0),
		INSN(BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, 14, (int)htonl(NAMES_ADDRESS)),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 6, offsetof(struct bpf_sk_lookup, protocol), 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, DATAGRAMS),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 2, IPPROTO_UDP),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, CALLS),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 9, IPPROTO_TCP),
		INSN(BPF_STX | BPF_MEM | BPF_W, 10, 3, -4, 0),
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 7, 0, 0, 0),
		INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, SK_PASS),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 7, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sk_assign),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 7, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sk_release),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, SK_PASS),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SK_LOOKUP,
			       .expected_attach_type = BPF_SK_LOOKUP,
			       .insns = (uintptr_t)program,
			       .insn_cnt = sizeof program / sizeof *program,
			       .license = (uintptr_t) "Apache-2.0"};
	return bpf(BPF_PROG_LOAD, &attr);
}

/* The link, or -1 where the kernel has no such programs for us. */
static int lead_here(int network, const int *sockets)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 8, .max_entries = 2};
	cleanup_close map = bpf(BPF_MAP_CREATE, &attr);
	for (uint32_t i = DATAGRAMS; map >= 0 && i <= CALLS; i++) {
		uint64_t value = (uint64_t)sockets[i];
		attr = (union bpf_attr){.map_fd = (uint32_t)map};
		attr.key = (uintptr_t)&i;
		attr.value = (uintptr_t)&value;
		if (bpf(BPF_MAP_UPDATE_ELEM, &attr) < 0)
			return -1;
	}
	cleanup_close program = map < 0 ? -1 : load_program(map);
	if (program < 0)
		return -1;
	attr = (union bpf_attr){.link_create = {.prog_fd = (uint32_t)program, .attach_type = BPF_SK_LOOKUP}};
	attr.link_create.target_fd = (uint32_t)network;
	return bpf(BPF_LINK_CREATE, &attr);
}

static int bound(int type, int protocol, int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(NAMES_ADDRESS)};
	int yes = 1;
	cleanup_close fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	/* lo may not be up yet. */
	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &yes, sizeof yes) < 0 ||
	    bind(fd, (const void *)&address, sizeof address) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0))
		return -1;
	return take_fd(&fd);
}

/* It only sends: what comes in is dropped. */
static int raw_socket(void)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = {1, &nothing};
	cleanup_close fd = bound(SOCK_RAW, IPPROTO_UDP, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0)
		return -1;
	return take_fd(&fd);
}

static void close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		close_fd(&fds[i]);
		fds[i] = -1;
	}
}

/* In the container's network namespace: this process is there only for the moment of their making. */
static int make_sockets(struct run *run)
{
	int *sockets = names.sockets;
	cleanup_close own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	cleanup_close theirs = open_of_init(run, "ns/net", O_RDONLY);
	if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
		return -errno;
	sockets[DATAGRAMS] = bound(SOCK_DGRAM, 0, NAMES_PORT);
	sockets[CALLS] = bound(SOCK_STREAM, 0, NAMES_PORT);
	sockets[RAW] = raw_socket();
	int made = sockets[DATAGRAMS] >= 0 && sockets[CALLS] >= 0 && sockets[RAW] >= 0;
	names.link = made ? lead_here(theirs, sockets) : -1;
	if (names.link < 0) {
		close_all(sockets, SOCKETS);
		sockets[DATAGRAMS] = bound(SOCK_DGRAM, 0, 53);
		sockets[CALLS] = bound(SOCK_STREAM, 0, 53);
	}
	int failed = sockets[DATAGRAMS] < 0 || sockets[CALLS] < 0 ? -errno : 0;
	/* Without the way back everything else would happen in there. */
	if (setns(own, CLONE_NEWNET) < 0)
		return -errno;
	return failed;
}

/* A path below an open directory: sun_path takes no more than 107 bytes. */
static void socket_address(struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	put(put_number(put(address->sun_path, "/proc/self/fd/"), (uint64_t)names.directory), "/" NAMES_SOCKET);
}

static int try_connect(void)
{
	struct sockaddr_un address;
	socket_address(&address);
	cleanup_close fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const void *)&address, sizeof address) < 0)
		return -errno;
	return take_fd(&fd);
}

/* What the service is: a session and a cgroup of its own, nothing open but its listener. */
__attribute__((noreturn)) static void become_service(int listener)
{
	char *const arguments[] = {(char *)(uintptr_t) "tscrun-names", NULL}, *const environment[] = {NULL};
	cleanup_close procs = names.cgroup < 0 ? -1 : openat(names.cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (procs >= 0)
		(void)!write(procs, "0", 1);
	setsid();
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_DFL);
	int program = fcntl(names.program, F_DUPFD_CLOEXEC, NAMES_LISTENER + 1);
	if (program < 0 || dup2(listener, NAMES_LISTENER) < 0 || fcntl(NAMES_LISTENER, F_SETFD, 0) < 0)
		_exit(1);
	syscall(SYS_close_range, NAMES_LISTENER + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	(void)!chdir("/");
	syscall(SYS_execveat, program, "", arguments, environment, AT_EMPTY_PATH);
	_exit(1);
}

/* Nobody's child: whoever happens to start it has no end to wait for. */
static int start_service(void)
{
	struct sockaddr_un address;
	int status = 0;
	socket_address(&address);
	cleanup_close listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0 || (unlinkat(names.directory, NAMES_SOCKET, 0) < 0 && errno != ENOENT) ||
	    bind(listener, (const void *)&address, sizeof address) < 0 || listen(listener, SOMAXCONN) < 0)
		return -errno;
	pid_t child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		pid_t service = fork();
		if (service == 0)
			become_service(listener);
		_exit(service < 0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status ? -EAGAIN : 0;
}

/* One at a time looks whether there is one and starts it; who waits finds it then. */
static int connect_or_start(void)
{
	int connection = try_connect();
	if (connection != -ENOENT && connection != -ECONNREFUSED)
		return connection;
	cleanup_close lock = openat(names.directory, LOCK, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return -errno;
	connection = try_connect();
	if (connection != -ENOENT && connection != -ECONNREFUSED)
		return connection;
	int failed = start_service();
	return failed ? failed : try_connect();
}

/* With its sockets, or only what has changed. */
static int send_membership(int connection, int with_sockets)
{
	uint32_t magic = NAMES_MAGIC;
	int count = !with_sockets ? 1 : names.link < 0 ? 3 : 4;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(NAMES_MAX_FDS * sizeof(int))];
	} control = {0};
	struct iovec part = {&magic, sizeof magic};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
	control.header = (struct cmsghdr){
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN((size_t)count * sizeof(int))};
	memcpy(CMSG_DATA(&control.header), &names.file, sizeof(int));
	memcpy(CMSG_DATA(&control.header) + sizeof(int), names.sockets, (size_t)(count - 1) * sizeof(int));
	return sendmsg(connection, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One that is about to end may take the connection and not serve it: then there is another one to be started. */
static int join_service(void)
{
	int failed = 0;
	names.tried_ns = now_ns();
	names.due_ns = 0;
	for (int i = 0; i < TRIES; i++) {
		cleanup_close connection = connect_or_start();
		if (connection < 0)
			return connection;
		failed = send_membership(connection, 1);
		if (!failed) {
			names.connection = take_fd(&connection);
			return 0;
		}
		if (failed != -EPIPE && failed != -ECONNRESET)
			return failed;
	}
	return failed;
}

static void leave_service(void)
{
	close_all(&names.connection, 1);
	close_all(&names.file, 1);
	close_all(names.sockets, SOCKETS);
	close_all(&names.link, 1);
	close_all(names.own, 2);
	names.due_ns = 0;
}

int op_names(struct run *run, const struct arg *args)
{
	leave_service();
	names.directory = args[0].fd;
	names.program = args[1].fd;
	names.cgroup = args[2].fd;
	if (args[3].len > NAMES_MAX_BYTES)
		return -E2BIG;
	names.file = memfd_create("tscrun-names", MFD_CLOEXEC);
	if (names.file < 0 || write(names.file, args[3].p, args[3].len) != (ssize_t)args[3].len)
		return -errno;
	int failed = make_sockets(run);
	return failed ? failed : join_service();
}

int op_names_end(struct run *run, const struct arg *args)
{
	(void)run;
	(void)args;
	leave_service();
	return 0;
}

int names_watch(void)
{
	return names.connection;
}

void names_lost(void)
{
	close_all(&names.connection, 1);
	names.due_ns = now_ns();
	if (names.due_ns - names.tried_ns < PAUSE_NS)
		names.due_ns = names.tried_ns + PAUSE_NS;
}

uint64_t names_due(void)
{
	return names.due_ns;
}

void names_run_due(void)
{
	if (names.due_ns && now_ns() >= names.due_ns && names.file >= 0 && join_service() < 0)
		names.due_ns = now_ns() + PAUSE_NS;
}

/* It was started without a place. The service goes to our own cgroup then, which is that of monitors. */
static int take_place(struct run *run, int *fds)
{
	leave_service();
	names.file = take_fd(&fds[0]);
	names.directory = names.own[0] = take_fd(&fds[1]);
	names.program = names.own[1] = take_fd(&fds[2]);
	names.cgroup = -1;
	int failed = make_sockets(run);
	failed = failed ? failed : join_service();
	if (failed)
		leave_service();
	return -failed;
}

int names_change(struct run *run, int *fds, unsigned count)
{
	if (count < 1)
		return EINVAL;
	if (names.file < 0)
		return count < 3 ? 0 : take_place(run, fds);
	close_fd(&names.file);
	names.file = take_fd(&fds[0]);
	/* Without a connection it is told with the next one. */
	if (names.connection >= 0 && send_membership(names.connection, 0) < 0)
		names_lost();
	return 0;
}
