/** System call numbers. From 424 on they are the same on every architecture (Linux's scripts/syscall.tbl). */
// biome-ignore format: a table
const X64 = {
  ioctl: 16, sendmsg: 46, recvmsg: 47, socketpair: 53, wait4: 61, flock: 73, fchdir: 81, umask: 95, ptrace: 101,
  lsetxattr: 189, lgetxattr: 192, getxattr: 191, listxattr: 194, setfsuid: 122, setfsgid: 123, openat: 257, llistxattr: 195, flistxattr: 196, fsetxattr: 190, fgetxattr: 193, lseek: 8, mount: 165, umount2: 166, chroot: 161, prctl: 157,
  mkdirat: 258, mknodat: 259, fchownat: 260, unlinkat: 263, renameat2: 316, linkat: 265, symlinkat: 266, readlinkat: 267,
  fchmodat: 268, faccessat: 269, utimensat: 280, unshare: 272, setns: 308, dup3: 292, pipe2: 293, capset: 126, capget: 125,
  statfs: 137, fstatfs: 138, syncfs: 306, memfd_create: 319, getrandom: 318, bpf: 321, fcntl: 72, kill: 62, seccomp: 317, socket: 41, connect: 42, bind: 49, listen: 50, getsockname: 51,
  close: 3, read: 0, write: 1, fallocate: 285, ftruncate: 77, pivot_root: 155, setresuid: 117, setresgid: 119, setgroups: 116,
  sched_getaffinity: 204, sched_setaffinity: 203, getcpu: 309, prlimit64: 302, fchown: 93, fchmod: 91, getdents64: 217, newfstatat: 262, statx: 332, exit_group: 231, execve: 59, gettid: 186, ppoll: 271,
} as const

// biome-ignore format: a table
const ARM64: { readonly [name in keyof typeof X64]: number } = {
  ioctl: 29, sendmsg: 211, recvmsg: 212, socketpair: 199, wait4: 260, flock: 32, fchdir: 50, umask: 166, ptrace: 117,
  lsetxattr: 6, lgetxattr: 9, getxattr: 8, listxattr: 11, setfsuid: 151, setfsgid: 152, openat: 56, llistxattr: 12, flistxattr: 13, fsetxattr: 7, fgetxattr: 10, lseek: 62, mount: 40, umount2: 39, chroot: 51, prctl: 167,
  mkdirat: 34, mknodat: 33, fchownat: 54, unlinkat: 35, renameat2: 276, linkat: 37, symlinkat: 36, readlinkat: 78,
  fchmodat: 53, faccessat: 48, utimensat: 88, unshare: 97, setns: 268, dup3: 24, pipe2: 59, capset: 91, capget: 90,
  statfs: 43, fstatfs: 44, syncfs: 267, memfd_create: 279, getrandom: 278, bpf: 280, fcntl: 25, kill: 129, seccomp: 277, socket: 198, bind: 200, listen: 201, getsockname: 204, connect: 203,
  close: 57, read: 63, write: 64, fallocate: 47, ftruncate: 46, pivot_root: 41, setresuid: 147, setresgid: 149, setgroups: 159,
  sched_getaffinity: 123, sched_setaffinity: 122, getcpu: 168, prlimit64: 261, fchown: 55, fchmod: 52, getdents64: 61, newfstatat: 79, statx: 291, exit_group: 94, execve: 221, gettid: 178, ppoll: 73,
}

// biome-ignore format: a table
const COMMON = {
  pidfd_send_signal: 424, open_tree: 428, move_mount: 429, fsopen: 430, fsconfig: 431, fsmount: 432, fspick: 433,
  pidfd_open: 434, clone3: 435, close_range: 436, openat2: 437, pidfd_getfd: 438, mount_setattr: 442, fchmodat2: 452,
} as const

export type SyscallName = keyof typeof X64 | keyof typeof COMMON

const OWN: { readonly [name in keyof typeof X64]: number } = process.arch === 'arm64' ? ARM64 : X64

/** The number of a system call on this processor. */
export function syscallNumber(name: SyscallName): number {
  return name in OWN ? OWN[name as keyof typeof OWN] : COMMON[name as keyof typeof COMMON]
}
