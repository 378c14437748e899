import type * as fs from 'node:fs'
import { linkText, reopen, statOf, xattrsOf } from '../syscall/at.ts'
import { openFlags } from '../syscall/flags.ts'
import { closeFd } from '../syscall/process.ts'
import { insideAttribute, isCarried } from './attributes.ts'
import { insideId, type Owners } from './owners.ts'
import type { Found } from './walk.ts'
import type { ArchiveWriter, Member, MemberKind } from './writer.ts'

/** The kind of a file as archives know it; undefined for a socket, which lives only with the process that made it. */
export function kindOf(stats: fs.BigIntStats): Exclude<MemberKind, 'link'> | undefined {
  if (stats.isFile()) return 'file'
  if (stats.isDirectory()) return 'directory'
  if (stats.isSymbolicLink()) return 'symlink'
  if (stats.isCharacterDevice()) return 'char'
  if (stats.isBlockDevice()) return 'block'
  return stats.isFIFO() ? 'fifo' : undefined
}

/** Writes what a walk finds, with owners and attributes as the container sees them. */
export interface TreeWriter {
  /** Under `name`; answers false for a socket. */
  add(found: Found, name: Buffer): Promise<boolean>
}

export function createTreeWriter(writer: ArchiveWriter, owners: Owners): TreeWriter {
  // Names of files with several, by inode: the second is a link to the first.
  const first = new Map<string, Buffer>()
  return {
    add: async ({ fd, stats }, name) => {
      const kind = kindOf(stats)
      if (kind === undefined) return false
      const key = `${stats.dev}:${stats.ino}`
      const linkName = kind === 'directory' || stats.nlink < 2n ? undefined : first.get(key)
      const member = memberOf(kind, name, { fd, stats }, owners)
      if (linkName !== undefined) {
        await writer.add({ ...member, kind: 'link', linkName, xattrs: new Map() })
        return true
      }
      if (stats.nlink > 1n) first.set(key, name)
      if (kind === 'file') await addFile(writer, member, fd)
      else await writer.add(member)
      return true
    },
  }
}

function memberOf(
  kind: Exclude<MemberKind, 'link'>,
  name: Buffer,
  { fd, stats }: Pick<Found, 'fd' | 'stats'>,
  owners: Owners,
): Member {
  const device = kind === 'char' || kind === 'block'
  return {
    kind,
    name,
    mode: Number(stats.mode) & 0o7777,
    uid: insideId(owners.uids, Number(stats.uid)),
    gid: insideId(owners.gids, Number(stats.gid)),
    mtimeNs: stats.mtimeNs,
    // A link has none that a container could set, and what is asked of it would be asked of its target.
    xattrs: kind === 'symlink' ? new Map() : insideXattrs(fd, owners),
    ...(kind === 'symlink' ? { linkName: linkText(fd) } : {}),
    ...(device ? { major: major(stats.rdev), minor: minor(stats.rdev) } : {}),
  }
}

async function addFile(writer: ArchiveWriter, member: Member, fd: number): Promise<void> {
  // It is a regular file: opening it waits for nobody.
  const open = reopen(fd, openFlags.readonly)
  try {
    await writer.addFile(member, open, statOf(open))
  } finally {
    closeFd(open)
  }
}

export function insideXattrs(fd: number, owners: Owners): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const [name, value] of xattrsOf(fd, isCarried)) {
    const inside = insideAttribute(name, value, owners)
    if (inside !== undefined) found.set(name, inside)
  }
  return found
}

/** Of a device number as stat(2) tells it (makedev(3)). */
export function major(device: bigint): number {
  return Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n))
}

export function minor(device: bigint): number {
  return Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n))
}
