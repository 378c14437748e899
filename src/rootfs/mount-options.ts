import { MOUNT_ATTR, MS } from '../model/linux.ts'

/** Mount options as mount(8) and config.json name them, sorted by whom they are for. */
export interface ParsedOptions {
  /** MOUNT_ATTR_* to set and to clear. */
  readonly set: number
  readonly clear: number
  /** MS_PRIVATE and its kin, 0 if not named. */
  readonly propagation: number
  readonly recursive: boolean
  readonly idmap: boolean
  /** What the filesystem itself is told: key and value, or a flag. */
  readonly data: readonly (readonly [key: string, value: string | undefined])[]
}

const ATTRIBUTES: Readonly<Record<string, { set?: number; clear?: number }>> = {
  ro: { set: MOUNT_ATTR.RDONLY },
  rw: { clear: MOUNT_ATTR.RDONLY },
  nosuid: { set: MOUNT_ATTR.NOSUID },
  suid: { clear: MOUNT_ATTR.NOSUID },
  nodev: { set: MOUNT_ATTR.NODEV },
  dev: { clear: MOUNT_ATTR.NODEV },
  noexec: { set: MOUNT_ATTR.NOEXEC },
  exec: { clear: MOUNT_ATTR.NOEXEC },
  noatime: { set: MOUNT_ATTR.NOATIME },
  strictatime: { set: MOUNT_ATTR.STRICTATIME },
  relatime: {},
  nodiratime: { set: MOUNT_ATTR.NODIRATIME },
  diratime: { clear: MOUNT_ATTR.NODIRATIME },
  nosymfollow: { set: MOUNT_ATTR.NOSYMFOLLOW },
  symfollow: { clear: MOUNT_ATTR.NOSYMFOLLOW },
  defaults: {},
}

const PROPAGATION: Readonly<Record<string, number>> = {
  private: MS.PRIVATE,
  rprivate: MS.PRIVATE,
  slave: MS.SLAVE,
  rslave: MS.SLAVE,
  shared: MS.SHARED,
  rshared: MS.SHARED,
  unbindable: MS.UNBINDABLE,
  runbindable: MS.UNBINDABLE,
}

/** Options that only say how the mount is made, or that the host's label system handles. */
const ABOUT_MAKING = new Set(['bind', 'rbind', 'idmap', 'ridmap', 'newinstance'])

/** Every option that is for no filesystem in particular, sorted by name (features.md, Mount Options). */
export const MOUNT_OPTIONS: readonly string[] = [
  ...Object.keys(ATTRIBUTES),
  ...Object.keys(PROPAGATION),
  ...[...ABOUT_MAKING].filter((option) => option !== 'newinstance'),
].toSorted()

/** Sorts options; what is no mount attribute goes to the filesystem, which refuses what it does not know. */
export function parseMountOptions(options: readonly string[]): ParsedOptions {
  let [set, clear, propagation] = [0, 0, 0]
  const data: (readonly [string, string | undefined])[] = []
  for (const option of options) {
    const attribute = Object.hasOwn(ATTRIBUTES, option) ? ATTRIBUTES[option] : undefined
    if (attribute !== undefined) {
      set = (set & ~(attribute.clear ?? 0)) | (attribute.set ?? 0)
      clear = (clear & ~(attribute.set ?? 0)) | (attribute.clear ?? 0)
    } else if (Object.hasOwn(PROPAGATION, option)) {
      propagation = PROPAGATION[option] ?? 0
    } else if (!ABOUT_MAKING.has(option)) {
      const equals = option.indexOf('=')
      data.push(equals < 0 ? [option, undefined] : [option.slice(0, equals), option.slice(equals + 1)])
    }
  }
  return {
    set,
    clear,
    propagation,
    recursive: options.includes('rbind'),
    idmap: options.includes('idmap') || options.includes('ridmap'),
    data,
  }
}
