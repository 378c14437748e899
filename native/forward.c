/*
 * Published ports on addresses that the firewall cannot lead to the container: those of the loopback. A process of its
 * own, without rights, listens there and copies. It also keeps the ports taken for as long as the container runs.
 */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PORTS 512
#define MAX_FLOWS 512
#define BUFFER_BYTES 16384
#define NOBODY 65534

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct port {
	int fd;
	int datagrams;
	socklen_t size;
	union address target;
};

/* What goes one way: read from one end, not yet written to the other. */
struct way {
	size_t start, end;
	int ended, told;
	char bytes[BUFFER_BYTES];
};

/* A connection, or for datagrams all of one sender: `near` is the host's end (-1: the port itself), `far` the container's. */
struct flow {
	int used, near, far, connecting;
	const struct port *port;
	union address sender;
	socklen_t sender_size;
	time_t last;
	struct way out, back;
};

static struct port ports[MAX_PORTS];
static int port_count;
static pid_t forwarder;
static struct flow *flows;

static int bind_to(const struct arg *at, int datagrams)
{
	const struct sockaddr *address = (const void *)at->p;
	int yes = 1;
	int type = (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
	cleanup_close fd = socket(address->sa_family, type, 0);
	if (fd < 0)
		return -errno;
	if (address->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
	/* Else the connections of the life before keep the port. Two listeners it does not allow. */
	if (!datagrams)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(fd, address, (socklen_t)at->len) < 0 || (!datagrams && listen(fd, 128) < 0))
		return -errno;
	return take_fd(&fd);
}

/* protocol (17 is UDP), the address to listen at, where it leads: struct sockaddr_in or sockaddr_in6 each */
int op_listen_port(struct run *run, const struct arg *args)
{
	(void)run;
	if (args[1].len < sizeof(struct sockaddr_in) || args[1].len > sizeof(union address) || args[2].len > sizeof(union address))
		return -EINVAL;
	if (port_count == MAX_PORTS)
		return -E2BIG;
	struct port *port = &ports[port_count];
	*port = (struct port){.datagrams = args[0].u == IPPROTO_UDP, .size = (socklen_t)args[2].len};
	memcpy(&port->target, args[2].p, args[2].len);
	port->fd = bind_to(&args[1], port->datagrams);
	if (port->fd < 0)
		return port->fd;
	port_count++;
	return 0;
}

static void close_ports(void)
{
	while (port_count > 0)
		close(ports[--port_count].fd);
}

static struct flow *free_flow(void)
{
	struct flow *oldest = NULL;
	for (struct flow *flow = flows; flow < flows + MAX_FLOWS; flow++) {
		if (!flow->used)
			return flow;
		if (flow->near < 0 && (!oldest || flow->last < oldest->last))
			oldest = flow;
	}
	/* A sender of datagrams that comes back is a new one. */
	if (oldest)
		close(oldest->far);
	return oldest;
}

static void end_flow(struct flow *flow)
{
	if (flow->near >= 0)
		close(flow->near);
	close(flow->far);
	flow->used = 0;
}

/* A flow to the container, or NULL: then `near` has been closed. */
static struct flow *new_flow(const struct port *port, int near)
{
	int type = (port->datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
	struct flow *flow = free_flow();
	int far = flow ? socket(port->target.any.sa_family, type, 0) : -1;
	int connecting = 0;
	if (far >= 0 && connect(far, &port->target.any, port->size) < 0 && !(connecting = errno == EINPROGRESS)) {
		close(far);
		far = -1;
	}
	if (far < 0) {
		if (near >= 0)
			close(near);
		if (flow)
			flow->used = 0;
		return NULL;
	}
	flow->used = 1;
	flow->near = near;
	flow->far = far;
	flow->connecting = connecting;
	flow->port = port;
	flow->sender_size = 0;
	flow->last = time(NULL);
	flow->out = flow->back = (struct way){.start = 0};
	return flow;
}

static void from_port(const struct port *port)
{
	char datagram[65536];
	if (!port->datagrams) {
		int near = accept4(port->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (near >= 0)
			new_flow(port, near);
		return;
	}
	union address sender;
	socklen_t size = sizeof sender;
	ssize_t got = recvfrom(port->fd, datagram, sizeof datagram, 0, &sender.any, &size);
	if (got < 0)
		return;
	struct flow *flow = flows;
	while (flow < flows + MAX_FLOWS && !(flow->used && flow->port == port && flow->near < 0 && flow->sender_size == size &&
					     memcmp(&flow->sender, &sender, size) == 0))
		flow++;
	if (flow == flows + MAX_FLOWS) {
		flow = new_flow(port, -1);
		if (!flow)
			return;
		memcpy(&flow->sender, &sender, size);
		flow->sender_size = size;
	}
	flow->last = time(NULL);
	send(flow->far, datagram, (size_t)got, MSG_NOSIGNAL);
}

static void answer_datagrams(struct flow *flow)
{
	char datagram[65536];
	ssize_t got = recv(flow->far, datagram, sizeof datagram, 0);
	if (got >= 0)
		sendto(flow->port->fd, datagram, (size_t)got, MSG_NOSIGNAL, &flow->sender.any, flow->sender_size);
	flow->last = time(NULL);
}

/* Moves what can be moved; -1 when the connection is broken. */
static int move(struct way *way, int from, int to, short from_events, short to_events)
{
	if (way->start == way->end && !way->ended && from_events) {
		ssize_t got = read(from, way->bytes, sizeof way->bytes);
		if (got < 0 && errno != EAGAIN)
			return -1;
		way->start = 0;
		way->end = got > 0 ? (size_t)got : 0;
		way->ended = got == 0;
		to_events |= POLLOUT;
	}
	if (way->start < way->end && to_events) {
		ssize_t put = send(to, way->bytes + way->start, way->end - way->start, MSG_NOSIGNAL);
		if (put < 0 && errno != EAGAIN)
			return -1;
		way->start += put > 0 ? (size_t)put : 0;
	}
	if (way->ended && way->start == way->end && !way->told) {
		shutdown(to, SHUT_WR);
		way->told = 1;
	}
	return 0;
}

static void serve_flow(struct flow *flow, short near, short far)
{
	int failed = 0;
	socklen_t size = sizeof failed;
	if (flow->near < 0) {
		answer_datagrams(flow);
		return;
	}
	if (flow->connecting) {
		if (!far)
			return;
		getsockopt(flow->far, SOL_SOCKET, SO_ERROR, &failed, &size);
		flow->connecting = 0;
	}
	if (failed || move(&flow->out, flow->near, flow->far, near, far) < 0 ||
	    move(&flow->back, flow->far, flow->near, far, near) < 0 || (flow->out.told && flow->back.told))
		end_flow(flow);
}

static short wants(const struct way *in, const struct way *out)
{
	short reads = in->start == in->end && !in->ended ? POLLIN : 0;
	return (short)(reads | (out->start < out->end ? POLLOUT : 0));
}

static void serve(void)
{
	static struct pollfd polled[MAX_PORTS + 2 * MAX_FLOWS];
	static struct flow *whose[MAX_FLOWS];
	for (;;) {
		nfds_t count = 0, served = 0;
		for (int i = 0; i < port_count; i++)
			polled[count++] = (struct pollfd){.fd = ports[i].fd, .events = POLLIN};
		for (struct flow *flow = flows; flow < flows + MAX_FLOWS; flow++) {
			if (!flow->used)
				continue;
			whose[served++] = flow;
			short near = flow->near < 0 || flow->connecting ? 0 : wants(&flow->out, &flow->back);
			short far = flow->near < 0 ? POLLIN : flow->connecting ? POLLOUT : wants(&flow->back, &flow->out);
			/* One with nothing to do must not wake us with its hangup again and again. */
			polled[count++] = (struct pollfd){.fd = near ? flow->near : -1, .events = near};
			polled[count++] = (struct pollfd){.fd = far ? flow->far : -1, .events = far};
		}
		if (poll(polled, count, -1) < 0)
			continue;
		for (nfds_t i = 0; i < served; i++) {
			const struct pollfd *pair = &polled[(nfds_t)port_count + 2 * i];
			if (pair[0].revents || pair[1].revents)
				serve_flow(whose[i], pair[0].revents, pair[1].revents);
		}
		for (int i = 0; i < port_count; i++)
			if (polled[i].revents)
				from_port(&ports[i]);
	}
}

/* Of what the stage has open only the ports are kept. */
static void close_others(void)
{
	int from = 3;
	for (;;) {
		int next = -1;
		for (int i = 0; i < port_count; i++)
			if (ports[i].fd >= from && (next < 0 || ports[i].fd < next))
				next = ports[i].fd;
		if (next != from)
			syscall(SYS_close_range, from, next < 0 ? ~0u : (unsigned)next - 1, 0);
		if (next < 0)
			return;
		from = next + 1;
	}
}

/* Whoever finds a defect in it has nothing but its sockets. */
static void become_forwarder(pid_t parent)
{
	struct rlimit files;
	sigset_t all;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	prctl(PR_SET_NAME, "tscrun-forward");
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	close_others();
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	flows = mmap(NULL, sizeof *flows * MAX_FLOWS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (flows == MAP_FAILED || syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) < 0 ||
	    syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(1);
	/* Taken away by the change of ids. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	serve();
}

/* All ports that are listened at so far are served from now on. */
int op_forward(struct run *run, const struct arg *args)
{
	pid_t parent = getpid();
	(void)run;
	(void)args;
	forwarder = fork();
	if (forwarder < 0)
		return -errno;
	if (forwarder == 0)
		become_forwarder(parent);
	close_ports();
	return 0;
}

int op_forward_end(struct run *run, const struct arg *args)
{
	(void)run;
	(void)args;
	close_ports();
	if (forwarder > 0) {
		kill(forwarder, SIGKILL);
		while (waitpid(forwarder, NULL, 0) < 0 && errno == EINTR)
			;
	}
	forwarder = 0;
	return 0;
}
