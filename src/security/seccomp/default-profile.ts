import { constants } from 'node:os'
import type { OciSeccomp, OciSyscallArg, OciSyscallRule } from '../../model/config.ts'
import { type HostArch, OCI_ARCH } from './arches.ts'

/*
 * What a container may ask of the kernel unless it is told otherwise. The effect is docker's default profile (moby
 * profiles, 2026), with these differences, all towards less:
 *  - no x32 ABI: nobody builds for it, and its numbers have been ways around filters before;
 *  - AF_ALG and AF_VSOCK sockets are refused on every path, so socketcall(SYS_SOCKET), whose family a filter cannot
 *    see, is refused too unless the image is a 32-bit one (CVE-2026-31431);
 *  - calls newer than this table answer ENOSYS (see compile.ts), which C libraries take as "use the older one".
 * io_uring, userfaultfd, the key ring and kexec are in no list: they stay refused.
 */

/** Allowed to everyone, whatever the arguments. Names that one ABI lacks are harmless on it. */
const ALWAYS = `
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2
fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64
fdatasync fgetxattr file_getattr file_setattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64
fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32
getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier
memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr
mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl
msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat
openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace
pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64
sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid
setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt
shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketpair
splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask
uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev`

/** Allowed on one family of processors only. */
const BY_ARCH: { readonly [arch in HostArch]: string } = {
  x64: 'arch_prctl modify_ldt',
  arm64: 'arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls',
}

/** Allowed to a container that holds the capability. The kernel checks again; this keeps its code out of reach. */
export const BY_CAPABILITY: { readonly [capability: string]: string } = {
  CAP_BPF: 'bpf',
  CAP_DAC_READ_SEARCH: 'open_by_handle_at',
  CAP_PERFMON: 'perf_event_open',
  CAP_SYS_ADMIN: `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl
quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare`,
  CAP_SYS_BOOT: 'reboot',
  CAP_SYS_CHROOT: 'chroot',
  CAP_SYS_MODULE: 'delete_module finit_module init_module',
  CAP_SYS_NICE: 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node',
  CAP_SYS_PACCT: 'acct',
  CAP_SYS_PTRACE: 'kcmp pidfd_getfd process_madvise',
  CAP_SYS_RAWIO: 'ioperm iopl',
  CAP_SYS_TIME: 'clock_settime clock_settime64 settimeofday stime',
  CAP_SYS_TTY_CONFIG: 'vhangup',
  CAP_SYSLOG: 'syslog',
}

/** Execution domains of personality(2): Linux, 32-bit, both with UNAME26, and the question what it is. */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff]

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const NEW_NAMESPACES = 0x7e020000

/** Families 0 to 11: unix, inet, inet6 and old friends. */
const FIRST_FAMILIES = 12
/**
 * The other families (linux/socket.h) that have code behind them and belong into containers. One by one, because the
 * kernel looks at 32 bits of the argument and a filter's "greater than" at 64: 2^32 + 38 would be greater and still be
 * AF_ALG. Left out: DECnet, Econet, ATMSVC, IrDA, WANPIPE, ISDN, CAIF (gone from the kernel), AF_ALG (38), AF_VSOCK
 * (40). They get the default EPERM, since libseccomp refuses a second action for the same call on 32-bit x86.
 */
const FAMILIES = [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45]
const SYS_SOCKET = 1

export interface DefaultProfileOptions {
  /**
   * Let 32-bit x86 programs make sockets through socketcall(2), the only way older C libraries know. It also lets them
   * make sockets of any family, so it is for images of that platform only.
   */
  readonly legacySockets?: boolean
}

/** The default profile for a container with these capabilities (`CAP_...`), in the runtime configuration's form. */
export function defaultProfile(
  capabilities: readonly string[],
  arch: HostArch,
  { legacySockets = false }: DefaultProfileOptions = {},
): OciSeccomp {
  const held = Object.keys(BY_CAPABILITY).filter((capability) => capabilities.includes(capability))
  const granted = new Set(held.flatMap((capability) => words(BY_CAPABILITY[capability] ?? '')))
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: constants.errno.EPERM,
    architectures: arch === 'x64' ? [OCI_ARCH.x86_64, OCI_ARCH.x86] : [OCI_ARCH.aarch64, OCI_ARCH.arm],
    // Kernels before 5.16 slow every filtered process down against Spectre v4 without it.
    flags: ['SECCOMP_FILTER_FLAG_SPEC_ALLOW'],
    syscalls: [
      { names: [...words(ALWAYS), ...words(BY_ARCH[arch]), ...granted], action: 'SCMP_ACT_ALLOW' },
      ...PERSONALITIES.map((value) => allowIf('personality', { index: 0, value, op: 'SCMP_CMP_EQ' })),
      ...socketRules(legacySockets),
      ...(granted.has('clone') ? [] : cloneRules()),
    ],
  }
}

function socketRules(legacySockets: boolean): OciSyscallRule[] {
  return [
    allowIf('socket', { index: 0, value: FIRST_FAMILIES, op: 'SCMP_CMP_LT' }),
    ...FAMILIES.map((value) => allowIf('socket', { index: 0, value, op: 'SCMP_CMP_EQ' })),
    legacySockets
      ? { names: ['socketcall'], action: 'SCMP_ACT_ALLOW' }
      : allowIf('socketcall', { index: 0, value: SYS_SOCKET, op: 'SCMP_CMP_NE' }),
  ]
}

/** Threads and processes, but no namespaces. clone3 hides its flags in memory; at ENOSYS libraries turn to clone. */
function cloneRules(): OciSyscallRule[] {
  return [
    allowIf('clone', { index: 0, value: NEW_NAMESPACES, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }),
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: constants.errno.ENOSYS },
  ]
}

function allowIf(name: string, condition: OciSyscallArg): OciSyscallRule {
  return { names: [name], action: 'SCMP_ACT_ALLOW', args: [condition] }
}

function words(text: string): string[] {
  return text.trim().split(/\s+/)
}
