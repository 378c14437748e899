import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { pause } from '../syscall/pause.ts'

const PATIENCE_MS = 10_000
const INTERVAL_MS = 2

/**
 * Stops everyone in a cgroup, or lets them go on, and waits until it is so (cgroup-v2.rst, cgroup.freeze). Throws
 * KERNEL_REFUSED where a process cannot be stopped; then they all go on.
 */
export async function setFrozen(directory: string, frozen: boolean): Promise<void> {
  const file = join(directory, 'cgroup.freeze')
  try {
    writeFileSync(file, frozen ? '1' : '0', { flag: 'r+' })
    for (let waited = 0; isFrozen(directory) !== frozen; waited += INTERVAL_MS) {
      if (waited >= PATIENCE_MS) {
        writeFileSync(file, '0', { flag: 'r+' })
        throw new TscrunError('KERNEL_REFUSED', `freeze ${directory}: a process in it does not stop`, {
          subject: directory,
          hint: 'it waits for a device or a network filesystem',
        })
      }
      await pause(INTERVAL_MS)
    }
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined || error instanceof TscrunError) throw error
    throw new TscrunError('KERNEL_REFUSED', `write ${file}: ${errno}`, {
      syscall: 'write',
      errno,
      subject: file,
      cause: error,
    })
  }
}

/** False where there is no such cgroup. */
export function isFrozen(directory: string): boolean {
  try {
    return /^frozen 1$/m.test(readFileSync(join(directory, 'cgroup.events'), 'latin1'))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') return false
    throw error
  }
}
