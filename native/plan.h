/*
 * The contract between TypeScript, which computes what the kernel is asked for, and this program, which asks it.
 * src/model/step.ts holds the same table; test/unit/plan-contract.test.ts reads both.
 *
 * A plan is a header, then three columns of steps: parent (run by the stage or the monitor), child (run by the
 * container's first process up to its exec), teardown (run by the monitor after the end), then pumps (bytes the
 * monitor copies). Everything is little endian and padded to 8 bytes.
 *
 * A signature has one letter for each argument:
 *   u  an unsigned 64-bit number
 *   f  a slot that is read: it holds a file descriptor (or NONE, CWD)
 *   o  a slot that is written
 *   s  a text: length without its NUL, the bytes, NUL
 *   b  bytes: length, the bytes
 *   v  a list of texts: length, a count, then the texts, each ended by NUL
 */
#ifndef TSCRUN_PLAN_H
#define TSCRUN_PLAN_H

#include <stdint.h>

#define PLAN_MAGIC 0x31525354u /* "TSR1" */
#define PLAN_MAX_BYTES (16u << 20)
#define MAX_ARGS 8
#define MAX_SLOTS 2048
#define RANGE_SIZE 65536 /* ids of a container; src/model/ids.ts */
#define SLOT_NONE 0xffffffffu
#define SLOT_CWD 0xfffffffeu

/* clang-format off */
#define TSCRUN_OPS(X)                                                                        \
	/* files: directory slot, path, ... */                                               \
	X(1, open, "ofsuuu")        /* flags (x86-64's), mode, resolve: openat2(2) */       \
	X(2, mkdir, "fsu")          /* mode */                                               \
	X(3, mknod, "fsuu")         /* mode, device */                                       \
	X(4, symlink, "sfs")        /* target, directory, path */                            \
	X(5, chown, "fsuu")         /* uid, gid; an empty path is the slot itself */         \
	X(7, write_file, "fsb")     /* open for writing, one write, close */                 \
	X(8, close, "f")                                                                     \
	X(9, fchdir, "f")                                                                    \
	X(10, target, "ofsuuf")     /* a mount point below a root: kind, mode, like what */  \
	X(11, pipe, "oo")           /* reading end, writing end */                           \
	X(12, rmdir, "fs")                                                                   \
	X(14, write_file_or, "fsbsb") /* as write_file; the second where the first is missing */ \
	X(13, create_file, "fsub")  /* mode, content; an existing file is replaced */        \
	X(6, write_fd, "fb")        /* one write to what is open */                          \
	X(15, device, "fsuuuu")     /* mode, device, uid, gid; the same one may be there */  \
	X(16, copy_up, "fsf")       /* root, path of a directory in it, where its content goes */ \
	X(17, copy_mode, "fsf")     /* root, path of a directory in it, which gets its mode */ \
	X(18, write_pid, "fs")      /* as write_file: the child's pid */                     \
	/* mounts */                                                                         \
	X(20, mount, "sssus")       /* source, target, type, flags, data: mount(2) */        \
	X(22, open_tree, "ofsu")    /* flags */                                              \
	X(23, mount_setattr, "fuuuuf") /* at_flags, set, clear, propagation, userns */       \
	X(24, move_mount, "ffs")    /* mount, directory, path (empty: the slot itself) */    \
	X(25, fsopen, "os")                                                                  \
	X(26, fsconfig, "fuss")     /* command, key, value */                                \
	X(27, fsmount, "ofu")       /* attributes */                                         \
	X(28, pivot_root, "fs")     /* where the old one goes, below the new; empty: it is taken off */ \
	X(29, mask_path, "fsff")    /* root, path, null device, empty directory */           \
	X(30, readonly_path, "fs")                                                           \
	X(31, open_pty, "oof")      /* master, slave, devpts */                              \
	X(33, fsconfig_fd, "fsf")   /* key, a descriptor as its value */                     \
	X(34, fsopen_pid, "os")     /* as fsopen, by a child born in the pid namespace that was entered */ \
	X(78, detach_mount, "f")    /* what is mounted as this, from its place */            \
	X(21, umount, "s")          /* detached */                                           \
	X(32, move_root, "f")       /* the mount onto /, then chroot(2) */                   \
	X(69, chroot, "f")          /* in mounts that are not the container's own */         \
	X(35, id_view, "obb")       /* a user namespace that is only its id maps: uids, gids */ \
	/* processes and namespaces */                                                       \
	X(40, unshare, "u")                                                                  \
	X(41, setns, "fu")                                                                   \
	X(42, clone, "uf")          /* flags, cgroup: the child runs the child column */     \
	X(77, clone_beside, "uff") /* the same, or where a process is that a pidfd tells, if the cgroup has been divided */ \
	X(43, open_proc, "os")      /* a file of the child's directory in /proc */           \
	X(44, write_proc, "sb")                                                              \
	X(45, setsid, "")                                                                    \
	X(46, sethostname, "s")                                                              \
	X(47, setdomainname, "s")                                                            \
	X(48, loopback_up, "")                                                               \
	X(49, set_ids, "uu")        /* uid, gid: all three of each */                        \
	X(50, setgroups, "b")       /* 32-bit gids */                                        \
	X(51, prctl, "uuuuu")                                                                \
	X(52, rlimit, "uuu")        /* resource, soft, hard */                               \
	X(19, raise_limit, "uu")    /* the child's: resource, at least this hard limit */    \
	X(53, umask, "u")                                                                    \
	X(54, chdir, "s")           /* and the result must lie inside the root */            \
	X(55, dup, "fu")            /* onto this number */                                   \
	X(56, controlling_tty, "f")                                                          \
	X(57, close_fds, "u")       /* mark this number and all above close-on-exec */       \
	X(58, reaper, "")           /* stay as process 1, the rest of the column in a child */ \
	X(59, exec, "svs")          /* command, arguments, search path; environment: set_env */ \
	X(60, set_env, "v")                                                                  \
	X(61, find_program, "ss")   /* command, search path: could exec find and run it? */  \
	X(62, open_pidfd, "o")      /* of the child */                                       \
	X(63, run_hook, "svvsu")    /* path, arguments, environment, input, milliseconds (0: any) */ \
	X(64, scheduler, "uuuuuuu") /* policy, flags, nice, priority, runtime, deadline, period */ \
	X(65, io_priority, "u")                                                              \
	X(66, personality, "u")                                                              \
	X(67, memory_policy, "ub")  /* mode with flags, bit mask of nodes */                 \
	X(68, cpu_affinity, "b")    /* bit mask of processors */                             \
	X(36, window_size, "fuu")   /* rows, columns */                                      \
	X(37, open_netlink, "o")    /* in the network namespace of the moment */             \
	X(38, move_link, "fss")     /* netlink of where it is, name, name in the child's namespace */ \
	X(97, netlink, "fbfusu")    /* socket, message, namespace and a link's name, each with where its number goes */ \
	X(98, listen_port, "ubb")   /* protocol, address, where it leads: struct sockaddr each */ \
	X(99, forward, "")         /* a process of its own serves these ports */           \
	X(100, forward_end, "")                                                              \
	X(84, plugin, "svvsfu")    /* path, arguments, environment, configuration without its last brace, network \
					namespace, milliseconds */ \
	X(85, keep_result, "fs")   /* of the plugins so far, in this file; none from here on */ \
	X(86, find_result, "fs")   /* as it was kept, if it was */ \
	X(101, names, "fffb")       /* directory of its socket, program, cgroup (or NONE), what names.h has */ \
	X(102, names_end, "")                                                                \
	X(39, open_self, "os")      /* a file of our own directory in /proc, for writing */  \
	/* security */                                                                       \
	X(70, bounding, "u")        /* keep these capabilities */                            \
	X(71, capset, "uuu")        /* effective, permitted, inheritable */                  \
	X(72, ambient, "u")                                                                  \
	X(73, seccomp, "ub")        /* flags, struct sock_filter[] */                        \
	X(74, new_keyring, "")                                                               \
	X(75, sysctl, "fsb")        /* procfs, path below sys/, value */                     \
	X(76, seccomp_notify, "ubfs") /* as seccomp; the listener goes to this socket beside text */ \
	/* cgroup */                                                                         \
	X(80, device_filter, "fb")  /* cgroup, struct bpf_insn[] */                          \
	X(82, device_program, "ff") /* cgroup, a loaded program */                           \
	X(81, cgroup_remove, "fs")  /* parent, name: kill, wait until empty, rmdir */        \
	/* between the two processes */                                                      \
	X(90, notify, "u")                                                                   \
	X(91, wait, "u")                                                                     \
	X(92, send_fd, "f")                                                                  \
	X(93, recv_fd, "o")                                                                  \
	/* with the caller, and whoever comes later */                                       \
	X(94, meet_caller, "u")     /* tell where we are, wait until told to go on */        \
	X(107, hold, "s")           /* until the caller has use for it; our name from then on */ \
	X(108, take, "")            /* the caller's word that the command may run, and what descriptors are missing */ \
	X(95, gate, "f")            /* wait for a connection; failures from here on go there */ \
	/* of a process that joins a container */                                            \
	X(104, join, "fu")          /* a pidfd, CLONE_NEW*: before its user namespace or behind it */ \
	X(105, set_home, "u")       /* HOME of this user, where the environment has none */  \
	X(106, open_container, "oss") /* state.json, a file in its first process's directory in /proc */ \
	X(96, send_fd_to, "ffs")    /* a connected socket, the descriptor, text beside it */ \
	/* of the monitor, for a container that outlives the command that started it */        \
	X(110, detach, "f")         /* a session of its own, in this cgroup (or NONE) */     \
	X(111, log, "fsuuu")        /* directory, name, format, bytes and number of files */ \
	X(112, listen, "f")         /* where clients connect, see clients.c */               \
	X(113, status, "ff")        /* directories of state.json and of exit.json */         \
	X(114, restart, "uu")       /* policy, how many times */                             \
	X(115, last, "")            /* teardown: what follows is not done before a restart */ \
	X(124, time_limit, "u")     /* milliseconds of a life, then it is killed */          \
	X(125, stop_by, "uu")       /* signal, milliseconds until SIGKILL: when the monitor itself stops it */ \
	X(126, health, "fuuuuuub")  /* see op_health in health.c */                          \
	X(116, unlink, "fs")                                                                 \
	X(117, remove_tree, "fs")   /* a directory with all below it, on its filesystem */    \
	X(118, remove_volume, "fss") /* a volume, if nobody uses it beside this file in it */ \
	X(120, release_link, "fss") /* a directory, the link in it, its text: whatever link of that text is there */ \
	X(121, events, "sssbub")    /* file, container's id, name, attributes, EVENTS_*, volumes: a name and attributes of each, ended by zeros */
/* clang-format on */

enum column { COLUMN_PARENT, COLUMN_CHILD, COLUMN_TEARDOWN, COLUMNS };

struct plan_header {
	uint32_t magic;
	uint32_t flags;     /* PLAN_* below */
	uint32_t slots;     /* how many there are */
	uint32_t inherited; /* slots 0..n-1 hold descriptors 5..5+n-1 at the start */
	uint32_t steps[COLUMNS];
	uint32_t pumps;
	uint32_t cgroup_slot; /* where memory.events and cgroup.kill are, or NONE */
	uint32_t mntns_slot;  /* held open until the exit has been told, or NONE */
	uint32_t late_slot;   /* of a held plan: nobody else can see it, so it is closed when the rest is told to be gone; or NONE */
	uint32_t pad;
};

#define PLAN_TRACE 1u    /* tell each step as it is done */
#define PLAN_MONITOR 2u  /* stay and supervise; else end after the parent column */
#define PLAN_HELD 4u     /* has a `hold` and a `take`, which fills the inherited slots; when all is done another one may follow */

struct plan_step {
	uint16_t op;
	uint16_t tolerate[3]; /* errnos that are no failure, 0: none */
	uint32_t size;        /* bytes of the arguments that follow */
	uint32_t pad;
};

/* Copy from one slot to another. A terminal pump also moves its size and restores the outer side's mode. */
struct plan_pump {
	uint32_t from;
	uint32_t to;
	uint32_t flags;
	uint32_t pad;
};
#define PUMP_STDIN 1u    /* end of input closes `to` */
#define PUMP_STDERR 4u   /* `from` is the container's standard error */
#define PUMP_TERMINAL 2u /* `from` is the outer terminal, `to` the master: raw mode, window size */

/* One datagram on the control socket, both ways. */
struct message {
	uint32_t type;
	uint32_t column;
	uint32_t step;
	uint32_t error;
	uint64_t a;
	uint64_t b;
};
enum {
	MSG_FAILED = 1,  /* column, step, error; a: wait status of a program that failed, what it said follows */
	MSG_TRACE = 2,   /* column, step, error, a: nanoseconds of CLOCK_MONOTONIC */
	MSG_STARTED = 3, /* a: pid, b: start time in clock ticks (field 22 of /proc/PID/stat) */
	MSG_EXITED = 4,  /* a: wait status, b: 1 if the kernel's OOM killer took part, 4 if its time was over; error: why
			    the caller's standard output, with b & 2 its standard error, took no more */
	MSG_MEETING = 5, /* error: which point, a: pid, b: start time; answered by MSG_GO */
	MSG_DETACHED = 6, /* a: 1 where it took nothing for too long */
	MSG_LOG = 8,     /* with it the file that the log goes on in, for reading */
	MSG_CHECKED = 7, /* a: 1 if the health check passed; error: why none was made */
	MSG_SIGNAL = 16, /* a: signal for the container's first process */
	MSG_RESIZE = 17, /* a: rows, b: columns */
	MSG_GO = 18,     /* to `take`: with those inherited descriptors that `hold` has not got. a: 1 if the caller has kept us off
			    its processor until now */
	MSG_ATTACH = 19, /* a: ATTACH_* */
	MSG_STOP = 20,   /* a: signal, b: 0 where a person wants it to end, or STOP_FOR_NOW */
	MSG_CHANGED = 21, /* a: RESTART_*, b: how many times; the container's name follows, and the plan of further lives
			     comes as a descriptor; answered by MSG_GO */
	MSG_CHECK = 22,  /* make a health check now */
	MSG_NAMES = 24,  /* with it what the name service is told of the container from now on */
	MSG_RELEASED = 9, /* all is gone: a plan may follow */
	MSG_SOON = 26,   /* to `hold`: look whether the caller is as it was, then go on; `take` follows. With the first of the
			     inherited descriptors. a: 1 if the caller keeps us off its processor until MSG_GO */
	MSG_PLAN = 25,   /* the plan follows in the same datagram; a: as for MSG_GO */
	MSG_FOLLOW = 23, /* hand over the file of the log, now and after each rotation */
};

/* Descriptors that come with MSG_ATTACH, in this order, and whether the first is a terminal to be made raw. */
#define ATTACH_STDIN 1u
#define ATTACH_STDOUT 2u
#define ATTACH_STDERR 4u
#define ATTACH_TERMINAL 8u

#define EXIT_TIMED_OUT 255 /* podman's exit code of a container whose time was over */
#define EVENTS_CREATE 1u /* the first start tells of the making, too */
#define EVENTS_REMOVE 2u /* the end tells of the removal */
#define EVENTS_EXEC 4u /* of one more command in it: of its end alone */

#define STOP_FOR_NOW 1u /* until the next boot: the exit is not noted as wanted */

#define RESTART_NO 0u
#define RESTART_ON_FAILURE 1u
#define RESTART_ALWAYS 2u

/* What is done about a container that has become unhealthy. */
#define HEALTH_NONE 0u
#define HEALTH_KILL 1u
#define HEALTH_RESTART 2u
#define HEALTH_STOP 3u

#define CONTROL_FD 3
#define PLAN_FD 4
#define FIRST_INHERITED_FD 5

#endif
