import * as fs from 'node:fs'
import { errnoOf } from '../model/errors.ts'
import { syscall, trySyscall } from '../syscall/call.ts'
import { pause } from '../syscall/pause.ts'
import { SyscallError, errnoName } from '../syscall/errno.ts'

const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4

/** A flock(2) held on a file; it also goes when this process dies. */
export interface Lock extends Disposable {
  /** Deletes the lock's file, still holding it. */
  unlink(): void
  /** Lets others share it from now on. */
  share(): void
}

export type LockMode = 'shared' | 'exclusive'

/** Takes a lock if nobody holds it otherwise. */
export function tryLock(path: string, mode: LockMode): Lock | undefined {
  for (;;) {
    const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW, 0o600)
    const result = trySyscall('flock', [fd, (mode === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB])
    if (result < 0) {
      fs.closeSync(fd)
      if (errnoName(-result) === 'EAGAIN') return undefined
      throw new SyscallError('flock', -result, path)
    }
    // Whoever held it before may have deleted the file: then this is a lock on a name nobody else will see.
    if (isStill(fd, path)) return lockOf(fd, path)
    fs.closeSync(fd)
  }
}

function isStill(fd: number, path: string): boolean {
  try {
    return fs.fstatSync(fd).ino === fs.statSync(path).ino
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}

function lockOf(fd: number, path: string): Lock {
  let open = true
  return {
    unlink: () => fs.unlinkSync(path),
    share: () => void syscall('flock', [fd, LOCK_SH], path),
    [Symbol.dispose]: () => {
      if (open) fs.closeSync(fd)
      open = false
    },
  }
}

/** Waits for a lock without blocking the event loop. Rejects with the signal's reason when it is aborted. */
export async function waitForLock(path: string, mode: LockMode, signal?: AbortSignal): Promise<Lock> {
  for (let delayMs = 2; ; delayMs = Math.min(delayMs * 2, 50)) {
    signal?.throwIfAborted()
    const lock = tryLock(path, mode)
    if (lock !== undefined) return lock
    await pause(delayMs)
  }
}
