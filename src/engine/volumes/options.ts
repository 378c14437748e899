import { statSync } from 'node:fs'
import { TscrunError } from '../../model/errors.ts'

/** What a volume's options come to. */
export type VolumeKind =
  /** Its own directory in the store. */
  | { readonly kind: 'store' }
  /** A directory of the host in its place. */
  | { readonly kind: 'bind'; readonly device: string; readonly readonly: boolean; readonly flags: readonly string[] }
  /** Memory, for each container anew. */
  | { readonly kind: 'tmpfs'; readonly options: readonly string[] }

const KEYS = ['type', 'device', 'o']
const FLAGS = ['noexec', 'nosuid', 'nodev']
const NETWORKED = ['nfs', 'nfs4', 'cifs', 'smb3', 'ceph', '9p', 'glusterfs', 'fuse.sshfs']

/** The words of docker's local driver, `type`, `device` and `o`. Throws USAGE for what cannot be had. */
export function kindOf(options: Readonly<Record<string, string>>): VolumeKind {
  const unknown = Object.keys(options).find((key) => !KEYS.includes(key))
  if (unknown !== undefined) throw bad(unknown, options[unknown] ?? '', 'unknown option', 'type=, device= or o=')
  const { type = '', device = '', o = '' } = options
  const words = o.split(',').filter((word) => word !== '')
  const binds = words.some((word) => word === 'bind' || word === 'rbind')
  if (type === 'tmpfs') return { kind: 'tmpfs', options: checkTmpfs(words) }
  if (binds && (type === '' || type === 'none' || type === 'bind')) return bindOf(device, words)
  if (NETWORKED.includes(type)) {
    throw bad(
      'type',
      type,
      'the kernel mounts it for the whole host, and nobody would unmount it',
      'mount it on the host, then use -v DIR:/path or type=none,o=bind,device=DIR',
    )
  }
  if (type !== '' && type !== 'none') {
    throw bad(
      'type',
      type,
      'only tmpfs and none (with o=bind) are supported',
      'mount it on the host, then give type=none, o=bind, device=DIR',
    )
  }
  if (words.length > 0) throw bad('o', o, 'needs a type', 'type=tmpfs, or type=none with o=bind')
  if (device !== '')
    throw bad('device', device, 'needs type=none and o=bind', 'a volume without options lies in the store')
  return { kind: 'store' }
}

function bindOf(device: string, words: readonly string[]): VolumeKind {
  if (!device.startsWith('/'))
    throw bad('device', device, 'must be an absolute path of the host', 'o=bind, device=/srv/data')
  const rest = words.filter((word) => !['bind', 'rbind', 'rw', 'ro', ...FLAGS].includes(word))
  const [first] = rest
  if (first !== undefined) throw bad('o', first, 'not an option of a bind', 'bind, ro, noexec, nosuid, nodev')
  return {
    kind: 'bind',
    device,
    readonly: words.includes('ro'),
    flags: FLAGS.filter((flag) => words.includes(flag)),
  }
}

const TMPFS_WORDS = ['ro', 'rw', 'exec', 'suid', 'dev', ...FLAGS]

function checkTmpfs(words: readonly string[]): readonly string[] {
  for (const word of words) {
    const ok =
      TMPFS_WORDS.includes(word) ||
      /^size=[0-9]+[kmg%]?$/i.test(word) ||
      /^mode=[0-7]{1,4}$/.test(word) ||
      /^(?:uid|gid|nr_inodes|nr_blocks)=[0-9]{1,10}$/.test(word)
    if (!ok) throw bad('o', word, 'not an option of a tmpfs', 'size=, mode=, uid=, gid=, ro, noexec')
  }
  return words
}

/** As docker, which looks when the volume is made. Throws USAGE. */
export function checkDevice(kind: VolumeKind): void {
  if (kind.kind !== 'bind') return
  if (statSync(kind.device, { throwIfNoEntry: false })?.isDirectory() === true) return
  throw bad('device', kind.device, 'no such directory on the host', 'make it first')
}

function bad(key: string, value: string, reason: string, hint: string): TscrunError {
  return new TscrunError('USAGE', `volume option ${key}=${value}: ${reason}`, { subject: key, hint })
}
