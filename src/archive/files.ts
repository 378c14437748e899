import * as fs from 'node:fs'
import { trySyscall } from '../syscall/call.ts'
import { errnoName, SyscallError } from '../syscall/errno.ts'

const SEEK_DATA = 3
const SEEK_HOLE = 4

/** A piece of a file that has data. */
export interface Extent {
  readonly offset: number
  readonly length: number
}

/** Fewer holes than this are not worth a format that not every reader knows. */
const WORTHWHILE = 1 << 20
/** More pieces than readers take. */
const MAX_EXTENTS = 10_000

/** Where a file has data, if it has large holes; undefined for one that is read as it is. */
export function extentsOf(fd: number, stats: fs.BigIntStats): readonly Extent[] | undefined {
  const size = Number(stats.size)
  if (stats.size - stats.blocks * 512n < BigInt(WORTHWHILE)) return undefined
  const extents: Extent[] = []
  for (let at = 0; at < size; ) {
    const offset = seek(fd, at, SEEK_DATA)
    if (offset === undefined || offset >= size) break
    const end = Math.min(seek(fd, offset, SEEK_HOLE) ?? size, size)
    extents.push({ offset, length: end - offset })
    if (extents.length > MAX_EXTENTS) return undefined
    at = end
  }
  return extents
}

function seek(fd: number, offset: number, whence: number): number | undefined {
  const found = trySyscall('lseek', [fd, offset, whence])
  if (found >= 0) return found
  if (errnoName(-found) === 'ENXIO') return undefined
  throw new SyscallError('lseek', -found)
}

const CHUNK = 1 << 18

/**
 * A file's bytes from an offset on, exactly as many as asked for: one that has become shorter meanwhile ends with zeros.
 * Each piece is a buffer of its own.
 */
export function* readExactly(fd: number, { offset, length }: Extent): Generator<Buffer> {
  for (let done = 0; done < length; ) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK, length - done))
    const got = fs.readSync(fd, chunk, 0, chunk.length, offset + done)
    if (got === 0) chunk.fill(0)
    const piece = got === 0 ? chunk : chunk.subarray(0, got)
    yield piece
    done += piece.length
  }
}
