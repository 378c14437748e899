import { closeSync, constants, openSync } from 'node:fs'
import { trySyscall } from '../syscall/call.ts'
import { errnoName, SyscallError } from '../syscall/errno.ts'

const LOCK_EX = 2
const LOCK_NB = 4

/** A flock(2) on a directory, or undefined where somebody else holds it. Throws ENOENT where there is none. */
export function lockDirectory(directory: string): number | undefined {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  const result = trySyscall('flock', [fd, LOCK_EX | LOCK_NB])
  if (result === 0) return fd
  closeSync(fd)
  if (errnoName(-result) === 'EAGAIN') return undefined
  throw new SyscallError('flock', -result, directory)
}
