import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf } from '../../model/errors.ts'

/** With the directories above it. Node's own recursive mkdir says ENOENT where the filesystem is read-only. */
export function makeDirectory(path: string): void {
  try {
    makeOne(path)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    makeDirectory(dirname(path))
    makeOne(path)
  }
}

/** Another start may make it at the same time. */
function makeOne(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST' || !statSync(path).isDirectory()) throw error
  }
}
