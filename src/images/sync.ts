import * as fs from 'node:fs'
import { SyscallError } from '../syscall/errno.ts'
import { rawSyscall } from '../syscall/ffi.ts'
import { syscallNumber } from '../syscall/numbers.ts'

type Answer = (error: Error | null, result: number | bigint) => void

/**
 * Writes a whole file system out, so that what was unpacked on it survives a power cut. It may take seconds on a
 * slow disk, so it runs beside the event loop.
 */
export async function syncFileSystem(directory: string): Promise<void> {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
  const call = rawSyscall() as unknown as { async(...args: [...number[], Answer]): void }
  try {
    const result = await new Promise<number>((resolve, reject) => {
      call.async(syscallNumber('syncfs'), fd, 0, 0, 0, 0, 0, (error, value) => {
        if (error === null) resolve(Number(value))
        else reject(error)
      })
    })
    // EIO: what was written has been lost, so the image must not be listed.
    if (result < 0) throw new SyscallError('syncfs', -result, directory)
  } finally {
    fs.closeSync(fd)
  }
}

/** Writes a file system out while more is being written to it, so that little is left to wait for at the end. */
export interface Sync {
  /** Starts to write out what is there, unless that is under way. */
  begin(): void
  /** Resolves when all that was written before this call is on the disk; rejects also with what went wrong earlier. */
  finish(): Promise<void>
}

export function createSync(directory: string): Sync {
  let running: Promise<void> | undefined
  const failures: unknown[] = []
  return {
    begin() {
      running ??= syncFileSystem(directory)
        // An error of the disk is told only once.
        .catch((error: unknown) => void failures.push(error))
        .finally(() => (running = undefined))
    },
    async finish() {
      await running
      if (failures.length > 0) throw failures[0]
      await syncFileSystem(directory)
    },
  }
}
