/* Steps on mounts: the new mount calls throughout, so that a mount is a descriptor before it has a place. */
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* musl has <sys/mount.h>, whose names clash with the kernel's header. */
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#define DETACH 2 /* MNT_DETACH */
#ifndef MS_MOVE
#define MS_MOVE 0x2000
#endif

int op_mount(struct run *run, const struct arg *args)
{
	(void)run;
	const char *data = args[4].len ? args[4].p : NULL;
	return mount(args[0].p, args[1].p, args[2].p, args[3].u, data) < 0 ? -errno : 0;
}

static int open_tree(int dir, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC);
}

static int move_mount(int from, int to, const char *path)
{
	unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (*path ? 0 : MOVE_MOUNT_T_EMPTY_PATH);
	return syscall(SYS_move_mount, from, "", to, path, flags) < 0 ? -errno : 0;
}

int op_open_tree(struct run *run, const struct arg *args)
{
	return store_fd(run, &args[0], open_tree(args[1].fd, args[2].p, (unsigned)args[3].u));
}

int op_mount_setattr(struct run *run, const struct arg *args)
{
	(void)run;
	struct mount_attr attr = {
		.attr_set = args[2].u,
		.attr_clr = args[3].u,
		.propagation = args[4].u,
		.userns_fd = args[5].fd >= 0 ? (uint64_t)args[5].fd : 0,
	};
	unsigned flags = (unsigned)args[1].u | AT_EMPTY_PATH;
	return syscall(SYS_mount_setattr, args[0].fd, "", flags, &attr, sizeof attr) < 0 ? -errno : 0;
}

int op_move_mount(struct run *run, const struct arg *args)
{
	(void)run;
	return move_mount(args[0].fd, args[1].fd, args[2].p);
}

int op_fsopen(struct run *run, const struct arg *args)
{
	return store_fd(run, &args[0], (int)syscall(SYS_fsopen, args[1].p, FSOPEN_CLOEXEC));
}

struct opening {
	const char *type;
	int result;
};

static int open_and_end(void *data)
{
	struct opening *opening = data;
	int fd = (int)syscall(SYS_fsopen, opening->type, FSOPEN_CLOEXEC);
	opening->result = fd < 0 ? -errno : fd;
	return 0;
}

/*
 * A procfs shows the pid namespace of who opens it, and setns(2) changes only that of later children: one of them opens
 * it into the table of descriptors that it shares with us. (procfs takes pidns= too, since Linux 6.18.)
 */
int op_fsopen_pid(struct run *run, const struct arg *args)
{
	static char stack[16384] __attribute__((aligned(4096)));
	struct opening opening = {.type = args[1].p, .result = -ECHILD};
	int child = clone(open_and_end, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES, &opening);
	if (child < 0 || waitpid(child, NULL, __WALL) < 0)
		return -errno;
	if (opening.result < 0)
		return opening.result;
	return store_fd(run, &args[0], opening.result);
}

int op_fsconfig(struct run *run, const struct arg *args)
{
	(void)run;
	const char *key = args[2].len ? args[2].p : NULL, *value = args[3].len ? args[3].p : NULL;
	return syscall(SYS_fsconfig, args[0].fd, (unsigned)args[1].u, key, value, 0) < 0 ? -errno : 0;
}

int op_fsconfig_fd(struct run *run, const struct arg *args)
{
	(void)run;
	return syscall(SYS_fsconfig, args[0].fd, FSCONFIG_SET_FD, args[1].p, NULL, args[2].fd) < 0 ? -errno : 0;
}

int op_fsmount(struct run *run, const struct arg *args)
{
	return store_fd(run, &args[0], (int)syscall(SYS_fsmount, args[1].fd, FSMOUNT_CLOEXEC, (unsigned)args[2].u));
}

/* pivot_root(2), "pivot_root(".", ".")": without a place of its own the old root ends up on the new one, and is taken off. */
int op_pivot_root(struct run *run, const struct arg *args)
{
	(void)run;
	const char *put = args[1].p;
	if (fchdir(args[0].fd) < 0 || syscall(SYS_pivot_root, ".", *put ? put : ".") < 0)
		return -errno;
	return (*put == 0 && umount2(".", DETACH) < 0) || chdir("/") < 0 ? -errno : 0;
}

/*
 * Where / cannot be put aside (an initramfs), the new root is put over it: who leaves the chroot finds the same tree. What
 * the host has mounted stays below.
 */
int op_move_root(struct run *run, const struct arg *args)
{
	(void)run;
	if (fchdir(args[0].fd) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int op_chroot(struct run *run, const struct arg *args)
{
	(void)run;
	return fchdir(args[0].fd) < 0 || chroot(".") < 0 || chdir("/") < 0 ? -errno : 0;
}

/* By its descriptor, while /proc still is the host's: the path of its place could lead elsewhere. */
int op_detach_mount(struct run *run, const struct arg *args)
{
	char path[sizeof "/proc/self/fd/" + 20] = "/proc/self/fd/";
	(void)run;
	path[14 + decimal(path + 14, (uint64_t)args[0].fd)] = 0;
	return umount2(path, DETACH) < 0 ? -errno : 0;
}

int op_umount(struct run *run, const struct arg *args)
{
	(void)run;
	return umount2(args[0].p, DETACH) < 0 ? -errno : 0;
}

static int sleep_until_killed(void *data)
{
	(void)data;
	pause();
	return 0;
}

static int write_map(pid_t pid, const char *file, const struct arg *lines)
{
	struct run other = {.init = pid};
	cleanup_close fd = open_of_init(&other, file, O_WRONLY);
	return fd < 0 || write(fd, lines->p, lines->len) != (ssize_t)lines->len ? -errno : 0;
}

/* A mount is id-mapped by a user namespace, which only a process in it can bring to life: a short one. */
int op_id_view(struct run *run, const struct arg *args)
{
	static char stack[16384] __attribute__((aligned(4096)));
	int child = clone(sleep_until_killed, stack + sizeof stack, CLONE_NEWUSER | SIGCHLD, NULL);
	if (child < 0)
		return -errno;
	struct run other = {.init = child};
	int failed = write_map(child, "uid_map", &args[1]);
	if (!failed)
		failed = write_map(child, "gid_map", &args[2]);
	int view = failed ? -1 : open_of_init(&other, "ns/user", O_RDONLY);
	if (!failed && view < 0)
		failed = -errno;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return failed ? failed : store_fd(run, &args[0], view);
}

static int open_in_root(int root, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* Covers a file with the null device or a directory with an empty one: which it is, only the run can know. */
int op_mask_path(struct run *run, const struct arg *args)
{
	(void)run;
	struct stat info;
	cleanup_close target = open_in_root(args[0].fd, args[1].p);
	if (target < 0 || fstat(target, &info) < 0)
		return -errno;
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	int cover = S_ISDIR(info.st_mode) ? args[3].fd : args[2].fd;
	cleanup_close tree = open_tree(cover, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
	if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
		return -errno;
	return move_mount(tree, target, "");
}

/* Binds a path onto itself, read-only; recursive, since a mount below may be locked to its parent (user namespaces). */
int op_readonly_path(struct run *run, const struct arg *args)
{
	(void)run;
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	cleanup_close target = open_in_root(args[0].fd, args[1].p);
	if (target < 0)
		return -errno;
	cleanup_close tree = open_tree(target, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE);
	if (tree < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0)
		return -errno;
	return move_mount(tree, target, "");
}

/* A pair of a devpts instance; the slave comes from the master, never by a path (CVE-2025-52565). */
int op_open_pty(struct run *run, const struct arg *args)
{
	int unlocked = 0;
	struct stat info;
	cleanup_close master = openat(args[2].fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || fstat(master, &info) < 0)
		return -errno;
	/* Where the container can put another file in its place, that one's driver would answer the next two calls. */
	if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(5, 2))
		return -ENOTTY;
	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return -errno;
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	int failed = store_fd(run, &args[1], slave);
	return failed ? failed : store_fd(run, &args[0], take_fd(&master));
}
