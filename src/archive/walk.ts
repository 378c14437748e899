import type * as fs from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import { namesIn, openBelow, statOf, unlessErrno } from '../syscall/at.ts'
import { openFlags } from '../syscall/flags.ts'
import { closeFd } from '../syscall/process.ts'

/** One name of a tree while it is walked. */
export interface Found {
  /** Below the root of the walk, without a slash at either end; empty for the root itself. */
  readonly path: Buffer
  /** An O_PATH descriptor, open until the next one is asked for. */
  readonly fd: number
  readonly stats: fs.BigIntStats
}

export interface WalkOptions {
  /** Whether to go into a directory. */
  readonly enter?: (directory: Found) => boolean
}

/** A directory nested deeper than this has so many descriptors open that others would have none. */
const MAX_DEPTH = 4096
/** Between the look at a directory's names and the look at one of them it was taken away, or became a link. */
const GONE = ['ENOENT', 'ENOTDIR', 'ELOOP']

/**
 * All that is below a directory, each directory before what it holds, names in the order of their bytes. Every name is
 * looked up below the descriptor of its directory and no link is followed: whatever is swapped meanwhile, nothing outside is
 * ever found (CVE-2018-15664). What disappears meanwhile is left out.
 */
export function* walkTree(root: number, options: WalkOptions = {}): Generator<Found> {
  const path = Buffer.alloc(0)
  const top: Found = { path, fd: root, stats: statOf(root) }
  yield top
  if (options.enter?.(top) === false) return
  yield* walkBelow(top, options, 0)
}

function* walkBelow(directory: Found, options: WalkOptions, depth: number): Generator<Found> {
  if (depth > MAX_DEPTH) {
    throw new TscrunError('LIMIT_EXCEEDED', `walk a tree: directories nested deeper than ${MAX_DEPTH}`)
  }
  for (const name of namesIn(directory.fd)) {
    const fd = unlessErrno(GONE, () => openBelow(directory.fd, name, openFlags.path | openFlags.nofollow))
    if (fd === undefined) continue
    try {
      const found = { path: joinNames(directory.path, name), fd, stats: statOf(fd) }
      yield found
      if (found.stats.isDirectory() && options.enter?.(found) !== false) yield* walkBelow(found, options, depth + 1)
    } finally {
      closeFd(fd)
    }
  }
}

export function joinNames(directory: Uint8Array, name: Uint8Array): Buffer {
  return directory.length === 0 ? Buffer.from(name) : Buffer.concat([directory, Buffer.from('/'), name])
}
