import { insideId, outsideId, type Owners } from './owners.ts'

/** Extended attributes that go from one tree to another; the others are the host's: overlayfs', security modules'. */
export function isCarried(name: string): boolean {
  if (name.startsWith('user.')) return !name.startsWith('user.overlay.')
  return name === CAPABILITY || ACLS.has(name)
}

const CAPABILITY = 'security.capability'
const ACLS: ReadonlySet<string> = new Set(['system.posix_acl_access', 'system.posix_acl_default'])

/** As the container sees an attribute whose bytes the host has read; undefined where it has no such thing. */
export function insideAttribute(name: string, value: Buffer, owners: Owners): Buffer | undefined {
  if (name === CAPABILITY) return insideCapability(value, owners)
  return ACLS.has(name) ? shiftAcl(value, (kind, id) => insideId(owners[kind], id)) : value
}

/** As the host writes an attribute that the container is to see; undefined where it cannot have it. */
export function outsideAttribute(name: string, value: Buffer, owners: Owners): Buffer | undefined {
  if (name === CAPABILITY) return outsideCapability(value, owners)
  return ACLS.has(name) ? shiftAcl(value, (kind, id) => outsideId(owners[kind], id)) : value
}

/** struct vfs_cap_data of linux/capability.h: a word of revision and flags, four of capabilities; v3 has root's id behind. */
const REVISION_MASK = 0xff000000
const REVISION_2 = 0x02000000
const REVISION_3 = 0x03000000
const V2_BYTES = 20
const V3_BYTES = 24

function withRevision(value: Buffer, revision: number, bytes: number): Buffer {
  const made = Buffer.alloc(bytes)
  value.copy(made, 0, 0, V2_BYTES)
  made.writeUInt32LE(((value.readUInt32LE(0) & ~REVISION_MASK) | revision) >>> 0, 0)
  return made
}

/** What a container's root gave holds below that root alone, whose id on the host stands in it (capabilities(7)). */
function insideCapability(value: Buffer, { uids }: Owners): Buffer | undefined {
  if (value.length !== V3_BYTES) return value
  const root = insideId(uids, value.readUInt32LE(V2_BYTES))
  if (root === 0) return withRevision(value, REVISION_2, V2_BYTES)
  if (uids.length > 0 && outsideId(uids, root) !== value.readUInt32LE(V2_BYTES)) return undefined
  const made = Buffer.from(value)
  made.writeUInt32LE(root, V2_BYTES)
  return made
}

function outsideCapability(value: Buffer, { uids }: Owners): Buffer | undefined {
  if (uids.length === 0 || (value.length !== V2_BYTES && value.length !== V3_BYTES)) return value
  const root = outsideId(uids, value.length === V3_BYTES ? value.readUInt32LE(V2_BYTES) : 0)
  if (root === undefined) return undefined
  const made = withRevision(value, REVISION_3, V3_BYTES)
  made.writeUInt32LE(root, V2_BYTES)
  return made
}

/** linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id. */
const ACL_USER = 0x02
const ACL_GROUP = 0x08

function shiftAcl(value: Buffer, shift: (kind: keyof Owners, id: number) => number | undefined): Buffer | undefined {
  const made = Buffer.from(value)
  for (let at = 4; at + 8 <= made.length; at += 8) {
    const tag = made.readUInt16LE(at)
    if (tag !== ACL_USER && tag !== ACL_GROUP) continue
    const id = shift(tag === ACL_USER ? 'uids' : 'gids', made.readUInt32LE(at + 4))
    if (id === undefined) return undefined
    made.writeUInt32LE(id, at + 4)
  }
  return made
}
