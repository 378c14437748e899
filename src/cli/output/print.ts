import { write, writeSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { BROKEN_PIPE } from '../errors.ts'

/** How long to wait for the reader of a full non-blocking pipe before the next try, in milliseconds. */
const FULL_PIPE_WAIT_MS = 2

/**
 * Writes to standard output, all of it, before it returns: process.stdout costs a millisecond to set up and may
 * lose its tail at exit. Throws BROKEN_PIPE where the reader has gone, NO_SPACE or KERNEL_REFUSED for every other refusal.
 */
export function print(text: string): void {
  writeAll(1, text)
}

/** Bytes as they are, to descriptor 1 or 2. Throws BROKEN_PIPE where the reader has gone. */
export function printBytes(fd: 1 | 2, bytes: Uint8Array): void {
  writeAll(fd, bytes)
}

/** The same for a reader that may take its time: meanwhile other things can be done. */
export async function printPatiently(fd: 1 | 2, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += await writeOnce(fd, bytes, done)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === 'EPIPE') throw BROKEN_PIPE
      if (errno === undefined) throw error
      if (errno !== 'EAGAIN') throw outputError(fd, errno, error)
      await new Promise((resolve) => setTimeout(resolve, FULL_PIPE_WAIT_MS))
    }
  }
}

function writeOnce(fd: number, bytes: Uint8Array, from: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, from, (error, written) => (error === null ? resolve(written) : reject(error)))
  })
}

/** The same to standard error; where it takes nothing, there is no one to tell. */
export function printError(text: string): void {
  try {
    writeAll(2, text)
  } catch (error) {
    if (error !== BROKEN_PIPE && !(error instanceof TscrunError)) throw error
  }
}

function writeAll(fd: number, content: string | Uint8Array): void {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  let done = 0
  while (done < bytes.length) {
    try {
      done += writeSync(fd, bytes, done)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === 'EPIPE') throw BROKEN_PIPE
      if (errno === undefined) throw error
      if (errno !== 'EAGAIN') throw outputError(fd, errno, error)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_PIPE_WAIT_MS)
    }
  }
}

function outputError(fd: number, errno: string, cause: unknown): TscrunError {
  const full = errno === 'ENOSPC' || errno === 'EDQUOT'
  const subject = fd === 1 ? 'standard output' : 'standard error'
  return new TscrunError(full ? 'NO_SPACE' : 'KERNEL_REFUSED', `write ${subject}: ${errno}`, {
    syscall: 'write',
    errno,
    subject,
    cause,
    ...(full ? { hint: 'free some space where it is written to' } : {}),
  })
}
