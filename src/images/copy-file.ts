import * as fs from 'node:fs'
import { trySyscall } from '../syscall/call.ts'
import { SyscallError, errnoName } from '../syscall/errno.ts'
import { setTimesOfFile } from './extractor/kernel.ts'
import type { TarTime } from './extractor/tar-numbers.ts'
import { copyXattrs } from './xattrs.ts'

/** linux/fs.h */
const FICLONE = 0x40049409
const SEEK_DATA = 3
const SEEK_HOLE = 4
const CHUNK = 1 << 20

/**
 * Copies a regular file between two descriptors that stand at their beginnings. Blocks are shared where the filesystem
 * can (ioctl_ficlone(2)); a hole stays a hole, so what an image declares takes no more room than what it holds.
 */
export function copyContent(source: number, destination: number, stats: fs.BigIntStats): void {
  const size = Number(stats.size)
  if (size === 0 || shareBlocks(source, destination)) return
  const sparse = stats.blocks * 512n < stats.size
  if (!sparse) return copyRange({ source, destination, start: 0, end: size, sparse })
  fs.ftruncateSync(destination, size)
  for (let at = 0; at < size; ) {
    const start = seek(source, at, SEEK_DATA)
    if (start === undefined) return
    const end = seek(source, start, SEEK_HOLE) ?? size
    copyRange({ source, destination, start, end, sparse })
    at = end
  }
}

function shareBlocks(source: number, destination: number): boolean {
  const result = trySyscall('ioctl', [destination, FICLONE, source])
  if (result === 0) return true
  const errno = errnoName(-result)
  if (errno === 'EOPNOTSUPP' || errno === 'ENOTTY' || errno === 'EINVAL' || errno === 'EXDEV') return false
  throw new SyscallError('ioctl', -result, 'FICLONE')
}

/** Where data or the next hole begins, from an offset on; undefined where there is no data any more. */
function seek(fd: number, offset: number, whence: number): number | undefined {
  const found = trySyscall('lseek', [fd, offset, whence])
  if (found >= 0) return found
  if (errnoName(-found) === 'ENXIO') return undefined
  throw new SyscallError('lseek', -found)
}

interface Range {
  readonly source: number
  readonly destination: number
  readonly start: number
  readonly end: number
  /** Zeros need not be written: some filesystems (9p) know no holes, and show them as data. */
  readonly sparse: boolean
}

function copyRange({ source, destination, start, end, sparse }: Range): void {
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK, end - start))
  const zeros = Buffer.alloc(sparse ? buffer.length : 0)
  for (let at = start; at < end; ) {
    const size = fs.readSync(source, buffer, 0, Math.min(buffer.length, end - at), at)
    if (size === 0) return
    const empty = sparse && buffer.compare(zeros, 0, size, 0, size) === 0
    for (let done = 0; !empty && done < size; ) {
      done += fs.writeSync(destination, buffer, done, size - done, at + done)
    }
    at += size
  }
}

/** Owner first: a change of it takes set-id bits and capabilities away. Times last: everything else changes them. */
export function copyAttributes(source: number, destination: number, stats: fs.BigIntStats): void {
  fs.fchownSync(destination, Number(stats.uid), Number(stats.gid))
  fs.fchmodSync(destination, Number(stats.mode) & 0o7777)
  copyXattrs(source, destination)
  setTimesOfFile(destination, timeOf(stats.mtimeNs))
}

/** Nanoseconds since 1970, perhaps before it, as the kernel wants them. */
export function timeOf(nanoseconds: bigint): TarTime {
  const second = 1_000_000_000n
  const rest = ((nanoseconds % second) + second) % second
  return { seconds: Number((nanoseconds - rest) / second), nanoseconds: Number(rest) }
}
