import { MOUNT_ATTR, MS } from '../model/linux.ts'

/** MOUNT_ATTR_* to set and to clear. */
export interface Attributes {
  readonly set: number
  readonly clear: number
}

/** Mount options as mount(8) and config.json name them, sorted by whom they are for. */
export interface ParsedOptions extends Attributes {
  /** What the mounts below a recursive bind get, too (`rro` and its kin). */
  readonly below: Attributes
  /** MS_PRIVATE and its kin, 0 if not named. */
  readonly propagation: number
  /** The propagation is meant for the mounts below as well (`rprivate` and its kin). */
  readonly propagatesBelow: boolean
  readonly recursive: boolean
  readonly idmap: 'none' | 'this' | 'below'
  /** What a tmpfs covers is copied into it. */
  readonly copyUp: boolean
  /** Nothing is mounted: what is there gets these options. */
  readonly remount: boolean
  /** MS_* that only mount(2) can say. */
  readonly flags: number
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
  nodiratime: { set: MOUNT_ATTR.NODIRATIME },
  diratime: { clear: MOUNT_ATTR.NODIRATIME },
  nosymfollow: { set: MOUNT_ATTR.NOSYMFOLLOW },
  symfollow: { clear: MOUNT_ATTR.NOSYMFOLLOW },
}

/** They exclude one another: each clears the others (mount_setattr(2), MOUNT_ATTR__ATIME). */
const ATIMES: Readonly<Record<string, number>> = {
  noatime: MOUNT_ATTR.NOATIME,
  strictatime: MOUNT_ATTR.STRICTATIME,
  relatime: 0,
  atime: 0,
  nostrictatime: 0,
}

const PROPAGATION: Readonly<Record<string, number>> = {
  private: MS.PRIVATE,
  slave: MS.SLAVE,
  shared: MS.SHARED,
  unbindable: MS.UNBINDABLE,
}

/** Flags of mount(2) that the newer calls have no name for; a filesystem may know them as its own option. */
const FLAGS: Readonly<Record<string, number>> = { iversion: MS.I_VERSION, acl: MS.POSIXACL }

/**
 * Options that say how the mount is made, what is the default anyway, or what is for fstab(5) and the kernel's log.
 * `newinstance` is what every devpts is since Linux 4.7.
 */
const ABOUT_MAKING = new Set(
  'bind rbind idmap ridmap tmpcopyup remount newinstance defaults norelatime rnorelatime silent loud noiversion noacl'
    .concat(' auto noauto nofail _netdev nouser')
    .split(' '),
)

/** Changes to a mount, collected option by option: the later one counts. */
class Collected {
  set = 0
  clear = 0

  add(option: string): boolean {
    if (Object.hasOwn(ATIMES, option)) {
      this.set = (this.set & ~MOUNT_ATTR.ATIME) | (ATIMES[option] ?? 0)
      this.clear |= MOUNT_ATTR.ATIME
      return true
    }
    if (!Object.hasOwn(ATTRIBUTES, option)) return false
    const { set = 0, clear = 0 } = ATTRIBUTES[option] ?? {}
    this.set = (this.set & ~clear) | set
    this.clear = (this.clear & ~set) | clear
    return true
  }

  get attributes(): Attributes {
    return { set: this.set, clear: this.clear }
  }
}

/** Sorts options; what is no mount attribute goes to the filesystem, which refuses what it does not know. */
export function parseMountOptions(options: readonly string[]): ParsedOptions {
  const [here, below] = [new Collected(), new Collected()]
  let [propagation, propagatesBelow, flags] = [0, false, 0]
  const data: (readonly [string, string | undefined])[] = []
  for (const option of options) {
    const plain = option.startsWith('r') ? option.slice(1) : option
    if (here.add(option) || ABOUT_MAKING.has(option) || option.startsWith('x-')) continue
    if (Object.hasOwn(PROPAGATION, plain)) {
      propagation = PROPAGATION[plain] ?? 0
      propagatesBelow = plain !== option
    } else if (plain !== option && below.add(plain)) {
      here.add(plain)
    } else if (Object.hasOwn(FLAGS, option)) {
      flags |= FLAGS[option] ?? 0
    } else {
      const equals = option.indexOf('=')
      data.push(equals < 0 ? [option, undefined] : [option.slice(0, equals), option.slice(equals + 1)])
    }
  }
  return {
    ...here.attributes,
    below: below.attributes,
    propagation,
    propagatesBelow,
    recursive: options.includes('rbind'),
    idmap: options.includes('ridmap') ? 'below' : options.includes('idmap') ? 'this' : 'none',
    copyUp: options.includes('tmpcopyup'),
    remount: options.includes('remount'),
    flags,
    data,
  }
}

/** Options of the filesystem's own that VFS takes; for a bind mount they say nothing, as mount(2) has it. */
export const OF_THE_FILESYSTEM: ReadonlySet<string> = new Set(
  'sync async dirsync mand nomand lazytime nolazytime'.split(' '),
)

/** Of devpts alone, and words that fstab(5) has for other readers: taken, and no features. */
const NO_FEATURES = new Set(['newinstance', 'auto', 'noauto', 'nofail', '_netdev', 'nouser'])

/** Every option that is for no filesystem in particular, sorted by name (runtime-spec features.md, Mount Options). */
export const MOUNT_OPTIONS: readonly string[] = [
  ...[ATTRIBUTES, ATIMES, PROPAGATION].flatMap((table) => Object.keys(table)).flatMap((name) => [name, `r${name}`]),
  ...Object.keys(FLAGS),
  ...[...ABOUT_MAKING].filter((option) => !NO_FEATURES.has(option)),
  ...OF_THE_FILESYSTEM,
].toSorted()
