import * as fs from 'node:fs'
import { cString, syscall, trySyscall } from '../syscall/call.ts'
import { SyscallError, errnoName } from '../syscall/errno.ts'
import { closeFd } from '../syscall/process.ts'
import { TscrunError } from '../model/errors.ts'
import { tooMuch } from './budget.ts'
import { copyAttributes, copyContent } from './copy-file.ts'
import { OPAQUE, WHITEOUT } from './extractor/marks.ts'
import { baseOf, inDirectory, parentOf, show } from './extractor/names.ts'
import type { UnpackedLayer } from './extractor/protocol.ts'
import { isMarkedLayer } from './layout.ts'

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
  readonly lowers: readonly Lower[]
  /** Bytes that are about to be copied. */
  readonly count: (bytes: number) => void
  /** Called for each layer that is asked for a name. */
  readonly asked: () => void
  /** Directories that no layer has, so none of what is in them either. */
  readonly missing: Set<string>
}

export interface InheritOptions {
  /** Told the sum of bytes before each copy; may throw. */
  readonly onCopied: (bytes: number) => void
  /** How often a layer below may be asked for a name: some seconds' worth without it. */
  readonly maxLookups?: number
}

/** Ten thousand directories that no member describes, in an image of a hundred layers, each 10 deep. */
const MAX_LOOKUPS = 10_000_000

interface Lower {
  readonly fd: number
  /** It may have marks by name. */
  readonly marked: boolean
}

/**
 * What a layer's archive left to the layers below: owner, mode, time and attributes of directories it only
 * implied, files it only links to. Names come from the archive, so every path is resolved by openat2 without symlinks.
 * Answers how many bytes were copied.
 */
export function inheritFromLower(
  tree: string,
  lowers: readonly string[],
  layer: Pick<UnpackedLayer, 'implied' | 'missingLinks'>,
  { onCopied, maxLookups = MAX_LOOKUPS }: InheritOptions,
): number {
  if (layer.missingLinks.length === 0 && (lowers.length === 0 || layer.implied.length === 0)) return 0
  let copied = 0
  const count = (bytes: number): void => onCopied((copied += bytes))
  let lookups = 0
  const asked = (): void => {
    if (++lookups > maxLookups) throw tooMuch(`more than ${maxLookups} lookups in the layers below it`)
  }
  const stack: Stack = {
    root: openRoot(tree),
    lowers: lowers.toReversed().map(openLower),
    count,
    asked,
    missing: new Set(),
  }
  try {
    const implied = new Set(layer.implied)
    for (const [name, target] of layer.missingLinks) {
      linkToLower(stack, Buffer.from(name, 'latin1'), Buffer.from(target, 'latin1'), implied)
    }
    for (const name of implied) inheritDirectory(stack, Buffer.from(name, 'latin1'))
    return copied
  } finally {
    for (const fd of [stack.root, ...stack.lowers.map((lower) => lower.fd)]) fs.closeSync(fd)
  }
}

/** What a stack of layers shows, looked up as the layer above it would. */
export interface LowerFiles extends Disposable {
  /** An O_PATH descriptor, to be closed by `closeFd`; undefined where the layers have nothing of this name. */
  find(name: Buffer): number | undefined
}

/** @param paths absolute directories of the layers, bottom to top */
export function openLowers(paths: readonly string[]): LowerFiles {
  const lowers = paths.toReversed().map(openLower)
  return {
    find: (name) => findInLowers({ lowers, asked: () => undefined }, name),
    [Symbol.dispose]: () => {
      for (const { fd } of lowers) fs.closeSync(fd)
    },
  }
}

function openRoot(path: string): number {
  return fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
}

function openLower(path: string): Lower {
  return { fd: openRoot(path), marked: isMarkedLayer(path) }
}

function inheritDirectory(stack: Stack, name: Buffer): void {
  const { root, missing } = stack
  const key = name.toString('latin1')
  const parent = parentOf(name).toString('latin1')
  const found = name.length > 0 && missing.has(parent) ? undefined : findInLowers(stack, name)
  if (found === undefined) return void missing.add(key)
  try {
    const stats = fs.fstatSync(found, { bigint: true })
    if (!stats.isDirectory()) return
    const fd = openBeneath(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    if (typeof fd !== 'number') return
    const lower = fs.openSync(`/proc/self/fd/${found}`, O_RDONLY | O_DIRECTORY)
    try {
      copyAttributes(lower, fd, stats)
    } finally {
      fs.closeSync(lower)
      closeFd(fd)
    }
  } finally {
    closeFd(found)
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
    if (typeof there === 'number') refuseDirectory(there, target)
    else copyUp(stack, target, below(from, baseOf(target)))
    removeName(to, name)
    syscall('linkat', [from, cString(baseOf(target)), to, cString(baseOf(name)), 0], name.toString())
  } finally {
    closeFd(from)
    closeFd(to)
  }
}

/** What a link replaces. A directory is there only as a parent of what it links to. */
function removeName(directory: number, name: Buffer): void {
  const there = openBeneath(directory, baseOf(name), O_PATH | O_NOFOLLOW)
  if (typeof there !== 'number') return
  if (isDirectory(there)) throw badLayer(`${show(name)} is a hard link, and a directory`)
  fs.unlinkSync(below(directory, baseOf(name)))
}

function refuseDirectory(fd: number, target: Buffer): void {
  if (isDirectory(fd)) throw badLayer(`a hard link to the directory ${show(target)}`)
}

/** Closes it, too. */
function isDirectory(fd: number): boolean {
  try {
    return fs.fstatSync(fd).isDirectory()
  } finally {
    closeFd(fd)
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
    const made = openBeneath(parent, baseOf(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    if (typeof made === 'number') return made
    throw badLayer(`${show(name)} is no directory`)
  } finally {
    closeFd(parent)
  }
}

function badLayer(reason: string): TscrunError {
  return new TscrunError('INVALID_IMAGE', `unpack layer: ${reason}`)
}

function copyUp(stack: Stack, target: Buffer, copy: Buffer): void {
  const found = findInLowers(stack, target)
  if (found === undefined) throw badLayer(`a hard link to ${show(target)}, which no layer has`)
  try {
    const stats = fs.fstatSync(found, { bigint: true })
    if (!stats.isFile()) throw badLayer(`a hard link to ${show(target)}, which is no file of a lower layer`)
    stack.count(Math.min(Number(stats.size), Number(stats.blocks) * 512))
    const source = fs.openSync(`/proc/self/fd/${found}`, O_RDONLY)
    const destination = fs.openSync(copy, 'wx', 0o600)
    try {
      copyContent(source, destination, stats)
      copyAttributes(source, destination, stats)
    } finally {
      fs.closeSync(source)
      fs.closeSync(destination)
    }
  } finally {
    closeFd(found)
  }
}

/** What a name is in the stack of layers, top first, as overlayfs would see it: an O_PATH descriptor. */
function findInLowers({ lowers, asked }: Pick<Stack, 'lowers' | 'asked'>, name: Buffer): number | undefined {
  for (const lower of lowers) {
    asked()
    const fd = openBeneath(lower.fd, name, O_PATH | O_NOFOLLOW)
    if (typeof fd === 'number') return fd
    if (hides(lower, name, asked)) return undefined
  }
  return undefined
}

/** True where a layer, not having a name itself, keeps the layers below it from showing theirs. */
function hides({ fd, marked }: Lower, name: Buffer, asked: () => void): boolean {
  for (let part = name; part.length > 0; part = parentOf(part)) {
    asked()
    if (part !== name && endsMerging(fd, part)) return true
    if (!marked) continue
    const marks = [Buffer.concat([WHITEOUT, baseOf(part)]), OPAQUE]
    if (marks.some((mark) => isFile(fd, inDirectory(parentOf(part), mark)))) return true
  }
  return false
}

/** A whiteout or a file where a directory would be, or a directory with overlayfs' mark. */
function endsMerging(lower: number, name: Buffer): boolean {
  const fd = openBeneath(lower, name, O_PATH | O_NOFOLLOW)
  if (fd === 'ENOENT') return false
  if (typeof fd !== 'number') return true
  try {
    return !fs.fstatSync(fd).isDirectory() || isOpaque(fd)
  } finally {
    closeFd(fd)
  }
}

function isFile(lower: number, name: Buffer): boolean {
  const fd = openBeneath(lower, name, O_PATH | O_NOFOLLOW)
  if (typeof fd !== 'number') return false
  try {
    return fs.fstatSync(fd).isFile()
  } finally {
    closeFd(fd)
  }
}

function isOpaque(fd: number): boolean {
  const value = Buffer.alloc(8)
  const path = cString(`/proc/self/fd/${fd}/.`)
  const size = trySyscall('lgetxattr', [path, cString('trusted.overlay.opaque'), value, value.length])
  if (size >= 0) return value.subarray(0, size).toString() === 'y'
  if (errnoName(-size) === 'ENODATA' || errnoName(-size) === 'EOPNOTSUPP') return false
  throw new SyscallError('lgetxattr', -size)
}

/**
 * Opens a path below a directory without following any link; answers the errno where there is nothing to open. Node has
 * not opened it and warns where it closes it: `closeFd` does.
 */
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
