/* A network interface of the host becomes the container's (config-linux.md, netDevices), by rtnetlink(7). */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES 32768
#define MAX_ADDRESSES 64

struct request {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
	};
	char attributes[512];
};

static void add(struct request *request, unsigned short type, const void *data, size_t size)
{
	struct rtattr *attribute = (void *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));
	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), data, size);
	request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

/* Sends and waits for the acknowledgement: 0 or -errno. */
static int ask(int netlink, struct request *request)
{
	char buffer[4096] __attribute__((aligned(8)));
	request->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(netlink, request, request->head.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t got = recv(netlink, buffer, sizeof buffer, 0);
	if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return got < 0 ? -errno : -EPROTO;
	const struct nlmsghdr *head = (const void *)buffer;
	return head->nlmsg_type == NLMSG_ERROR ? ((const struct nlmsgerr *)NLMSG_DATA(head))->error : -EPROTO;
}

static int open_rtnetlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
}

int op_open_netlink(struct run *run, const struct arg *args)
{
	return store_fd(run, &args[0], open_rtnetlink());
}

/*
 * The number of an interface by its name, or -errno. Not by RTM_GETLINK, which waits for the lock that the taking down of
 * any network namespace holds for milliseconds.
 */
static int find_link(int netlink, const struct arg *name)
{
	struct ifreq request = {0};
	if (name->len >= IFNAMSIZ)
		return -ENAMETOOLONG;
	memcpy(request.ifr_name, name->p, name->len);
	return ioctl(netlink, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

/* A message that TypeScript has encoded; where an offset is given, the number that only now is known goes there. */
int op_netlink(struct run *run, const struct arg *args)
{
	struct request request;
	(void)run;
	if (args[1].len < sizeof request.head || args[1].len > sizeof request)
		return -EMSGSIZE;
	memcpy(&request, args[1].p, args[1].len);
	if (request.head.nlmsg_len != args[1].len)
		return -EINVAL;
	for (int i = 2; i < 6; i += 2) {
		int number = i == 2 ? args[i].fd : 0;
		if (args[i + 1].u == 0)
			continue;
		if (args[i + 1].u > args[1].len - sizeof number)
			return -EINVAL;
		if (i == 4 && (number = find_link(args[0].fd, &args[i])) < 0)
			return number;
		memcpy((char *)&request + args[i + 1].u, &number, sizeof number);
	}
	return ask(args[0].fd, &request);
}

struct address {
	struct ifaddrmsg message;
	unsigned char local[16], peer[16];
	unsigned short local_size, peer_size;
};

static void read_address(const struct nlmsghdr *head, struct address *address)
{
	const struct ifaddrmsg *message = NLMSG_DATA(head);
	int left = (int)IFA_PAYLOAD(head);
	*address = (struct address){.message = *message};
	for (struct rtattr *at = IFA_RTA(message); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		unsigned short size = (unsigned short)RTA_PAYLOAD(at);
		if (size > sizeof address->local)
			continue;
		if (at->rta_type == IFA_LOCAL) {
			memcpy(address->local, RTA_DATA(at), size);
			address->local_size = size;
		} else if (at->rta_type == IFA_ADDRESS) {
			memcpy(address->peer, RTA_DATA(at), size);
			address->peer_size = size;
		}
	}
}

/* The permanent addresses of global scope of an interface: a move takes them away. How many, or -errno. */
static int list_addresses(int netlink, int link, struct address *found)
{
	char buffer[BUFFER_BYTES] __attribute__((aligned(8)));
	int count = 0;
	struct request request = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)), .nlmsg_type = RTM_GETADDR}};
	request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (send(netlink, &request, request.head.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t got = recv(netlink, buffer, sizeof buffer, 0);
		if (got < 0)
			return -errno;
		unsigned left = (unsigned)got;
		for (struct nlmsghdr *head = (void *)buffer; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) {
			const struct ifaddrmsg *message = NLMSG_DATA(head);
			if (head->nlmsg_type == NLMSG_DONE)
				return count;
			if (head->nlmsg_type != RTM_NEWADDR)
				return -EPROTO;
			if ((int)message->ifa_index != link || message->ifa_scope != RT_SCOPE_UNIVERSE)
				continue;
			if (!(message->ifa_flags & IFA_F_PERMANENT))
				continue;
			if (count == MAX_ADDRESSES)
				return -E2BIG;
			read_address(head, &found[count++]);
		}
	}
}

static int add_address(int netlink, int link, const struct address *address)
{
	struct request request = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)), .nlmsg_type = RTM_NEWADDR}};
	request.head.nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	request.address = address->message;
	request.address.ifa_index = (unsigned)link;
	/* No time is lost with looking for a duplicate: it was in use. */
	request.address.ifa_flags = IFA_F_PERMANENT | (address->message.ifa_family == AF_INET6 ? IFA_F_NODAD : 0);
	if (address->local_size)
		add(&request, IFA_LOCAL, address->local, address->local_size);
	if (address->peer_size)
		add(&request, IFA_ADDRESS, address->peer, address->peer_size);
	return ask(netlink, &request);
}

/* A netlink socket in the child's network namespace: this process is there only for the moment of its making. */
static int netlink_of_init(struct run *run)
{
	cleanup_close own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	cleanup_close theirs = open_of_init(run, "ns/net", O_RDONLY);
	if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
		return -1;
	cleanup_close netlink = open_rtnetlink();
	int failed = errno;
	/* Without the way back everything else would happen in there. */
	if (setns(own, CLONE_NEWNET) < 0)
		return -1;
	errno = failed;
	return take_fd(&netlink);
}

static int set_up(int netlink, int link)
{
	struct request request = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK}};
	request.link = (struct ifinfomsg){.ifi_index = link, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	return ask(netlink, &request);
}

static int send_away(struct run *run, int netlink, int link, const struct arg *name)
{
	cleanup_close namespace = open_of_init(run, "ns/net", O_RDONLY);
	struct request request = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK}};
	if (namespace < 0)
		return -errno;
	request.link.ifi_index = link;
	add(&request, IFLA_NET_NS_FD, &namespace, sizeof namespace);
	add(&request, IFLA_IFNAME, name->p, name->len + 1);
	return ask(netlink, &request);
}

/* Moved under its new name, with its addresses, up. */
int op_move_link(struct run *run, const struct arg *args)
{
	struct address addresses[MAX_ADDRESSES];
	if (args[2].len >= IFNAMSIZ)
		return -ENAMETOOLONG;
	int link = find_link(args[0].fd, &args[1]);
	int count = link < 0 ? link : list_addresses(args[0].fd, link, addresses);
	if (count < 0)
		return count;
	cleanup_close netlink = netlink_of_init(run);
	if (netlink < 0)
		return -errno;
	int failed = send_away(run, args[0].fd, link, &args[2]);
	if (failed)
		return failed;
	/* It may have got another number there. */
	link = find_link(netlink, &args[2]);
	for (int i = 0; link >= 0 && !failed && i < count; i++)
		failed = add_address(netlink, link, &addresses[i]);
	return link < 0 ? link : failed ? failed : set_up(netlink, link);
}
