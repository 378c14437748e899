import { closeSync, constants, openSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { trySyscall } from '../../syscall/call.ts'
import { errnoName, SyscallError } from '../../syscall/errno.ts'
import { pause, realTimers } from '../../syscall/pause.ts'

const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4

/** How long one waits for those who only look a container over, e.g. a sweep. */
const PATIENCE_MS = 2000

/** A flock(2) on a directory, or undefined where somebody else holds it. Throws ENOENT where there is none. */
export function lockDirectory(directory: string): number | undefined {
  return lock(directory, LOCK_EX)
}

/** Whether somebody holds it; nobody holds what is gone. Those who ask this are not in each other's way. */
export function isHeld(directory: string): boolean {
  try {
    const fd = lock(directory, LOCK_SH)
    if (fd !== undefined) closeSync(fd)
    return fd === undefined
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}

/** As `lockDirectory`, unless it stays held, or `stop` says that waiting has no point. */
export async function lockSoon(directory: string, stop: () => boolean = () => false): Promise<number | undefined> {
  const until = realTimers.now() + PATIENCE_MS
  for (let wait = 1; ; wait = Math.min(wait * 2, 20)) {
    const fd = lockDirectory(directory)
    if (fd !== undefined || stop() || realTimers.now() >= until) return fd
    await pause(wait)
  }
}

function lock(directory: string, operation: number): number | undefined {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  const result = trySyscall('flock', [fd, operation | LOCK_NB])
  if (result === 0) return fd
  closeSync(fd)
  if (errnoName(-result) === 'EAGAIN') return undefined
  throw new SyscallError('flock', -result, directory)
}
