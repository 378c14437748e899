import type * as fs from 'node:fs'
import { kindOf, major, minor } from '../../archive/member.ts'
import { linkText, namesIn, openBelow, openPlace, statOf, xattrsOf } from '../../syscall/at.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'
import { inDirectory, show } from '../extractor/names.ts'
import type { LowerFiles } from '../lower.ts'
import { isHarmless } from '../xattrs.ts'
import { contentHash } from './content.ts'
import type { ExpectedTree } from './expected.ts'
import type { ExpectedNode } from './nodes.ts'

/** A tree on the disk, and what it is compared with. */
export interface Comparison {
  /** Absolute directory. */
  readonly directory: string
  readonly expected: ExpectedTree
  readonly lowers: LowerFiles
  /** Whether the filesystem takes an attribute that an image may carry without. */
  readonly takes: (name: string, value: Buffer) => boolean
  /** `what` is one clause about a path of the layer, quoted. */
  readonly report: (path: string, what: string) => void
}

/** What a name is to be, as numbers that stat(2) tells too. */
interface Wanted extends Pick<ExpectedNode, 'type' | 'mode' | 'uid' | 'gid' | 'xattrs'> {
  readonly mtimeNs?: bigint
  readonly size?: number
}

/** Tells whatever of a layer's tree is not as its archive says; nothing where it is the same to the last bit. */
export function compareTree(comparison: Comparison): void {
  const fd = openPlace(comparison.directory)
  try {
    const implied = impliedNodes(comparison.expected)
    compareNode({ ...comparison, implied, inodes: new Map() }, comparison.expected.root, fd, Buffer.alloc(0))
  } finally {
    closeFd(fd)
  }
}

interface Run extends Comparison {
  /** Directories that no member described, with the path the layers below know them by. */
  readonly implied: ReadonlyMap<ExpectedNode, Buffer>
  readonly inodes: Map<ExpectedNode, bigint>
}

/** Only such as are reached without a symlink: what the layers below say is given to no others (lower.ts). */
function impliedNodes({ root, implied }: ExpectedTree): ReadonlyMap<ExpectedNode, Buffer> {
  const found = new Map<ExpectedNode, Buffer>()
  for (const path of implied) {
    const parts = path.toString('latin1').split('/')
    const node =
      path.length === 0 ? root : parts.reduce<ExpectedNode | undefined>((at, part) => at?.children?.get(part), root)
    if (node?.type === 'directory') found.set(node, path)
  }
  return found
}

function compareNode(run: Run, node: ExpectedNode, fd: number, path: Buffer): void {
  const tell = (what: string): void => run.report(path.length === 0 ? '"/"' : show(path), what)
  const stats = statOf(fd)
  const type = isWhiteout(stats) ? 'whiteout' : (kindOf(stats) ?? 'socket')
  if (type !== (node.type === 'lower' ? 'file' : node.type)) return tell(`is ${word(type)}, not ${word(node.type)}`)
  if (type === 'whiteout') return
  compareLinks(run, node, stats, tell)
  if (node.type === 'lower') return compareWithLower(run, node, { fd, stats, tell })
  const lower = lowerOf(run, node)
  try {
    compareAttributes(run, wantedOf(node, lower), { fd, stats, tell, opaque: node.opaque === true })
  } finally {
    if (lower !== undefined) closeFd(lower)
  }
  if (node.type === 'directory') return compareDirectory(run, node, fd, path)
  if (node.target !== undefined && !linkText(fd).equals(node.target)) tell(`links to ${show(linkText(fd))}`)
  const device = `${major(stats.rdev)}:${minor(stats.rdev)}`
  if (node.major !== undefined && device !== `${node.major}:${node.minor}`) tell(`is device ${device}`)
  if (
    node.content !== undefined &&
    Number(stats.size) === node.size &&
    contentHash(fd, node.content.form) !== node.content.hash
  ) {
    tell('has other content')
  }
}

function compareLinks({ inodes }: Run, node: ExpectedNode, stats: fs.BigIntStats, tell: (what: string) => void): void {
  if (node.type === 'directory') return
  const seen = inodes.get(node)
  inodes.set(node, stats.ino)
  if (seen !== undefined && seen !== stats.ino) tell('is not the file that its other names are')
  else if (seen === undefined && Number(stats.nlink) !== node.links) tell(`has ${stats.nlink} names, not ${node.links}`)
}

function compareDirectory(run: Run, node: ExpectedNode, fd: number, path: Buffer): void {
  const names = new Set<string>()
  for (const name of namesIn(fd)) {
    const key = name.toString('latin1')
    names.add(key)
    const child = node.children?.get(key)
    const childPath = inDirectory(path, name)
    if (child === undefined) {
      run.report(show(childPath), 'is not of this layer')
      continue
    }
    const opened = openBelow(fd, name, openFlags.path | openFlags.nofollow)
    try {
      compareNode(run, child, opened, childPath)
    } finally {
      closeFd(opened)
    }
  }
  for (const key of node.children?.keys() ?? []) {
    if (!names.has(key)) run.report(show(inDirectory(path, Buffer.from(key, 'latin1'))), 'is missing')
  }
}

/** What the layers below have for a directory that no member described. */
function lowerOf({ implied, lowers }: Run, node: ExpectedNode): number | undefined {
  const path = implied.get(node)
  const fd = path === undefined ? undefined : lowers.find(path)
  if (fd === undefined || statOf(fd).isDirectory()) return fd
  closeFd(fd)
  return undefined
}

function wantedOf(node: ExpectedNode, lower: number | undefined): Wanted {
  if (lower !== undefined) return wantedLike(lower)
  const { type, mode, uid, gid, xattrs, mtime, size } = node
  return {
    type,
    mode,
    uid,
    gid,
    xattrs,
    ...(size === undefined ? {} : { size }),
    ...(mtime === undefined ? {} : { mtimeNs: BigInt(mtime.seconds) * 1_000_000_000n + BigInt(mtime.nanoseconds) }),
  }
}

function wantedLike(fd: number): Wanted {
  const stats = statOf(fd)
  const { mode, uid, gid, mtimeNs } = stats
  const isDirectory = stats.isDirectory()
  return {
    type: isDirectory ? 'directory' : 'file',
    mode: Number(mode) & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    mtimeNs,
    xattrs: xattrsOf(fd, isCarried),
    ...(isDirectory ? {} : { size: Number(stats.size) }),
  }
}

interface Actual {
  readonly fd: number
  readonly stats: fs.BigIntStats
  readonly tell: (what: string) => void
  readonly opaque?: boolean
}

function compareWithLower(run: Run, node: ExpectedNode, actual: Actual): void {
  const lower = node.lower === undefined ? undefined : run.lowers.find(node.lower)
  if (lower === undefined) return actual.tell('is a copy of a file that no layer below has')
  try {
    compareAttributes(run, wantedLike(lower), actual)
    if (statOf(lower).size === actual.stats.size && contentHash(lower, 'sparse') !== contentHash(actual.fd, 'sparse')) {
      actual.tell('has other content than in the layer below')
    }
  } finally {
    closeFd(lower)
  }
}

const ACL = /^system\.posix_acl_/
const OVERLAY = /^(?:trusted|user)\.overlay\./
const octal = (mode: number): string => mode.toString(8).padStart(4, '0')

function compareAttributes(run: Run, wanted: Wanted, { fd, stats, tell, opaque = false }: Actual): void {
  const found = xattrsOf(fd, (name) => isCarried(name) || OVERLAY.test(name))
  const free = run.expected.inheritsAcl
  // An access list sets the bits of the group.
  const shown = free || [...wanted.xattrs.keys()].some((name) => ACL.test(name)) ? 0o7707 : 0o7777
  const mode = Number(stats.mode) & 0o7777
  if (wanted.type !== 'symlink' && (mode & shown) !== (wanted.mode & shown)) {
    tell(`has mode ${octal(mode)}, not ${octal(wanted.mode)}`)
  }
  const owner = `${stats.uid}:${stats.gid}`
  if (owner !== `${wanted.uid}:${wanted.gid}`) tell(`belongs to ${owner}, not ${wanted.uid}:${wanted.gid}`)
  if (wanted.size !== undefined && Number(stats.size) !== wanted.size) {
    tell(`has ${stats.size} bytes, not ${wanted.size}`)
  }
  if (wanted.mtimeNs !== undefined && !isSameTime(stats.mtimeNs, wanted.mtimeNs)) tell('has another time')
  const isOpaque = found.get('trusted.overlay.opaque')?.toString('latin1') === 'y'
  if (opaque !== isOpaque) tell(opaque ? 'has lost the mark that hides what is below it' : 'hides what is below it')
  for (const [name, value] of wanted.xattrs) {
    const there = found.get(name)
    if (there === undefined ? run.takes(name, value) : !there.equals(value)) {
      tell(there === undefined ? `has lost the attribute ${name}` : `has another value of the attribute ${name}`)
    }
  }
  for (const name of found.keys()) {
    const known = wanted.xattrs.has(name) || name === 'trusted.overlay.opaque' || (free && ACL.test(name))
    if (!known) tell(`has the attribute ${name}, which is not of this layer`)
  }
}

/** Some filesystems keep whole seconds, or no times before 1970 and after 2038. */
function isSameTime(actual: bigint, wanted: bigint): boolean {
  const second = 1_000_000_000n
  if (actual === wanted || wanted < 0n || wanted >= 2n ** 31n * second) return true
  return actual % second === 0n && actual === wanted - (wanted % second)
}

function isCarried(name: string): boolean {
  return name === 'security.capability' || isHarmless(name)
}

function isWhiteout(stats: fs.BigIntStats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0n
}

function word(type: ExpectedNode['type'] | 'socket'): string {
  const words = { char: 'a character device', block: 'a block device', whiteout: 'a whiteout', lower: 'a file' }
  return type in words ? words[type as keyof typeof words] : `a ${type}`
}
