import { readFileSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf } from '../model/errors.ts'
import { mountOf } from '../syscall/mount-of.ts'

/** Numbers of linux/magic.h. */
const MAGIC = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlay',
  0x01021997: '9p',
  0x6969: 'nfs',
  0x65735546: 'fuse',
  0xf2f52010: 'f2fs',
  0xe0f5e1e2: 'erofs',
  0x73717368: 'squashfs',
  0x4d44: 'vfat',
  0x9fa0: 'proc',
  0x62656572: 'sysfs',
  0x63677270: 'cgroup2',
  0x2fc12fc1: 'zfs',
  0xca451a4e: 'bcachefs',
  0xff534d42: 'cifs',
  0x858458f6: 'ramfs',
} as const satisfies Record<number, string>

/** `ext4`, or `unknown (0x...)`; of a path that is not there yet, the nearest directory above it tells. */
export function filesystemOf(path: string): string {
  const { existing, type } = nearest(path)
  const name = (MAGIC as Readonly<Record<number, string>>)[type]
  if (name === undefined) return `unknown (0x${type.toString(16)})`
  // 9p answers for the filesystem at its other end, and a disk mounted as ext3 has ext4's number.
  return canHoldUpper(name) || name in IDMAP_SINCE ? (mountedAs(existing) ?? name) : name
}

function nearest(path: string): { readonly existing: string; readonly type: number } {
  for (let existing = path; ; existing = dirname(existing)) {
    try {
      return { existing, type: statfsSync(existing).type >>> 0 }
    } catch (error) {
      if (errnoOf(error) === undefined || dirname(existing) === existing) throw error
    }
  }
}

/** The type in the mount table, of the one mount that a path lies on; each device is looked up once. */
function mountedAs(path: string): string | undefined {
  const { device, id } = mountOf(path)
  const known = mountTypes.get(device)
  if (known !== undefined || id === undefined) return known
  // `36 35 98:0 /root /mountpoint options tags - type source options` (proc_pid_mountinfo(5)).
  const table = `\n${readFileSync('/proc/self/mountinfo', 'utf8')}`
  const begin = table.indexOf(`\n${id} `)
  if (begin < 0) return undefined
  const type = table.indexOf(' - ', begin) + 3
  const name = table.slice(type, table.indexOf(' ', type))
  mountTypes.set(device, name)
  return name
}

const mountTypes = new Map<string, string>()

interface Kernel {
  readonly major: number
  readonly minor: number
}

/** First kernel that can id-map mounts of a filesystem (FS_ALLOW_IDMAP in its sources). */
const IDMAP_SINCE: Readonly<Record<string, readonly [major: number, minor: number]>> = {
  ext4: [5, 12],
  vfat: [5, 12],
  xfs: [5, 12],
  btrfs: [5, 15],
  erofs: [5, 19],
  f2fs: [5, 18],
  squashfs: [6, 2],
  tmpfs: [6, 3],
  bcachefs: [6, 10],
}

export function isAtLeast(kernel: Kernel, major: number, minor: number): boolean {
  return kernel.major > major || (kernel.major === major && kernel.minor >= minor)
}

/** Whether a mount of this filesystem can have its owners shifted. */
export function canIdmap(filesystem: string, kernel: Kernel): boolean {
  const since = IDMAP_SINCE[filesystem]
  return since !== undefined && isAtLeast(kernel, since[0], since[1])
}

/** Whether overlayfs takes id-mapped layers: since Linux 5.19. */
export function overlayTakesIdmapped(kernel: Kernel): boolean {
  return isAtLeast(kernel, 5, 19)
}

/** Whether overlayfs can keep what is written there: it needs trusted.* attributes, d_type and renames. */
export function canHoldUpper(filesystem: string): boolean {
  return ['ext4', 'xfs', 'btrfs', 'tmpfs', 'f2fs', 'bcachefs', 'zfs'].includes(filesystem)
}
