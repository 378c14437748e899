import { AT_FDCWD, cString, syscall, trySyscall } from '../../syscall/call.ts'
import { SyscallError, errnoName } from '../../syscall/errno.ts'
import type { TarTime } from './tar-numbers.ts'

const AT_SYMLINK_NOFOLLOW = 0x100
const S_IFCHR = 0o020000
const S_IFBLK = 0o060000
const S_IFIFO = 0o010000

/** Two timespecs: the same time for access and modification. */
const times = new BigInt64Array(4)
const timesBytes = new Uint8Array(times.buffer)

function setTimes(time: TarTime): void {
  times[0] = BigInt(time.seconds)
  times[1] = BigInt(time.nanoseconds)
  times[2] = times[0]
  times[3] = times[1]
}

/** Times of an open file, to the nanosecond (fs.futimes goes through a double). */
export function setTimesOfFile(fd: number, time: TarTime): void {
  setTimes(time)
  syscall('utimensat', [fd, 0, timesBytes, 0])
}

/** Times of a name, not following it. */
export function setTimesOfName(path: Buffer, time: TarTime): void {
  setTimes(time)
  syscall('utimensat', [AT_FDCWD, cString(path), timesBytes, AT_SYMLINK_NOFOLLOW], path.toString())
}

export function setXattr(path: Buffer, name: string, value: Buffer): void {
  // A zero-length Buffer has no address worth handing on.
  const bytes = value.length === 0 ? Buffer.alloc(1) : value
  syscall('lsetxattr', [cString(path), cString(name), bytes, value.length, 0], path.toString())
}

/** As `setXattr`, but answers the errno's name where the filesystem cannot hold it. */
export function trySetXattr(path: Buffer, name: string, value: Buffer): string | undefined {
  const bytes = value.length === 0 ? Buffer.alloc(1) : value
  const result = trySyscall('lsetxattr', [cString(path), cString(name), bytes, value.length, 0])
  if (result === 0) return undefined
  const errno = errnoName(-result)
  if (errno === 'EOPNOTSUPP' || errno === 'EPERM') return errno
  throw new SyscallError('lsetxattr', -result, path.toString())
}

/** Makes a device node or a fifo; throws SyscallError. */
export function makeNode(
  path: Buffer,
  type: 'char' | 'block' | 'fifo',
  mode: number,
  major: number,
  minor: number,
): void {
  const format = { char: S_IFCHR, block: S_IFBLK, fifo: S_IFIFO }[type]
  syscall('mknodat', [AT_FDCWD, cString(path), format | mode, deviceNumber(major, minor)], path.toString())
}

/** The kernel's 32-bit encoding (include/linux/kdev_t.h, new_encode_dev). */
function deviceNumber(major: number, minor: number): number {
  if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) throw new RangeError(`device ${major}:${minor}`)
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
}
