import * as fs from 'node:fs'
import { cString, syscall, trySyscall } from '../syscall/call.ts'
import { SyscallError, errnoName } from '../syscall/errno.ts'
import { TscrunError } from '../model/errors.ts'
import type { ExtractedLayer } from './extraction.ts'
import { baseOf, parentOf, show } from './extractor/names.ts'

const O_PATH = 0o10000000
const O_CLOEXEC = 0o2000000
const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants
const RESOLVE_NO_XDEV = 1
const RESOLVE_NO_MAGICLINKS = 2
const RESOLVE_NO_SYMLINKS = 4
const RESOLVE_BENEATH = 8

/** The layers below one, top first, and the layer itself, as directory descriptors. */
interface Stack {
  readonly root: number
  readonly lowers: readonly number[]
}

/**
 * What a layer's archive left to the layers below: owner, mode and time of directories it only implied, files it
 * only links to. Names come from the archive, so every path is resolved by openat2 without symlinks.
 */
export function inheritFromLower(tree: string, lowers: readonly string[], layer: ExtractedLayer): void {
  if (layer.missingLinks.length === 0 && (lowers.length === 0 || layer.implied.length === 0)) return
  const stack: Stack = { root: openRoot(tree), lowers: lowers.toReversed().map(openRoot) }
  try {
    const implied = new Set(layer.implied)
    for (const [name, target] of layer.missingLinks) {
      linkToLower(stack, Buffer.from(name, 'latin1'), Buffer.from(target, 'latin1'), implied)
    }
    for (const name of implied) inheritDirectory(stack, Buffer.from(name, 'latin1'))
  } finally {
    for (const fd of [stack.root, ...stack.lowers]) fs.closeSync(fd)
  }
}

function openRoot(path: string): number {
  return fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
}

function inheritDirectory({ root, lowers }: Stack, name: Buffer): void {
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
      setTime(fd, stats.mtimeNs)
    } finally {
      fs.closeSync(fd)
    }
  } finally {
    fs.closeSync(lower)
  }
}

/**
 * A hard link to a file of a layer below copies that file up and links to the copy, which is what happens to a
 * container that makes such a link on overlayfs.
 */
function linkToLower(stack: Stack, name: Buffer, target: Buffer, implied: Set<string>): void {
  const from = directoryFor(stack.root, parentOf(target), implied)
  const to = directoryFor(stack.root, parentOf(name), implied)
  try {
    const there = openBeneath(from, baseOf(target), O_PATH | O_NOFOLLOW)
    if (typeof there === 'number') fs.closeSync(there)
    else copyUp(stack, target, below(from, baseOf(target)))
    fs.rmSync(below(to, baseOf(name)), { force: true })
    syscall('linkat', [from, cString(baseOf(target)), to, cString(baseOf(name)), 0], name.toString())
  } finally {
    fs.closeSync(from)
    fs.closeSync(to)
  }
}

/** A name in a directory that is held open: only the last component is looked up. */
function below(directory: number, base: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), base])
}

/** Opens a directory of the layer, making what is missing of it. */
function directoryFor(root: number, name: Buffer, implied: Set<string>): number {
  const found = openBeneath(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  if (typeof found === 'number') return found
  if (found !== 'ENOENT') throw badLayer(`${show(name)} is no directory`)
  const parent = directoryFor(root, parentOf(name), implied)
  try {
    fs.mkdirSync(below(parent, baseOf(name)), { mode: 0o755 })
    implied.add(name.toString('latin1'))
    return fs.openSync(below(parent, baseOf(name)), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  } finally {
    fs.closeSync(parent)
  }
}

function badLayer(reason: string): TscrunError {
  return new TscrunError('INVALID_IMAGE', `unpack layer: ${reason}`)
}

function copyUp({ lowers }: Stack, target: Buffer, copy: Buffer): void {
  const found = findInLowers(lowers, target)
  if (found === undefined) throw badLayer(`a hard link to ${show(target)}, which no layer has`)
  try {
    if (!fs.fstatSync(found).isFile())
      throw badLayer(`a hard link to ${show(target)}, which is no file of a lower layer`)
    const source = fs.openSync(`/proc/self/fd/${found}`, O_RDONLY)
    const destination = fs.openSync(copy, 'wx', 0o600)
    try {
      copyContent(source, destination)
      copyAttributes(source, destination)
    } finally {
      fs.closeSync(source)
      fs.closeSync(destination)
    }
  } finally {
    fs.closeSync(found)
  }
}

function copyContent(source: number, destination: number): void {
  const buffer = Buffer.allocUnsafeSlow(1 << 20)
  for (;;) {
    const size = fs.readSync(source, buffer)
    if (size === 0) return
    for (let at = 0; at < size; ) at += fs.writeSync(destination, buffer, at, size - at)
  }
}

/** Owner first: a change of it takes set-id bits and capabilities away. */
function copyAttributes(source: number, destination: number): void {
  const stats = fs.fstatSync(source, { bigint: true })
  fs.fchownSync(destination, Number(stats.uid), Number(stats.gid))
  fs.fchmodSync(destination, Number(stats.mode) & 0o7777)
  const value = Buffer.alloc(64)
  const size = trySyscall('fgetxattr', [source, cString('security.capability'), value, value.length])
  if (size > 0) syscall('fsetxattr', [destination, cString('security.capability'), value, size, 0])
  else if (size < 0 && errnoName(-size) !== 'ENODATA' && errnoName(-size) !== 'EOPNOTSUPP') {
    throw new SyscallError('fgetxattr', -size)
  }
  setTime(destination, stats.mtimeNs)
}

function setTime(fd: number, nanoseconds: bigint): void {
  const second = 1_000_000_000n
  const remainder = ((nanoseconds % second) + second) % second
  const time = [(nanoseconds - remainder) / second, remainder]
  syscall('utimensat', [fd, 0, new Uint8Array(new BigInt64Array([...time, ...time]).buffer), 0])
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
