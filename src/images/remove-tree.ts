import * as fs from 'node:fs'
import { errnoOf } from '../model/errors.ts'
import { uniqueWord } from './files.ts'

/** Longest path that surely bears one more component (NAME_MAX 255, PATH_MAX 4096). */
const SHORT_PATH = 3500

/**
 * Deletes a tree, a file or nothing. An archive can nest directories deeper than a path may be long, through
 * symlinks to its own directories, and deeper than a stack of calls (fs.rm is recursive): branches that deep are
 * first moved into `aside`, a directory of the same file system. `onDirectory` is told the name of each directory.
 */
export function removeTree(tree: string | Buffer, aside: string, onDirectory?: (name: Buffer) => void): void {
  const root = Buffer.from(tree)
  const stats = lstatIfThere(root)
  if (stats === undefined) return
  if (!stats.isDirectory()) return fs.unlinkSync(root)
  // Directories seen, each before those in it: in reverse they are empty when their turn comes.
  const found: { readonly path: Buffer; readonly name: Buffer }[] = [{ path: root, name: root }]
  for (const directory of found) {
    for (const entry of fs.readdirSync(directory.path, { withFileTypes: true, encoding: 'buffer' })) {
      const path = below(directory.path, entry.name)
      if (!entry.isDirectory()) fs.unlinkSync(path)
      else {
        const name = onDirectory === undefined ? root : below(directory.name, entry.name)
        found.push({ path: path.length < SHORT_PATH ? path : moveAside(path, aside), name })
      }
    }
  }
  for (const { path, name } of found.toReversed()) {
    fs.rmdirSync(path)
    onDirectory?.(name)
  }
}

function below(directory: Buffer, base: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), base])
}

function moveAside(path: Buffer, aside: string): Buffer {
  const branch = Buffer.from(`${aside}/${DOOMED}${uniqueWord()}`)
  fs.renameSync(path, branch)
  return branch
}

/** What a tree is called once it is only there to be deleted. */
export const DOOMED = 'doomed-'

function lstatIfThere(path: Buffer): fs.Stats | undefined {
  try {
    return fs.lstatSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}
