import { openSync, readFileSync } from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import { SIGKILL } from '../model/kernel-names.ts'
import { AT_FDCWD, cString, syscall, trySyscall } from './call.ts'
import { SyscallError } from './errno.ts'
import { loadKoffi, loadLibrary, nativeFile } from './ffi.ts'

const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const F_ADD_SEALS = 1033
/** F_SEAL_SEAL, SHRINK, GROW, WRITE. */
const ALL_SEALS = 15
const AF_UNIX = 1
const SOCK_SEQPACKET = 5
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
const WALL = 0x40000000
const WNOHANG = 1
const [EAGAIN, EINTR, ECONNRESET, ESRCH] = [11, 4, 104, 3]

/** Bytes in a file without a name. `sealed`: nobody can change them again, also not through /proc (CVE-2019-5736). */
export function memoryFile(name: string, bytes: Uint8Array, sealed: boolean): number {
  const fd = syscall('memfd_create', [cString(name), MFD_CLOEXEC | (sealed ? MFD_ALLOW_SEALING : 0)], name)
  for (let done = 0; done < bytes.length; )
    done += syscall('write', [fd, bytes.subarray(done), bytes.length - done], name)
  if (sealed) syscall('fcntl', [fd, F_ADD_SEALS, ALL_SEALS], name)
  return fd
}

let stage: number | undefined

/** The stage program as a sealed memory file, made once. */
function stageProgram(): number {
  stage ??= memoryFile('tscrun', readFileSync(nativeFile('stage')), true)
  return stage
}

const OPEN_TREE_CLONE = 1
const O_CLOEXEC = 0o2000000
const AT_EMPTY_PATH = 0x1000
const MOUNT_ATTR_RDONLY = 1
const ST_NOEXEC = 8n
/** struct mount_attr: what is set, what is cleared, propagation, user namespace; 64 bits each. */
const READ_ONLY = Buffer.from(new BigUint64Array([BigInt(MOUNT_ATTR_RDONLY), 0n, 0n, 0n]).buffer)

let sharedStage: number | undefined

/**
 * The stage program as it lies on the disk, so that all who run it share its memory, seen through a mount that nobody else
 * has and that is read-only: nor can this one be written through /proc/PID/exe (CVE-2019-5736). Where that cannot be, the
 * sealed file.
 */
function sharedProgram(): number {
  if (sharedStage !== undefined) return sharedStage
  const path = nativeFile('stage')
  const fd = trySyscall('open_tree', [AT_FDCWD, cString(path), OPEN_TREE_CLONE | O_CLOEXEC])
  if (fd >= 0) {
    const failed = trySyscall('mount_setattr', [fd, cString(''), AT_EMPTY_PATH, READ_ONLY, READ_ONLY.length])
    if (failed === 0 && !isNoexec(fd)) return (sharedStage = fd)
    closeFd(fd)
  }
  return (sharedStage = stageProgram())
}

/** statfs(2): the flags are the tenth of its 64-bit fields. */
function isNoexec(fd: number): boolean {
  const info = Buffer.alloc(120)
  return trySyscall('fstatfs', [fd, info]) !== 0 || (info.readBigUInt64LE(80) & ST_NOEXEC) !== 0n
}

export interface SpawnedStage {
  readonly pid: number
  readonly pidfd: number
}

type SpawnCall = (program: number, fds: bigint, count: number, name: bigint, pidfd: bigint) => number | bigint
let spawnCall: SpawnCall | undefined

/**
 * Starts the stage with `fds` as 3, 4, ...; the caller keeps its own copies. Blocks this thread until the exec, about
 * 0.2 ms (vfork). The child is no child of libuv's: wait for it by its pidfd. One that lives `long` shares its program's
 * memory with others of its kind.
 */
export function spawnStage(fds: readonly number[], name: string, lifetime: 'short' | 'long' = 'short'): SpawnedStage {
  spawnCall ??= loadLibrary().func(
    'ts_spawn',
    'int64',
    Array.from({ length: 5 }, () => 'int64'),
  ) as unknown as SpawnCall
  const address = loadKoffi().address
  const table = Buffer.alloc(4 * fds.length)
  fds.forEach((fd, index) => table.writeInt32LE(fd, 4 * index))
  const pidfd = Buffer.alloc(4)
  const title = cString(name)
  const program = lifetime === 'long' ? sharedProgram() : stageProgram()
  const pid = Number(spawnCall(program, address(table), fds.length, address(title), address(pidfd)))
  if (pid < 0) throw new SyscallError('clone3', -pid, 'the stage')
  return { pid, pidfd: pidfd.readInt32LE() }
}

/** The same file under a number that Node has given out, to be closed by `closeSync`: so it ends with its Worker. */
export function nodesOwn(fd: number): number {
  const own = openSync('/dev/null', 'r')
  syscall('dup3', [fd, own, SOCK_CLOEXEC])
  syscall('close', [fd])
  return own
}

/**
 * A pair of connected datagram sockets that keep message borders; both ends are close-on-exec, the first non-blocking
 * and Node's own.
 */
export function socketPair(): [ours: number, theirs: number] {
  const pair = Buffer.alloc(8)
  syscall('socketpair', [AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair])
  const ours = nodesOwn(pair.readInt32LE(0))
  syscall('fcntl', [ours, 4 /* F_SETFL */, SOCK_NONBLOCK])
  return [ours, pair.readInt32LE(4)]
}

/** The end of a connection whose other side has not read all that it was told (ECONNRESET, unix_release_sock in the kernel). */
export const UNREAD = Buffer.alloc(0)

/** One message, `undefined` if none is there, an empty one (perhaps `UNREAD`) at the end of the connection. */
export function receiveMessage(fd: number, into: Buffer): Buffer | undefined {
  const got = trySyscall('read', [fd, into, into.length])
  if (got === -EAGAIN || got === -EINTR) return undefined
  if (got === -ECONNRESET) return UNREAD
  if (got < 0) throw new SyscallError('read', -got, 'the control socket')
  return into.subarray(0, got)
}

/** False when the other side is gone. */
export function sendMessage(fd: number, message: Uint8Array): boolean {
  return trySyscall('write', [fd, message, message.length]) === message.length
}

/** Collects an ended child. False while it still runs. */
export function reapChild(pid: number): boolean {
  return trySyscall('wait4', [pid, 0, WALL | WNOHANG, 0]) !== 0
}

export function closeFd(fd: number): void {
  syscall('close', [fd])
}

/** Signals a process that a pidfd names; false if it has ended. */
export function signalPidfd(pidfd: number, signal: number): boolean {
  const result = trySyscall('pidfd_send_signal', [pidfd, signal, 0, 0])
  if (result === -ESRCH) return false
  if (result < 0) throw new SyscallError('pidfd_send_signal', -result)
  return true
}

/** What /proc/PID/stat says (proc_pid_stat(5)); undefined if there is no such process. */
export function processStat(pid: number): { readonly state: string; readonly startTime: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may hold anything, also spaces and parentheses.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0] ?? '', startTime: Number(fields[19]) }
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined
    throw error
  }
}

/** Field 22 of /proc/PID/stat: with the pid it names a process for ever. Undefined if there is none. */
export function startTimeOf(pid: number): number | undefined {
  return processStat(pid)?.startTime
}

/** SIGKILL to the process that has this pid *and* start time; nothing happens where it has ended. */
export function killProcess(pid: number, startTime: number): void {
  signalProcess(pid, startTime, SIGKILL)
}

/** A signal to the process that has this pid *and* start time; false where it has ended. */
export function signalProcess(pid: number, startTime: number, signal: number): boolean {
  const pidfd = trySyscall('pidfd_open', [pid, 0])
  if (pidfd < 0) return false
  try {
    // The pidfd holds the identity: what is checked now stays true.
    return startTimeOf(pid) === startTime && signalPidfd(pidfd, signal)
  } finally {
    closeFd(pidfd)
  }
}

/**
 * A pidfd of the container's process that has this pid *and* start time. Throws CONTAINER_STATE with the words `ended` where
 * it has ended, which it may do after any look at its state; SyscallError.
 */
export function openProcess(pid: number, startTime: number, ended: string): number {
  const pidfd = trySyscall('pidfd_open', [pid, 0])
  if (pidfd < 0 && pidfd !== -ESRCH) throw new SyscallError('pidfd_open', -pidfd, ended)
  if (pidfd >= 0 && startTimeOf(pid) === startTime) return pidfd
  if (pidfd >= 0) closeFd(pidfd)
  throw new TscrunError('CONTAINER_STATE', ended, { hint: 'it was running a moment before' })
}

const WCLONE = 0x80000000

/** Collects the ended children that a stage has left to this process; those that Node started are not among them. */
export function reapStrays(): void {
  while (trySyscall('wait4', [-1, 0, WCLONE, 0]) > 0);
}

/** From here on reading the descriptor does not wait: for the event loop. */
export function makeNonBlocking(fd: number): void {
  syscall('fcntl', [fd, 4 /* F_SETFL */, SOCK_NONBLOCK])
}

/** From here on reading the descriptor waits: for a program that has nothing else to do. */
export function makeBlocking(fd: number): void {
  syscall('fcntl', [fd, 4 /* F_SETFL */, 0])
}

/** Waits for a child's end and collects it. */
export function waitChild(pid: number): void {
  trySyscall('wait4', [pid, 0, WALL, 0])
}
