import * as fs from 'node:fs'
import { cString, syscall, trySyscall } from '../syscall/call.ts'
import { SyscallError, errnoName } from '../syscall/errno.ts'
import type { ExtractedLayer } from './extraction.ts'

const O_PATH = 0o10000000
const O_CLOEXEC = 0o2000000
const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants
const RESOLVE_NO_XDEV = 1
const RESOLVE_NO_MAGICLINKS = 2
const RESOLVE_NO_SYMLINKS = 4
const RESOLVE_BENEATH = 8

/**
 * What a layer's archive left to the layers below: owner, mode and time of directories it only implied, files it
 * only links to. Names come from the archive, so every path is resolved by openat2 without symlinks.
 */
export function inheritFromLower(tree: string, lowers: readonly string[], layer: ExtractedLayer): void {
  if (lowers.length === 0 || layer.implied.length === 0) return
  const roots = [...lowers].reverse().map(openRoot)
  const root = openRoot(tree)
  try {
    // Deepest first: giving a directory its time comes after making things in it.
    for (const name of layer.implied) inheritDirectory(root, roots, Buffer.from(name, 'latin1'))
  } finally {
    for (const fd of [root, ...roots]) fs.closeSync(fd)
  }
}

function openRoot(path: string): number {
  return fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
}

function inheritDirectory(root: number, lowers: readonly number[], name: Buffer): void {
  const lower = findInLowers(lowers, name)
  if (lower === undefined) return
  try {
    const stats = fs.fstatSync(lower, { bigint: true })
    if (!stats.isDirectory()) return
    const fd = openBeneath(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    if (typeof fd !== 'number') return
    try {
      fs.fchownSync(fd, Number(stats.uid), Number(stats.gid))
      fs.fchmodSync(fd, Number(stats.mode) & 0o7777)
      const second = 1_000_000_000n
      const time = [stats.mtimeNs / second, stats.mtimeNs % second]
      syscall('utimensat', [fd, 0, new Uint8Array(new BigInt64Array([...time, ...time]).buffer), 0])
    } finally {
      fs.closeSync(fd)
    }
  } finally {
    fs.closeSync(lower)
  }
}

/** What a name is in the stack of layers, top first, as overlayfs would see it: an O_PATH descriptor. */
function findInLowers(lowers: readonly number[], name: Buffer): number | undefined {
  for (const lower of lowers) {
    const fd = openBeneath(lower, name, O_PATH | O_NOFOLLOW)
    if (typeof fd === 'number') return fd
    if (hides(lower, name)) return undefined
  }
  return undefined
}

/** True where a layer, not having a name itself, keeps the layers below it from showing theirs. */
function hides(lower: number, name: Buffer): boolean {
  for (let slash = name.lastIndexOf(0x2f); slash > 0; slash = name.lastIndexOf(0x2f, slash - 1)) {
    const parent = openBeneath(lower, name.subarray(0, slash), O_PATH | O_NOFOLLOW)
    if (parent === 'ENOENT') continue
    if (typeof parent !== 'number') return true
    try {
      // A whiteout or a file where a directory would be, or a directory marked opaque.
      return !fs.fstatSync(parent).isDirectory() || isOpaque(parent)
    } finally {
      fs.closeSync(parent)
    }
  }
  return false
}

function isOpaque(fd: number): boolean {
  const value = Buffer.alloc(8)
  const path = cString(`/proc/self/fd/${fd}/.`)
  const size = trySyscall('lgetxattr', [path, cString('trusted.overlay.opaque'), value, value.length])
  if (size >= 0) return value.subarray(0, size).toString() === 'y'
  if (errnoName(-size) === 'ENODATA' || errnoName(-size) === 'EOPNOTSUPP') return false
  throw new SyscallError('lgetxattr', -size)
}

/** Opens a path below a directory without following any link; answers the errno where there is nothing to open. */
function openBeneath(root: number, name: Buffer, flags: number): number | 'ENOENT' | 'ENOTDIR' | 'ELOOP' {
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
  const how = new Uint8Array(new BigUint64Array([BigInt(flags | O_CLOEXEC), 0n, BigInt(resolve)]).buffer)
  const path = cString(name.length === 0 ? '.' : name)
  const result = trySyscall('openat2', [root, path, how, how.length])
  if (result >= 0) return result
  const errno = errnoName(-result)
  if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP') return errno
  throw new SyscallError('openat2', -result, name.toString())
}
