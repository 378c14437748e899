import { readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { pause } from '../syscall/pause.ts'

const PATIENCE_MS = 10_000

/**
 * Kills everyone in a cgroup and removes it with all below it; nothing happens where it is gone already. Throws
 * KERNEL_REFUSED where a process in it has not ended after `patienceMs`.
 */
export async function removeCgroup(directory: string, patienceMs = PATIENCE_MS): Promise<void> {
  try {
    writeFileSync(join(directory, 'cgroup.kill'), '1')
    for (let waited = 0; isPopulated(directory) && waited < patienceMs; waited += 5) await pause(5)
    removeTree(directory)
  } catch (error) {
    const errno = errnoOf(error)
    // Gone already, or just now: the monitor removes it too.
    if (errno === 'ENOENT' || errno === 'ENODEV') return
    if (errno !== 'EBUSY') throw error
    throw new TscrunError('KERNEL_REFUSED', `rmdir ${directory}: a process in it was killed and does not end (EBUSY)`, {
      syscall: 'rmdir',
      errno,
      subject: directory,
      hint: 'it waits for a device or a network filesystem, or a debugger holds it: end that, then try again',
      cause: error,
    })
  }
}

/** Removes a cgroup that nobody is in. False where somebody is, and it stays; one that has gone is no error. */
export function removeEmptyCgroup(directory: string): boolean {
  try {
    rmdirSync(directory)
    return true
  } catch (error) {
    const errno = errnoOf(error) ?? ''
    if (!['ENOENT', 'ENODEV', 'EBUSY', 'ENOTEMPTY'].includes(errno)) throw error
    return errno === 'ENOENT' || errno === 'ENODEV'
  }
}

function isPopulated(directory: string): boolean {
  return readFileSync(join(directory, 'cgroup.events'), 'latin1').includes('populated 1')
}

function removeTree(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(directory, entry.name))
  }
  rmdirSync(directory)
}
