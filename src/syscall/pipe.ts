import { syscall } from './call.ts'

const O_CLOEXEC = 0o2000000

/** Descriptors of its ends. */
export interface Pipe {
  readonly read: number
  readonly write: number
}

/** A pipe (pipe2(2)), both ends close-on-exec. */
export function makePipe(): Pipe {
  const ends = Buffer.alloc(8)
  syscall('pipe2', [ends, O_CLOEXEC])
  return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) }
}
