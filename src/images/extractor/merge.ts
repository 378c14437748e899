import * as fs from 'node:fs'
import { cString, trySyscall } from '../../syscall/call.ts'
import { SyscallError, errnoName } from '../../syscall/errno.ts'
import { copyAttributes, copyContent, timeOf } from '../copy-file.ts'
import { makeNode, setTimesOfName } from './kernel.ts'
import { isWhiteout, OPAQUE, WHITEOUT } from './marks.ts'
import { inDirectory } from './names.ts'
import type { MergedTree } from './protocol.ts'

/** What one layer has in one directory. */
export interface Listing {
  readonly members: readonly { readonly name: Buffer; readonly directory: boolean }[]
  /** Names the layer hides. It may have one of them itself: then only what lies below it is hidden. */
  readonly whiteouts: readonly Buffer[]
  readonly opaque: boolean
}

/** One name of the merged directory: the listings it comes from, by number; several for a directory that is merged. */
export interface Merged {
  readonly name: Buffer
  readonly from: readonly number[]
}

/** Bytes as a map key. */
const keyOf = (name: Buffer): string => name.toString('latin1')

/** What a directory shows whose layers are listed from the top one down, as overlayfs merges them. */
export function mergeListings(listings: readonly Listing[]): readonly Merged[] {
  const found = new Map<string, { readonly name: Buffer; readonly from: number[]; open: boolean }>()
  const hidden = new Set<string>()
  for (const [index, { members, whiteouts, opaque }] of listings.entries()) {
    for (const { name, directory } of members) {
      const key = keyOf(name)
      const above = found.get(key)
      if (above === undefined) {
        if (!hidden.has(key)) found.set(key, { name, from: [index], open: directory })
      } else if (above.open && directory) above.from.push(index)
      // What is no directory ends the merging: it hides all below it.
      else above.open = false
    }
    for (const name of whiteouts) {
      const above = found.get(keyOf(name))
      if (above !== undefined) above.open = false
      hidden.add(keyOf(name))
    }
    if (opaque) break
  }
  return [...found.values()]
}

/** A directory that is being merged: its path, and the layers that have a part of it, top first. */
interface Place {
  readonly path: Buffer
  readonly layers: readonly Buffer[]
}

/**
 * Copies what a stack of layers shows into an empty directory. Both kinds of marks are understood. Nobody else writes
 * in any of them meanwhile, and no symlink is followed: only what has been seen to be a directory is entered.
 *
 * @param layers directories, bottom to top
 */
export function mergeLayers(target: Buffer, layers: readonly Buffer[]): MergedTree {
  const root: Place = { path: Buffer.alloc(0), layers: layers.toReversed() }
  const places = [root]
  const copy = createCopier()
  let inodes = 0
  // It grows while it is walked: a directory comes after the one it is in.
  for (const { path, layers: parts } of places) {
    for (const { name, from } of mergeListings(parts.map((layer) => listLayer(inDirectory(layer, path))))) {
      const child = inDirectory(path, name)
      const owners = from.flatMap((part) => parts[part] ?? [])
      const [top] = owners
      if (top === undefined) throw new Error(`${child.toString()} is of no layer`)
      inodes++
      const made = copy(inDirectory(top, child), inDirectory(target, child))
      if (made === 'directory') places.push({ path: child, layers: owners })
    }
  }
  // Upwards: what is made in a directory changes its time, and inherits from its set-group-id bit and its default ACL.
  for (const { path, layers: parts } of places.toReversed()) {
    if (parts[0] !== undefined) copyDirectoryAttributes(inDirectory(parts[0], path), inDirectory(target, path))
  }
  return { inodes }
}

/** Marks are plain files: an archive can bring a directory of such a name (`.wh.x/file`), which means nothing. */
export function listLayer(directory: Buffer): Listing {
  const members: { readonly name: Buffer; readonly directory: boolean }[] = []
  const whiteouts: Buffer[] = []
  let opaque = isOpaque(directory)
  for (const entry of fs.readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })) {
    const { name } = entry
    if (entry.isFile() && name.equals(OPAQUE)) opaque = true
    else if (entry.isFile() && name.subarray(0, WHITEOUT.length).equals(WHITEOUT)) {
      whiteouts.push(name.subarray(WHITEOUT.length))
    } else if (entry.isCharacterDevice() && isWhiteout(fs.lstatSync(inDirectory(directory, name)))) whiteouts.push(name)
    else members.push({ name, directory: entry.isDirectory() })
  }
  return { members, whiteouts, opaque }
}

function isOpaque(directory: Buffer): boolean {
  const value = Buffer.alloc(4)
  const size = trySyscall('lgetxattr', [cString(directory), cString('trusted.overlay.opaque'), value, value.length])
  if (size >= 0) return value.toString('latin1', 0, size) === 'y'
  const errno = errnoName(-size)
  if (errno === 'ENODATA' || errno === 'EOPNOTSUPP') return false
  throw new SyscallError('lgetxattr', -size, directory.toString())
}

/** Copies one name with all that belongs to it, of a directory only its existence. */
function createCopier(): (source: Buffer, destination: Buffer) => 'directory' | 'other' {
  // Names of files with several, by inode: they are one file in the copy too.
  const linked = new Map<string, Buffer>()

  function copyFile(source: Buffer, destination: Buffer, stats: fs.BigIntStats): void {
    const key = `${stats.dev}:${stats.ino}`
    const first = stats.nlink > 1n ? linked.get(key) : undefined
    if (first !== undefined) return fs.linkSync(first, destination)
    const [from, to] = [openFile(source), fs.openSync(destination, 'wx', 0o600)]
    try {
      copyContent(from, to, stats)
      copyAttributes(from, to, stats)
    } finally {
      fs.closeSync(from)
      fs.closeSync(to)
    }
    if (stats.nlink > 1n) linked.set(key, destination)
  }

  return (source, destination) => {
    const stats = fs.lstatSync(source, { bigint: true })
    if (stats.isDirectory()) {
      fs.mkdirSync(destination, { mode: 0o700 })
      return 'directory'
    }
    if (stats.isFile()) copyFile(source, destination, stats)
    else copySpecial(source, destination, stats)
    return 'other'
  }
}

function openFile(path: Buffer): number {
  return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW)
}

function copySpecial(source: Buffer, destination: Buffer, stats: fs.BigIntStats): void {
  const mode = Number(stats.mode) & 0o7777
  if (stats.isSymbolicLink()) fs.symlinkSync(fs.readlinkSync(source, { encoding: 'buffer' }), destination)
  else {
    const type = stats.isFIFO() ? 'fifo' : stats.isBlockDevice() ? 'block' : 'char'
    makeNode(destination, type, mode, major(stats.rdev), minor(stats.rdev))
  }
  fs.lchownSync(destination, Number(stats.uid), Number(stats.gid))
  // Not of a symlink: it has no mode of its own, and this would follow it.
  if (!stats.isSymbolicLink()) fs.chmodSync(destination, mode)
  setTimesOfName(destination, timeOf(stats.mtimeNs))
}

/** Of a device number as stat(2) tells it (makedev(3)). */
function major(device: bigint): number {
  return Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n))
}

function minor(device: bigint): number {
  return Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n))
}

function copyDirectoryAttributes(source: Buffer, destination: Buffer): void {
  const [from, to] = [openFile(source), openFile(destination)]
  try {
    copyAttributes(from, to, fs.fstatSync(from, { bigint: true }))
  } finally {
    fs.closeSync(from)
    fs.closeSync(to)
  }
}
