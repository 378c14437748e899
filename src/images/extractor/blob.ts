import * as fs from 'node:fs'
import { PROGRESS_BYTES } from './protocol.ts'

/** A blob that is read while its file grows. */
export interface GrowingBlob {
  /** The next bytes, `least` to `most` of them; fewer where they are the last ones. Valid until the next call. */
  read(least: number, most: number): Buffer
}

/** The first thing on standard input. Undefined where it ends before: nobody needs this process. */
export function readRequest(): string | undefined {
  const length = readExactly(4)
  return length === undefined ? undefined : readExactly(length.readUInt32LE())?.toString()
}

function readExactly(size: number): Buffer | undefined {
  const bytes = Buffer.allocUnsafeSlow(size)
  for (let at = 0; at < size; ) {
    const count = fs.readSync(0, bytes, at, size - at, null)
    if (count === 0) return undefined
    at += count
  }
  return bytes
}

/** Standard input tells how far the blob has come. */
export function growingBlob(path: string): GrowingBlob {
  const file = fs.openSync(path, 'r')
  const told = createTold()
  let at = 0
  let buffer = Buffer.alloc(0) as Buffer
  return {
    read(least, most) {
      if (buffer.length < most) buffer = Buffer.allocUnsafeSlow(most)
      const there = told.atLeast(at + least)
      let filled = 0
      while (filled < most && at < there) {
        const size = fs.readSync(file, buffer, filled, Math.min(most - filled, there - at), at)
        // Somebody has cut the file: the digest of what is written tells.
        if (size === 0) break
        filled += size
        at += size
      }
      return buffer.subarray(0, filled)
    },
  }
}

/** The numbers on standard input; the last one counts. */
function createTold(): { atLeast(size: number): number } {
  const buffer = Buffer.alloc(PROGRESS_BYTES * 512)
  let [kept, known] = [0, 0]
  let ended = false
  return {
    /** Waits until so many bytes are there or no more will come; answers how many are. */
    atLeast(size) {
      while (known < size && !ended) {
        const count = fs.readSync(0, buffer, kept, buffer.length - kept, null)
        ended = count === 0
        const length = kept + count
        const whole = length - (length % PROGRESS_BYTES)
        if (whole > 0) known = Number(buffer.readBigUInt64LE(whole - PROGRESS_BYTES))
        kept = buffer.copy(buffer, 0, whole, length)
      }
      return known
    },
  }
}
