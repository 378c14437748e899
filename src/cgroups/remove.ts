import { readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../model/errors.ts'
import { pause } from '../syscall/pause.ts'

const PATIENCE_MS = 10_000

/** Kills everyone in a cgroup and removes it with all below it; nothing happens where it is gone already. */
export async function removeCgroup(directory: string): Promise<void> {
  try {
    writeFileSync(join(directory, 'cgroup.kill'), '1')
    for (let waited = 0; isPopulated(directory) && waited < PATIENCE_MS; waited += 5) await pause(5)
    removeTree(directory)
  } catch (error) {
    // Gone already, or just now: the monitor removes it too.
    if (!['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) throw error
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
