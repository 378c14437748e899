import * as fs from 'node:fs'
import { errnoOf } from '../model/errors.ts'
import { RESOLVE } from '../model/linux.ts'
import { AT_FDCWD, cString, syscall, trySyscall } from './call.ts'
import { errnoName, SyscallError } from './errno.ts'
import { openFlags } from './flags.ts'

/**
 * Files by the descriptor of their directory and a name, which node:fs cannot. Names are bytes, as the kernel has them.
 * Descriptors from here are closed by `closeFd`: Node has not opened them.
 */
export type FileName = string | Uint8Array

const AT_SYMLINK_NOFOLLOW = 0x100
const AT_REMOVEDIR = 0x200
const AT_EMPTY_PATH = 0x1000

/** How a path below a directory may be walked: not out of it, and by no link of /proc. */
const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS
/** One name, or a path without any link in it. */
const WITHOUT_LINKS = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS

function openHow(flags: number, mode: number, resolve: number): Uint8Array {
  return new Uint8Array(new BigUint64Array([BigInt(flags | openFlags.cloexec), BigInt(mode), BigInt(resolve)]).buffer)
}

/** openat2(2). Throws SyscallError naming the path. */
function open2(dir: number, name: FileName, flags: number, mode: number, resolve: number): number {
  const how = openHow(flags, mode, resolve)
  const path = cString(name.length === 0 ? '.' : name)
  // A rename elsewhere makes the kernel unsure whether `..` has left the root: it asks for another try.
  for (let tries = 0; ; tries++) {
    const result = trySyscall('openat2', [dir, path, how, how.length])
    if (result >= 0) return result
    if (errnoName(-result) !== 'EAGAIN' || tries === 1000) throw new SyscallError('openat2', -result, show(name))
  }
}

/** What a path is below a directory that stands for `/`: links are followed, but never out of it (CVE-2018-15664). */
export function openInRoot(root: number, path: FileName, flags: number): number {
  return open2(root, path, flags, 0, IN_ROOT)
}

/** What a path without links is below a directory; a link on the way is ELOOP. */
export function openBelow(dir: number, path: FileName, flags: number): number {
  return open2(dir, path, flags, 0, WITHOUT_LINKS)
}

/** Makes a file that must not be there (EEXIST). */
export function createFileAt(dir: number, name: FileName, mode: number): number {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants
  return open2(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode, WITHOUT_LINKS)
}

/** An answer, or undefined where one of these errnos was the reason that there is none. */
export function unlessErrno<T>(errnos: readonly string[], action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    if (errnos.includes(errnoOf(error) ?? '')) return undefined
    throw error
  }
}

export function statOf(fd: number): fs.BigIntStats {
  return fs.fstatSync(fd, { bigint: true })
}

/** A real descriptor of what an O_PATH one names: the same file, whatever its name is by now. */
export function reopen(fd: number, flags: number): number {
  return syscall('openat', [AT_FDCWD, cString(`/proc/self/fd/${fd}`), flags | openFlags.cloexec, 0], 'a descriptor')
}

/** Names in a directory, `.` and `..` not among them, in the order of their bytes. The descriptor may be O_PATH. */
export function namesIn(fd: number): Buffer[] {
  return fs.readdirSync(`/proc/self/fd/${fd}`, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b))
}

export function makeDirectoryAt(dir: number, name: FileName, mode: number): void {
  syscall('mkdirat', [dir, cString(name), mode], show(name))
}

export function makeLinkAt(dir: number, name: FileName, target: FileName): void {
  syscall('symlinkat', [cString(target), dir, cString(name)], show(name))
}

/** A device node, a fifo: `mode` with its kind, `device` as stat(2) tells it. */
export function makeNodeAt(dir: number, name: FileName, mode: number, device: bigint): void {
  syscall('mknodat', [dir, cString(name), mode, device], show(name))
}

/** A further name of the file that a descriptor stands for (linkat(2), AT_EMPTY_PATH). */
export function hardLinkAt(fd: number, dir: number, name: FileName): void {
  syscall('linkat', [fd, cString(''), dir, cString(name), AT_EMPTY_PATH], show(name))
}

export function unlinkAt(dir: number, name: FileName): void {
  syscall('unlinkat', [dir, cString(name), 0], show(name))
}

export function removeDirectoryAt(dir: number, name: FileName): void {
  syscall('unlinkat', [dir, cString(name), AT_REMOVEDIR], show(name))
}

/** The text of the link that an O_PATH descriptor names. */
export function linkText(fd: number): Buffer {
  const target = Buffer.alloc(4096)
  return target.subarray(0, syscall('readlinkat', [fd, cString(''), target, target.length]))
}

/** Owner of a name in a directory; a link is not followed. */
export function ownAt(dir: number, name: FileName, uid: number, gid: number): void {
  syscall('fchownat', [dir, cString(name), uid, gid, AT_SYMLINK_NOFOLLOW], show(name))
}

/** Owner of what a descriptor names, also of an O_PATH one. */
export function ownFd(fd: number, uid: number, gid: number): void {
  syscall('fchownat', [fd, cString(''), uid, gid, AT_EMPTY_PATH], 'a descriptor')
}

/** Access and modification time, in nanoseconds since 1970, of a name in a directory; a link is not followed. */
export function setTimeAt(dir: number, name: FileName, nanoseconds: bigint): void {
  syscall('utimensat', [dir, cString(name), timesOf(nanoseconds), AT_SYMLINK_NOFOLLOW], show(name))
}

/** The same of an open file. */
export function setTimeOf(fd: number, nanoseconds: bigint): void {
  syscall('utimensat', [fd, 0, timesOf(nanoseconds), 0], 'a descriptor')
}

function timesOf(nanoseconds: bigint): Uint8Array {
  const second = 1_000_000_000n
  const rest = ((nanoseconds % second) + second) % second
  const seconds = (nanoseconds - rest) / second
  return new Uint8Array(new BigInt64Array([seconds, rest, seconds, rest]).buffer)
}

/** The kernel's limits of one attribute and of a list of names (XATTR_SIZE_MAX, XATTR_LIST_MAX). */
const XATTR_BYTES = 64 << 10

/** Attributes of what a descriptor names, also of an O_PATH one; empty where the filesystem has none. */
export function xattrsOf(fd: number, wanted: (name: string) => boolean): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>()
  // An O_PATH descriptor takes no flistxattr(2).
  const path = cString(`/proc/self/fd/${fd}`)
  const size = trySyscall('listxattr', [path, 0, 0])
  if (size === 0 || ['EOPNOTSUPP', 'EPERM', 'EACCES'].includes(errnoName(-size))) return found
  if (size < 0) throw new SyscallError('listxattr', -size)
  const names = Buffer.alloc(XATTR_BYTES)
  const got = syscall('listxattr', [path, names, names.length])
  for (const name of names.toString('latin1', 0, got).split('\0').slice(0, -1)) {
    if (!wanted(name)) continue
    const value = Buffer.alloc(XATTR_BYTES)
    const length = trySyscall('getxattr', [path, cString(Buffer.from(name, 'latin1')), value, value.length])
    // Gone in the meantime.
    if (errnoName(-length) === 'ENODATA') continue
    if (length < 0) throw new SyscallError('getxattr', -length, name)
    found.set(name, Buffer.from(value.subarray(0, length)))
  }
  return found
}

/** One attribute of an open file. Throws SyscallError naming the attribute. */
export function setXattrOf(fd: number, name: string, value: Buffer): void {
  const bytes = value.length === 0 ? Buffer.alloc(1) : value
  syscall('fsetxattr', [fd, cString(Buffer.from(name, 'latin1')), bytes, value.length, 0], name)
}

/** A name for a message. */
function show(name: FileName): string {
  return typeof name === 'string' ? name : Buffer.from(name).toString()
}

/** A directory by its path on the host, as an O_PATH descriptor. */
export function openPlace(path: FileName): number {
  return openOnHost(path, openFlags.path | openFlags.directory)
}

/** What a path of the host is, for whoever calls us. */
export function openOnHost(path: FileName, flags: number): number {
  return open2(AT_FDCWD, path, flags, 0, 0)
}
