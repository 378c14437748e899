import * as fs from 'node:fs'
import { join } from 'node:path'
import { listDirectory } from '../files.ts'
import { reachable } from '../garbage.ts'
import type { StorePaths } from '../layout.ts'
import { tryLock } from '../lock.ts'

/** Something in the store that nothing leads to. */
export interface Leftover {
  readonly what: 'layer' | 'blob' | 'record' | 'work'
  /** Its file name. */
  readonly name: string
}

/** What killed commands have left of images; undefined where somebody uses the store, and it may be theirs. */
export function findLeftovers(paths: StorePaths, used: ReadonlySet<string>): readonly Leftover[] | undefined {
  if (!fs.existsSync(paths.root)) return []
  using alone = tryLock(paths.useLock, 'exclusive')
  if (alone === undefined) return undefined
  const kept = reachable(paths, used)
  const extra = (
    what: Leftover['what'],
    directory: string,
    names: ReadonlySet<string> | undefined,
  ): readonly Leftover[] =>
    listDirectory(directory)
      .filter((name) => names?.has(name) === false)
      .map((name) => ({ what, name }))
  return [
    ...extra('layer', paths.layers, kept.layers),
    ...extra('blob', paths.blobs, kept.blobs),
    ...extra('record', paths.records, kept.records),
    ...extra('work', paths.work, new Set()).filter(({ name }) => !isHeld(paths, name)),
  ]
}

/** What somebody has begun who lives. */
function isHeld(paths: StorePaths, name: string): boolean {
  const lockFile = join(paths.work, name.endsWith('.lock') ? name : `${name}.lock`)
  if (!fs.existsSync(lockFile)) return false
  using lock = tryLock(lockFile, 'exclusive')
  return lock === undefined
}
