/*
 * Who finds a defect in the server finds a process that is nobody, has no capabilities, sees of the host's files those
 * that everybody may read in /etc and /run, and may make few system calls.
 */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534
#define MAX_FILES (1u << 20)
#define MAX_MEMORY (64u << 20)
/* A directory that every host has. */
#define ROOT_AT "/dev"

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#else
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

char resolv_conf[256];

static int inside(const char *path, const char *directory)
{
	size_t size = strlen(directory);
	return strncmp(path, directory, size) == 0 && (path[size] == 0 || path[size] == '/');
}

/* In mounts of our own: a clone of the directory, as the host changes it. One that is not there is none. */
static int clone_into(const char *from, const char *to, unsigned flags)
{
	struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
	if (tree < 0)
		return errno == ENOENT ? 0 : -1;
	int failed = syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | flags, &readonly, sizeof readonly) < 0 ||
		     mkdir(to, 0755) < 0 || syscall(SYS_move_mount, tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0;
	close(tree);
	return failed ? -1 : 0;
}

/* Where the host's resolv.conf really is: `/mnt/wsl` of WSL, `/var/run` that is a link itself. */
static int clone_elsewhere(void)
{
	char path[PATH_MAX], to[sizeof ROOT_AT + PATH_MAX] = ROOT_AT;
	if (!realpath(RESOLV_CONF, path))
		return errno == ENOENT ? 0 : -1;
	if (strlen(path) < sizeof resolv_conf)
		strcpy(resolv_conf, path);
	*strrchr(path, '/') = 0;
	if (!*path || inside(path, "/etc") || inside(path, "/run"))
		return 0;
	strcat(to, path);
	for (char *at = to + sizeof ROOT_AT; (at = strchr(at, '/')); at++) {
		*at = 0;
		if (mkdir(to, 0755) < 0 && errno != EEXIST)
			return -1;
		*at = '/';
	}
	return clone_into(path, to, 0);
}

/* /etc/resolv.conf may be a mount of its own, or a link into /run. */
static int leave_files(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	if (mount("tmpfs", ROOT_AT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=755") < 0)
		return -1;
	if (clone_into("/etc", ROOT_AT "/etc", AT_RECURSIVE) < 0 || clone_into("/run", ROOT_AT "/run", 0) < 0 ||
	    clone_elsewhere() < 0)
		return -1;
	if (chdir(ROOT_AT) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		return -1;
	return mount("", "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static void limit(int resource, rlim_t most)
{
	struct rlimit limits = {most, most};
	setrlimit(resource, &limits);
}

/* A container has four. */
static void raise_files(void)
{
	struct rlimit files = {MAX_FILES, MAX_FILES};
	if (setrlimit(RLIMIT_NOFILE, &files) == 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

#define ALLOW(call)                                                                                                      \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define ARGUMENT(number) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[number]))

static int few_calls(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef SYS_epoll_wait
		ALLOW(epoll_wait),
#endif
#ifdef SYS_open
		ALLOW(open), ALLOW(stat),
#endif
		ALLOW(epoll_pwait), ALLOW(epoll_ctl), ALLOW(accept4), ALLOW(recvmsg), ALLOW(recvfrom), ALLOW(sendmsg),
		ALLOW(sendto), ALLOW(read), ALLOW(pread64), ALLOW(close), ALLOW(connect), ALLOW(getsockopt), ALLOW(fstat),
		ALLOW(newfstatat), ALLOW(openat), ALLOW(getrandom), ALLOW(clock_gettime), ALLOW(fcntl), ALLOW(brk),
		ALLOW(munmap), ALLOW(madvise), ALLOW(exit_group), ALLOW(rt_sigreturn), ALLOW(restart_syscall),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 4),
		ARGUMENT(0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 5),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		ARGUMENT(2),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 4 /* PROT_EXEC */, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int confine(void)
{
	if (leave_files() < 0)
		return -1;
	raise_files();
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_DATA, MAX_MEMORY);
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) < 0 ||
	    syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) < 0)
		return -1;
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return few_calls();
}
