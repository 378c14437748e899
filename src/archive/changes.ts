import type * as fs from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import { namesIn, openBelow, statOf, unlessErrno, xattrsOf } from '../syscall/at.ts'
import { openFlags } from '../syscall/flags.ts'
import { closeFd } from '../syscall/process.ts'
import { insideXattrs } from './member.ts'
import { insideId, type Owners, SAME_OWNERS } from './owners.ts'
import { joinNames } from './walk.ts'

export type ChangeKind = 'added' | 'changed' | 'deleted'

/** One name that a container has otherwise than its image. */
export interface Change {
  /** Below the root, without a slash at either end. */
  readonly path: Buffer
  readonly kind: ChangeKind
}

export interface Layers {
  /** Descriptors of directories: what the container wrote, and the layers below it from the top one down. */
  readonly upper: number
  readonly lowers: readonly number[]
  /** Of the upper; the lowers are not shifted. */
  readonly owners: Owners
  /** Paths that tscrun itself makes something at: not of the container's doing, where it is empty. */
  readonly own: ReadonlySet<string>
}

/** A directory that is compared: its part in the upper, and its parts in the layers below, top first. */
interface Place {
  readonly path: Buffer
  readonly fd: number
  readonly lowers: readonly number[]
  /** Nothing of the layers below shows through: what the upper does not have is gone. */
  readonly opaque: boolean
}

const NOT_THERE = ['ENOENT', 'ENOTDIR', 'ELOOP']

/**
 * What the topmost layer of an overlay says of those below it, as docker tells it: sorted by name, and a directory in which
 * something has changed is changed. A directory that is renamed is deleted and added.
 */
export function compareLayers(layers: Layers): readonly Change[] {
  const { changes } = compare({ path: Buffer.alloc(0), fd: layers.upper, lowers: layers.lowers, opaque: false }, layers)
  return changes.toSorted((a, b) => a.path.compare(b.path))
}

interface Compared {
  readonly changes: readonly Change[]
  /** There are only such names as tscrun itself has made. */
  readonly onlyOwn: boolean
}

function compare(place: Place, layers: Layers): Compared {
  const changes: Change[] = []
  const names = namesIn(place.fd)
  let own = 0
  for (const name of names) {
    const path = joinNames(place.path, name)
    const fd = unlessErrno(NOT_THERE, () => openBelow(place.fd, name, openFlags.path | openFlags.nofollow))
    if (fd === undefined) continue
    try {
      const found = compareName({ fd, path, stats: statOf(fd) }, name, place, layers)
      if (found === 'own') own++
      else changes.push(...found)
    } finally {
      closeFd(fd)
    }
  }
  if (place.opaque) changes.push(...hiddenBelow(place, names))
  return { changes, onlyOwn: own > 0 && own === names.length }
}

interface Named {
  readonly fd: number
  readonly path: Buffer
  readonly stats: fs.BigIntStats
}

function compareName(found: Named, name: Buffer, place: Place, layers: Layers): readonly Change[] | 'own' {
  const { path, stats } = found
  const below = look(place.lowers, name)
  try {
    if (isWhiteout(stats)) return below.kind === 'nothing' ? [] : [{ path, kind: 'deleted' }]
    if (!stats.isDirectory()) {
      if (below.kind !== 'nothing') return [{ path, kind: 'changed' }]
      return isOwn(found, layers) ? 'own' : [{ path, kind: 'added' }]
    }
    return compareDirectory(found, below, place, layers)
  } finally {
    for (const fd of below.fds) closeFd(fd)
  }
}

function compareDirectory(found: Named, below: Below, place: Place, layers: Layers): readonly Change[] | 'own' {
  const { fd, path } = found
  const marks = overlayMarks(found)
  const merged = below.kind === 'directory'
  const opaque = merged && (marks.opaque || place.opaque)
  const inside = compare({ path, fd, lowers: merged ? below.fds : [], opaque }, layers)
  const [lower] = below.fds
  if (!merged || lower === undefined) {
    if (below.kind === 'nothing' && (inside.onlyOwn || (inside.changes.length === 0 && isOwn(found, layers))))
      return 'own'
    return [{ path, kind: below.kind === 'nothing' ? 'added' : 'changed' }, ...inside.changes]
  }
  const same = inside.changes.length === 0 && isSame(found, lower, layers.owners)
  return same ? [] : [{ path, kind: 'changed' }, ...inside.changes]
}

/** What somebody has put something into is the container's. */
function isOwn({ path, stats }: Named, { own }: Layers): boolean {
  return own.has(path.toString('latin1')) && (stats.isDirectory() || (stats.isFile() && stats.size === 0n))
}

function isSame({ fd, stats }: Named, lower: number, owners: Owners): boolean {
  const other = statOf(lower)
  if (stats.mode !== other.mode) return false
  if (BigInt(insideId(owners.uids, Number(stats.uid))) !== other.uid) return false
  if (BigInt(insideId(owners.gids, Number(stats.gid))) !== other.gid) return false
  const [ours, theirs] = [insideXattrs(fd, owners), insideXattrs(lower, SAME_OWNERS)]
  return ours.size === theirs.size && [...ours].every(([name, value]) => theirs.get(name)?.equals(value) === true)
}

/** What the layers below have under a name, and descriptors to be closed. */
interface Below {
  readonly kind: 'nothing' | 'file' | 'directory'
  /** Of a directory its parts, top first; of anything else the one. */
  readonly fds: readonly number[]
}

function look(directories: readonly number[], name: Buffer): Below {
  const parts: number[] = []
  for (const parent of directories) {
    const fd = unlessErrno(NOT_THERE, () => openBelow(parent, name, openFlags.path | openFlags.nofollow))
    if (fd === undefined) continue
    const stats = statOf(fd)
    if (stats.isDirectory()) {
      parts.push(fd)
      if (overlayMarks({ fd }).opaque) break
      continue
    }
    // What is no directory ends the merging.
    if (parts.length > 0 || isWhiteout(stats)) {
      closeFd(fd)
      break
    }
    return { kind: 'file', fds: [fd] }
  }
  return { kind: parts.length === 0 ? 'nothing' : 'directory', fds: parts }
}

/** Names that the layers below show in a directory and the upper, which hides them all, does not have. */
function hiddenBelow({ path, lowers }: Place, names: readonly Buffer[]): readonly Change[] {
  const known = new Set(names.map((name) => name.toString('latin1')))
  const changes: Change[] = []
  for (const lower of lowers) {
    for (const name of namesIn(lower)) {
      const key = name.toString('latin1')
      if (known.has(key)) continue
      known.add(key)
      const below = look(lowers, name)
      for (const fd of below.fds) closeFd(fd)
      if (below.kind !== 'nothing') changes.push({ path: joinNames(path, name), kind: 'deleted' })
    }
  }
  return changes
}

export function isWhiteout(stats: fs.BigIntStats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0n
}

const MARKS = 'trusted.overlay.'

/** Overlayfs' own attributes. Throws HOST_UNSUPPORTED where a directory's content lies elsewhere (redirect_dir). */
function overlayMarks({ fd }: Pick<Named, 'fd'>): { readonly opaque: boolean } {
  const marks = xattrsOf(fd, (name) => name.startsWith(MARKS))
  if (marks.has(`${MARKS}redirect`)) {
    throw new TscrunError('HOST_UNSUPPORTED', "compare layers: the kernel's overlayfs renames directories in place", {
      hint: 'switch it off for new containers: echo N > /sys/module/overlay/parameters/redirect_dir; or use `tscrun export`',
    })
  }
  return { opaque: marks.get(`${MARKS}opaque`)?.toString('latin1') === 'y' }
}
