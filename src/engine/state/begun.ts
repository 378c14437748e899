import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import type { EnginePaths } from '../paths.ts'

/**
 * A container that is begun before it is wanted (prepared/ahead.ts) has a cgroup and addresses, and nothing else that
 * could be found; it gives them back itself, unless it is killed.
 */
export const BEGUN_MS = 10_000

/** Whether a link of no container here may hold an address of one that is begun. */
export function isBegun(paths: Pick<EnginePaths, 'root'>, link: string): boolean {
  if (!link.startsWith(join(paths.root, 'leases/'))) return false
  const made = lstatSync(link, { throwIfNoEntry: false })?.mtimeMs
  return made !== undefined && Date.now() - made <= BEGUN_MS
}
