import * as fs from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { RANGE_SIZE } from '../../model/ids.ts'
import { isHarmless } from '../xattrs.ts'
import { makeNode, setTimesOfFile, setTimesOfName, setXattr, trySetXattr } from './kernel.ts'
import { AUFS, isWhiteout, OPAQUE, type OverlayPrefix, WHITEOUT } from './marks.ts'
import type { Meter } from './meter.ts'
import { baseOf, cleanName, inDirectory, parentOf, show } from './names.ts'
import type { PlainFilesWriter } from './plain-files.ts'
import type { TarEntry, TarHandler } from './tar.ts'
import { badTar } from './tar-numbers.ts'
import { createTree, lstat } from './tree.ts'

export interface LayerWriterOptions {
  readonly overlay: OverlayPrefix
  readonly meter: Meter
  /** Without it each member is written by itself. */
  readonly plainFiles?: PlainFilesWriter
}

export interface WrittenLayer {
  readonly inodes: number
  /** Directories no member described, which take owner and mode from the layers below. */
  readonly implied: readonly Buffer[]
  /** Hard links to files this layer does not have. */
  readonly missingLinks: readonly (readonly [name: Buffer, target: Buffer])[]
  /** The filesystem takes no marks of overlayfs, so there are marks by name: see marks.ts. */
  readonly marked: boolean
  /** The highest uid or gid, where it is beyond 65,535. */
  readonly highestId?: number
}

export interface LayerWriter extends TarHandler {
  finish(): WrittenLayer
}

const MAX_XATTR = 64 << 10
const MAX_ID = 0x7fffffff
const MAX_PATH = 4095
/** Components of a name: far more than anybody nests, few enough for programs that walk trees by recursion. */
const MAX_DEPTH = 1000

/**
 * Writes the members of a layer below the current directory, whiteouts as overlayfs wants them
 * (image-spec layer.md; kernel: Documentation/filesystems/overlayfs). Uses synchronous calls only.
 */
export function createLayerWriter({ overlay, meter, plainFiles }: LayerWriterOptions): LayerWriter {
  const tree = createTree(overlay, meter)
  const links: [Buffer, Buffer][] = []
  let fd = -1
  let highestId = RANGE_SIZE - 1
  let current: TarEntry | undefined
  let currentPath = Buffer.alloc(0) as Buffer

  function entry(member: TarEntry): void {
    meter.entry()
    const path = cleanName(member.name)
    current = undefined
    checkLength(path)
    for (const id of [member.uid, member.gid]) {
      if (id < 0 || id > MAX_ID) throw badTar(`${show(path)} has the owner ${member.uid}:${member.gid}, out of range`)
      // Plain files of such owners come here, too.
      highestId = Math.max(highestId, id)
    }
    const base = baseOf(path)
    if (base.subarray(0, 4).equals(WHITEOUT)) return whiteout(path, base)
    if (member.type === 'char' && member.major === 0 && member.minor === 0) return hide(path)
    switch (member.type) {
      case 'file':
        return openFile(path, member)
      case 'directory':
        return makeDirectory(path, member)
      case 'symlink':
        if (member.linkName.length === 0 || member.linkName.includes(0)) throw badTar(`${show(path)} links to nothing`)
        tree.create(path, () => fs.symlinkSync(member.linkName, path))
        if (ownerMatters(member)) own(path, member, () => fs.lchownSync(path, member.uid, member.gid))
        setXattrs(path, member)
        return setTimesOfName(path, member.mtime)
      case 'link':
        return makeLink(path, cleanName(member.linkName))
      case 'char':
      case 'block':
      case 'fifo': {
        const { type, major, minor } = member
        if (major > 0xfff || minor > 0xfffff) throw badTar(`${show(path)} is device ${major}:${minor}, out of range`)
        tree.create(path, () => makeNode(path, type, member.mode, major, minor))
        if (ownerMatters(member)) own(path, member, () => fs.lchownSync(path, member.uid, member.gid))
        if (ownerMatters(member)) fs.chmodSync(path, member.mode)
        setXattrs(path, member)
        return setTimesOfName(path, member.mtime)
      }
      default:
        return member.type satisfies never
    }
  }

  function ownerMatters(member: TarEntry): boolean {
    return member.uid !== 0 || member.gid !== 0 || tree.groupsInherited
  }

  function openFile(path: Buffer, member: TarEntry): void {
    meter.size(member.size)
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants
    tree.create(path, () => {
      fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, member.mode)
    })
    current = member
    currentPath = path
  }

  function data(chunk: Buffer, start: number, end: number, position: number): void {
    // A whiteout is a file to the archive; what it might hold has no meaning.
    if (current === undefined) return
    meter.data(end - start)
    while (start < end) {
      const written = fs.writeSync(fd, chunk, start, end - start, position)
      start += written
      position += written
    }
  }

  function endOfFile(): void {
    const member = current
    if (member === undefined) return
    if (member.sparse !== undefined) fs.ftruncateSync(fd, member.size)
    if (ownerMatters(member)) {
      own(currentPath, member, () => fs.fchownSync(fd, member.uid, member.gid))
      // chown takes the set-id bits away.
      if ((member.mode & 0o6000) !== 0) fs.fchmodSync(fd, member.mode)
    }
    setXattrs(currentPath, member)
    setTimesOfFile(fd, member.mtime)
    fs.closeSync(fd)
    fd = -1
    current = undefined
  }

  function makeDirectory(path: Buffer, member: TarEntry): void {
    tree.directory(path, member.mode)
    const name = path.length === 0 ? Buffer.from('.') : path
    own(name, member, () => fs.lchownSync(name, member.uid, member.gid))
    fs.chmodSync(name, member.mode)
    if ((member.mode & 0o2000) !== 0) tree.groupsInherited = true
    setXattrs(name, member)
    tree.setDirectoryTime(path, member.mtime)
  }

  function makeLink(path: Buffer, target: Buffer): void {
    if (target.length === 0) throw badTar(`${show(path)} is a hard link to the root`)
    if (path.equals(target)) return
    const there = lstat(target)
    if (there === undefined) {
      meter.name(path)
      meter.name(target)
      links.push([Buffer.from(path), Buffer.from(target)])
      return
    }
    if (there.isDirectory()) throw badTar(`${show(path)} is a hard link to the directory ${show(target)}`)
    tree.create(path, () => fs.linkSync(target, path))
  }

  function whiteout(path: Buffer, base: Buffer): void {
    const parent = parentOf(path)
    if (base.equals(OPAQUE)) {
      if (parent.length > 0 && !lstat(parent)?.isDirectory()) makeImplied(parent)
      return tree.opaque(parent)
    }
    // Book-keeping of aufs that some old images carry.
    if (base.subarray(0, AUFS.length).equals(AUFS)) return
    const name = base.subarray(WHITEOUT.length)
    if (name.length === 0 || name.equals(Buffer.from('.')) || name.equals(Buffer.from('..'))) {
      throw badTar(`a whiteout of ${show(name)}`)
    }
    hide(inDirectory(parent, name))
  }

  function makeImplied(path: Buffer): void {
    // A member below it makes it, then goes.
    const probe = inDirectory(path, WHITEOUT)
    tree.create(probe, () => fs.symlinkSync('-', probe))
    fs.unlinkSync(probe)
  }

  /** A whiteout hides the lower layers' name only: what this layer itself has there stays (image-spec layer.md). */
  function hide(path: Buffer): void {
    const there = path.length === 0 ? undefined : lstat(path)
    if (there?.isDirectory()) return tree.opaque(path)
    if (there !== undefined) return
    tree.whiteout(path)
  }

  function setXattrs(path: Buffer, member: TarEntry): void {
    for (const [name, value] of member.xattrs) {
      if (value.length > MAX_XATTR) throw badTar(`${show(path)} has an attribute of ${value.length} bytes`)
      meter.data(name.length + value.length)
      if (name === 'security.capability') setXattr(path, name, value)
      else if (isHarmless(name)) trySetXattr(path, name, value)
    }
  }

  /** Links whose target came later in the archive; the rest are left to who knows the lower layers. */
  function finish(): WrittenLayer {
    const missing: [Buffer, Buffer][] = []
    for (const [path, target] of links) {
      const there = lstat(target)
      if (there === undefined || isWhiteout(there)) missing.push([path, target])
      else makeLink(path, target)
    }
    const written = { inodes: tree.inodes(), implied: tree.finish(), missingLinks: missing, marked: tree.marked() }
    return highestId >= RANGE_SIZE ? { ...written, highestId } : written
  }

  function takeMembers(chunk: Buffer, at: number): number {
    if (plainFiles === undefined) return at
    const { taken, files, bytes } = plainFiles(chunk.subarray(at), { ...meter.room(), chown: tree.groupsInherited })
    tree.made(files)
    meter.files(files, bytes)
    return at + taken
  }

  return { entry, data, endOfFile, takeMembers, finish }
}

/** The kernel knows an owner only by the ids that are mapped where tscrun is itself (user_namespaces(7)). */
function own(path: Buffer, { uid, gid }: TarEntry, change: () => void): void {
  try {
    change()
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error
    const what = `${show(path)} has the owner ${uid}:${gid}, and this user namespace has no such ids`
    throw new TscrunError('INVALID_IMAGE', `unpack layer: ${what}`, {
      errno: 'EINVAL',
      hint: '/proc/self/uid_map and gid_map tell which there are; unpack it outside of the container, or of the namespace',
      cause: error,
    })
  }
}

function checkLength(path: Buffer): void {
  if (path.length > MAX_PATH) throw badTar(`a name of ${path.length} bytes`)
  let depth = 1
  for (const byte of path)
    if (byte === 0x2f && ++depth > MAX_DEPTH) throw badTar(`a name of more than ${MAX_DEPTH} parts`)
}
