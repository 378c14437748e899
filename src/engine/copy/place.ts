import * as fs from 'node:fs'
import { outsideAttribute } from '../../archive/attributes.ts'
import { outsideId } from '../../archive/owners.ts'
import type { MemberKind } from '../../archive/writer.ts'
import { walkTree } from '../../archive/walk.ts'
import { TscrunError } from '../../model/errors.ts'
import {
  createFileAt,
  hardLinkAt,
  makeDirectoryAt,
  makeLinkAt,
  makeNodeAt,
  openBelow,
  ownAt,
  ownFd,
  removeDirectoryAt,
  reopen,
  setTimeAt,
  setTimeOf,
  setXattrOf,
  statOf,
  unlessErrno,
  unlinkAt,
} from '../../syscall/at.ts'
import { openFlags } from '../../syscall/flags.ts'
import { makingFilesAs } from '../../syscall/fs-ids.ts'
import { closeFd } from '../../syscall/process.ts'
import type { Side } from './side.ts'

/** What something that is made is to have. */
export interface Wanted {
  /** Permission bits with set-id and sticky. */
  readonly mode: number
  /** By the container's ids; absent is the side's own owner. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint
  readonly xattrs?: ReadonlyMap<string, Buffer>
}

export interface PlaceOptions {
  /** A directory may take the place of a file, and a file that of a directory. */
  readonly overwrite: boolean
  /** Keep owners, set-id bits, attributes, device nodes. */
  readonly archive: boolean
}

/**
 * Makes files on one side of a copy. Everything is done by the descriptor of a directory and one name, so that a link that
 * a container puts in the way leads nowhere (CVE-2018-15664).
 */
export interface Placer {
  /** A directory that is there stays as it is; answers its O_PATH descriptor, and whether it is new. */
  directory(dir: number, name: Buffer): { readonly fd: number; readonly made: boolean }
  /** To be called when all that belongs into it is there. */
  finishDirectory(fd: number, wanted: Wanted): void
  /** An empty file, open for writing; what was there is gone. */
  file(dir: number, name: Buffer): number
  finishFile(fd: number, wanted: Wanted): void
  link(dir: number, name: Buffer, target: Buffer, wanted: Wanted): void
  node(dir: number, name: Buffer, kind: MemberKind, device: bigint, wanted: Wanted): void
  /** A further name of a file that is there. */
  hardLink(fd: number, dir: number, name: Buffer): void
}

const THERE = openFlags.path | openFlags.nofollow
const NODE_KINDS = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const

export function createPlacer(side: Side, options: PlaceOptions): Placer {
  const { newOwner, owners } = side
  const asOwner = <T>(action: () => T): T => makingFilesAs(newOwner.uid, newOwner.gid, action)
  /** From a hostile container onto the host a set-id bit would be its user's. */
  const modeOf = ({ mode }: Wanted): number => (options.archive || side.prefix !== '' ? mode : mode & 0o1777)

  function ownerOf({ owner }: Wanted): { readonly uid: number; readonly gid: number } {
    if (owner === undefined) return newOwner
    const [uid, gid] = [outsideId(owners.uids, owner.uid), outsideId(owners.gids, owner.gid)]
    if (uid !== undefined && gid !== undefined) return { uid, gid }
    throw new TscrunError('USAGE', `cp: the container has no owner ${owner.uid}:${owner.gid}`, {
      hint: 'leave --archive out: then root of the container owns what is copied',
    })
  }

  /** Takes away what is in the place of something that is no directory. */
  function clear(dir: number, name: Buffer): 'gone' | 'busy' {
    const there = unlessErrno(['ENOENT'], () => openBelow(dir, name, THERE))
    if (there === undefined) return 'gone'
    try {
      if (statOf(there).isDirectory()) {
        if (!options.overwrite) throw inTheWay(side, name, 'a directory is in the place of a file')
        removeTree(dir, name, there)
        return 'gone'
      }
    } finally {
      closeFd(there)
    }
    try {
      unlinkAt(dir, name)
      return 'gone'
    } catch (error) {
      // A file that is mounted: a volume, /etc/hosts. Its content can be replaced all the same.
      if ((error as { code?: string }).code === 'EBUSY') return 'busy'
      throw error
    }
  }

  function directory(dir: number, name: Buffer): { readonly fd: number; readonly made: boolean } {
    const there = unlessErrno(['ENOENT'], () => openBelow(dir, name, THERE))
    if (there !== undefined) {
      if (statOf(there).isDirectory()) return { fd: there, made: false }
      closeFd(there)
      if (!options.overwrite) throw inTheWay(side, name, 'a file is in the place of a directory')
      unlinkAt(dir, name)
    }
    asOwner(() => makeDirectoryAt(dir, name, 0o700))
    return { fd: openBelow(dir, name, THERE | openFlags.directory), made: true }
  }

  function setXattrs(fd: number, { xattrs = new Map() }: Wanted): void {
    for (const [name, value] of xattrs) {
      const outside = outsideAttribute(name, value, owners)
      // Not every filesystem takes all of them; capabilities are not to be lost in silence.
      const tolerated = name === 'security.capability' ? [] : ['EOPNOTSUPP', 'EPERM']
      if (outside !== undefined) unlessErrno(tolerated, () => setXattrOf(fd, name, outside))
    }
  }

  /** Owner first: a change of it takes set-id bits and capabilities away. */
  function finish(fd: number, wanted: Wanted): void {
    const { uid, gid } = ownerOf(wanted)
    ownFd(fd, uid, gid)
    fs.fchmodSync(fd, modeOf(wanted))
    setXattrs(fd, wanted)
    setTimeOf(fd, wanted.mtimeNs)
  }

  function file(dir: number, name: Buffer): number {
    if (clear(dir, name) === 'gone') return asOwner(() => createFileAt(dir, name, 0o600))
    const there = openBelow(dir, name, THERE)
    try {
      if (!statOf(there).isFile()) throw inTheWay(side, name, 'something that is mounted is in its place')
      return reopen(there, fs.constants.O_WRONLY | fs.constants.O_TRUNC)
    } finally {
      closeFd(there)
    }
  }

  return {
    directory,
    finishDirectory: (fd, wanted) => {
      const open = reopen(fd, openFlags.readonly | openFlags.directory)
      try {
        finish(open, wanted)
      } finally {
        closeFd(open)
      }
    },
    file,
    finishFile: finish,
    link: (dir, name, target, wanted) => {
      if (clear(dir, name) === 'busy') throw inTheWay(side, name, 'something that is mounted is in its place')
      asOwner(() => makeLinkAt(dir, name, target))
      const { uid, gid } = ownerOf(wanted)
      ownAt(dir, name, uid, gid)
      setTimeAt(dir, name, wanted.mtimeNs)
    },
    node: (dir, name, kind, device, wanted) => {
      if (kind !== 'char' && kind !== 'block' && kind !== 'fifo') throw new RangeError(`${kind} is no node`)
      if (clear(dir, name) === 'busy') throw inTheWay(side, name, 'something that is mounted is in its place')
      asOwner(() => makeNodeAt(dir, name, NODE_KINDS[kind] | (wanted.mode & 0o777), device))
      const { uid, gid } = ownerOf(wanted)
      ownAt(dir, name, uid, gid)
      setTimeAt(dir, name, wanted.mtimeNs)
    },
    hardLink: (fd, dir, name) => {
      if (clear(dir, name) === 'busy') throw inTheWay(side, name, 'something that is mounted is in its place')
      asOwner(() => hardLinkAt(fd, dir, name))
    },
  }
}

function inTheWay({ prefix }: Side, name: Buffer, reason: string): TscrunError {
  const subject = name.toString()
  return new TscrunError('USAGE', `cp to ${prefix}.../${subject}: ${reason}`, {
    subject,
    hint: 'remove it first, or use --overwrite',
  })
}

/** A directory with all that is in it, by descriptors. */
function removeTree(dir: number, name: Buffer, fd: number): void {
  for (const found of walkTree(fd, { enter: ({ path }) => path.length === 0 })) {
    if (found.path.length === 0) continue
    if (found.stats.isDirectory()) removeTree(fd, found.path, found.fd)
    else unlinkAt(fd, found.path)
  }
  removeDirectoryAt(dir, name)
}
