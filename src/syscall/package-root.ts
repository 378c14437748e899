import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

let found: string | undefined

/**
 * The directory of tscrun's own package.json: usually two levels above this file (src/syscall/, dist/run/, dist/cli/,
 * dist/lib/), one above dist/index.js.
 */
export function packageRoot(): string {
  if (found !== undefined) return found
  const here = import.meta.dirname
  let root = dirname(dirname(here))
  if (!isRoot(root)) root = dirname(here)
  while (!isRoot(root)) {
    if (dirname(root) === root) throw new Error(`tscrun: its package.json is not above ${here}`)
    root = dirname(root)
  }
  found = root
  return root
}

function isRoot(directory: string): boolean {
  return existsSync(join(directory, 'native', 'plan.h')) || existsSync(join(directory, 'native', process.arch))
}
