import * as fs from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { removeTree } from '../remove-tree.ts'
import { setTimesOfName } from './kernel.ts'
import { isWhiteout, marksOf, OPAQUE, type OverlayPrefix, WHITEOUT } from './marks.ts'
import type { Meter } from './meter.ts'
import { baseOf, inDirectory, parentOf, show } from './names.ts'
import { badTar, type TarTime } from './tar-numbers.ts'

/**
 * The directory a layer is written into, seen as `/` of this process. It knows which directories the archive
 * only implied, and keeps their times until everything below them is written.
 */
export interface Tree {
  /** Runs `make`; where the parent is missing or the name is taken, mends that and runs it once more. */
  create(path: Buffer, make: () => void): void
  /** So many files were made without `create`: their names were free, in directories that were there. */
  made(count: number): void
  /** Makes a directory or keeps the one that is there. */
  directory(path: Buffer, mode: number): void
  /** Hides what lower layers have under a name that is free. */
  whiteout(path: Buffer): void
  /** Marks a directory as hiding what lower layers have in it. */
  opaque(path: Buffer): void
  setDirectoryTime(path: Buffer, time: TarTime): void
  /** True while a directory hands its group on to what is made in it. */
  groupsInherited: boolean
  /** Sets the times of directories; answers those no member described. */
  finish(): readonly Buffer[]
  readonly inodes: () => number
  /** True once something has been hidden by a mark that is a name. */
  readonly marked: () => boolean
}

/** Bytes as a map key. */
const keyOf = (path: Buffer): string => path.toString('latin1')

export function createTree(overlay: OverlayPrefix, meter: Meter): Tree {
  const implied = new Set<string>([''])
  const times = new Map<string, TarTime>()
  let inodes = 0
  let marked = false
  const marks = marksOf(overlay)

  function whiteout(path: Buffer): void {
    if (marks.ofOverlay()) create(path, () => marks.whiteout(path))
    else mark(inDirectory(parentOf(path), Buffer.concat([WHITEOUT, baseOf(path)])))
  }

  function opaque(path: Buffer): void {
    if (marks.ofOverlay()) marks.opaque(path)
    else mark(inDirectory(path, OPAQUE))
  }

  function mark(path: Buffer): void {
    create(path, () => fs.closeSync(fs.openSync(path, 'wx', 0o600)))
    marked = true
  }

  function makeParents(path: Buffer): void {
    const parent = parentOf(path)
    if (parent.length === 0) return
    const there = lstat(parent)
    if (there === undefined) {
      makeParents(parent)
      inodes++
      meter.entry()
      meter.name(parent)
      fs.mkdirSync(parent, { mode: 0o755 })
      implied.add(keyOf(parent))
    } else if (isWhiteout(there)) {
      replaceWhiteout(parent)
    } else if (!there.isDirectory() && !there.isSymbolicLink()) {
      throw badTar(`${show(path)} lies below ${show(parent)}, which is no directory`)
    } else makeParents(parent)
  }

  /** A layer may remove a lower name and make it anew: what is below must then not shine through. */
  function replaceWhiteout(path: Buffer): void {
    fs.unlinkSync(path)
    fs.mkdirSync(path, { mode: 0o755 })
    implied.add(keyOf(path))
    opaque(path)
  }

  function create(path: Buffer, make: () => void): void {
    if (path.length === 0) throw badTar('the root is not a directory')
    inodes++
    const reason = attempt(make)
    if (reason === undefined) return
    if (reason === 'EEXIST') clear(path)
    else makeParents(path)
    // Now a failure is final, except that mended parents may show the name as taken after all.
    if (attempt(make) === undefined) return
    clear(path)
    make()
  }

  /** The last member of a name wins. */
  function clear(path: Buffer): void {
    const there = lstat(path)
    if (there?.isDirectory()) {
      removeTree(path, '.', forget)
    } else if (there !== undefined) fs.unlinkSync(path)
  }

  function forget(path: Buffer): void {
    implied.delete(keyOf(path))
    times.delete(keyOf(path))
  }

  function directory(path: Buffer, mode: number): void {
    if (path.length === 0) {
      implied.delete('')
      return
    }
    const there = lstat(path)
    if (there === undefined) create(path, () => fs.mkdirSync(path, { mode }))
    else if (isWhiteout(there)) replaceWhiteout(path)
    else if (!there.isDirectory()) create(path, () => fs.mkdirSync(path, { mode }))
    implied.delete(keyOf(path))
  }

  function finish(): readonly Buffer[] {
    for (const [key, time] of [...times].reverse()) {
      try {
        setTimesOfName(key === '' ? Buffer.from('.') : Buffer.from(key, 'latin1'), time)
      } catch (error) {
        // Reached through a symlink when it was made, and since then replaced under its other name.
        if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error
      }
    }
    return [...implied].map((key) => Buffer.from(key, 'latin1'))
  }

  return {
    create,
    made: (count) => void (inodes += count),
    directory,
    whiteout,
    opaque,
    setDirectoryTime: (path, time) => {
      meter.name(path)
      times.set(keyOf(path), time)
    },
    groupsInherited: false,
    finish,
    inodes: () => inodes,
    marked: () => marked,
  }
}

/** EEXIST, ENOENT or ENOTDIR, which can be mended; anything else is thrown on. */
function attempt(make: () => void): 'EEXIST' | 'ENOENT' | 'ENOTDIR' | undefined {
  try {
    make()
    return undefined
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'EEXIST' || errno === 'ENOENT' || errno === 'ENOTDIR') return errno
    throw error
  }
}

export function lstat(path: Buffer): fs.Stats | undefined {
  try {
    return fs.lstatSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined
    throw error
  }
}
