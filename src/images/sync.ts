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
