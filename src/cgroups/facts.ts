import { errnoOf } from '../model/errors.ts'
import type { CgroupFacts } from '../model/facts.ts'

/** The texts the facts are read from. */
export interface CgroupTexts {
  /** /proc/self/mountinfo. */
  readonly mountinfo: string
  /** /proc/self/cgroup. */
  readonly cgroup: string
  /** /proc/cgroups; empty on a kernel without cgroup v1. */
  readonly cgroups: string
  /** cgroup.controllers at a v2 mount point; empty if it has none. */
  readonly controllers: (mountpoint: string) => string
}

interface CgroupMount {
  /** The cgroup that is the root of the mount, as seen from the reader's cgroup namespace. */
  readonly root: string
  readonly mountpoint: string
  readonly readonly: boolean
  readonly unified: boolean
  /** Controllers of a v1 mount. */
  readonly controllers: readonly string[]
}

/** v1 keeps what v2 calls `io` under another name. */
const V2_NAMES: Readonly<Record<string, string>> = { blkio: 'io' }
const NO_CONTROLLER =
  /^(name=.*|rw|ro|xattr|noprefix|clone_children|release_agent=.*|cpuset_v2_mode|favordynmods|seclabel)$/

/**
 * Reads the facts about cgroups of this process and host. `read` answers the text of a file, throwing ENOENT where
 * there is none; anything else it throws is not caught.
 */
export function readCgroupFacts(read: (path: string) => string): CgroupFacts {
  return parseCgroupFacts({
    mountinfo: read('/proc/self/mountinfo'),
    cgroup: read('/proc/self/cgroup'),
    cgroups: readIfThere(read, '/proc/cgroups'),
    controllers: (mountpoint) => read(`${mountpoint}/cgroup.controllers`),
  })
}

function readIfThere(read: (path: string) => string, path: string): string {
  try {
    return read(path)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    return ''
  }
}

/**
 * The facts from the texts (proc_pid_mountinfo(5), cgroups(7)). Of several v2 mounts the one whose root lies nearest
 * above this process's own cgroup counts, a writable one before a read-only one.
 */
export function parseCgroupFacts({ mountinfo, cgroup, cgroups, controllers }: CgroupTexts): CgroupFacts {
  const mounts = visible(mountinfo.split('\n').flatMap(parseMount)).flatMap(({ cgroup: found }) => found ?? [])
  const v1Controllers = boundToV1(mounts, cgroups)
  const own = ownPath(cgroup)
  const mount = pick(
    mounts.filter(({ unified }) => unified),
    own,
  )
  if (mount === undefined) {
    return { mode: v1Controllers.length > 0 ? 'v1' : 'none', readonly: false, own: '/', controllers: [], v1Controllers }
  }
  return {
    mode: v1Controllers.length > 0 ? 'hybrid' : 'unified',
    mountpoint: mount.mountpoint,
    readonly: mount.readonly,
    own: relativeTo(mount.root, own) ?? '/',
    controllers: words(controllers(mount.mountpoint)),
    v1Controllers,
  }
}

/** Any mount: another one may hide one of cgroups. */
interface Mount {
  readonly id: string
  readonly parent: string
  readonly mountpoint: string
  readonly cgroup?: CgroupMount
}

/** Those of cgroups that a path leads to, as the kernel follows it: their order in the file is no order of time. */
function visible(mounts: readonly Mount[]): Mount[] {
  const ids = new Set(mounts.map(({ id }) => id))
  const covers = (above: string, below: string): boolean =>
    above === '/' || below === above || below.startsWith(`${above}/`)
  const leadsTo = (path: string): Mount | undefined => {
    let here: Mount | undefined
    const seen = new Set<Mount>()
    for (;;) {
      // What is mounted on this one, and what the file does not tell of on which it is.
      const next = mounts
        .filter(({ parent }) => parent === here?.id || !ids.has(parent))
        .filter((mount) => !seen.has(mount) && covers(mount.mountpoint, path))
        .toSorted((one, other) => other.mountpoint.length - one.mountpoint.length)
        .at(-1)
      if (next === undefined) return here
      seen.add(next)
      here = next
    }
  }
  return mounts.filter((mount) => mount.cgroup !== undefined && leadsTo(mount.mountpoint) === mount)
}

/** By the mounts, and by the hierarchy numbers of /proc/cgroups, which tell it in containers without those mounts too. */
function boundToV1(mounts: readonly CgroupMount[], cgroups: string): string[] {
  const listed = cgroups.split('\n').flatMap((line) => {
    const [name, hierarchy] = words(line)
    return name === undefined || name.startsWith('#') || hierarchy === undefined || hierarchy === '0' ? [] : [name]
  })
  const names = [...mounts.flatMap((mount) => mount.controllers), ...listed]
  return [...new Set(names.map((name) => V2_NAMES[name] ?? name))]
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

/** `36 35 98:0 /root /mountpoint rw,noatime shared:1 - type source options`. */
function parseMount(line: string): Mount[] {
  const fields = line.split(' ')
  const separator = fields.indexOf('-', 6)
  const type = fields[separator + 1]
  const [id = '', parent = ''] = fields
  const [root, place, options] = fields.slice(3, 6)
  if (separator < 0 || root === undefined || place === undefined || options === undefined) return []
  const mountpoint = unescapePath(place)
  if (type !== 'cgroup' && type !== 'cgroup2') return [{ id, parent, mountpoint }]
  const superOptions = (fields[separator + 3] ?? '').split(',')
  const unified = type === 'cgroup2'
  const cgroup: CgroupMount = {
    root: unescapePath(root),
    mountpoint,
    // Either the mount or the whole filesystem may be read-only.
    readonly: [...options.split(','), ...superOptions].includes('ro'),
    unified,
    controllers: unified ? [] : superOptions.filter((word) => word !== '' && !NO_CONTROLLER.test(word)),
  }
  return [{ id, parent, mountpoint, cgroup }]
}

/** The kernel writes space, tab, newline and backslash as `\` and three octal digits of a byte. */
function unescapePath(text: string): string {
  if (!text.includes('\\')) return text
  const bytes = Buffer.from(text, 'utf8').toString('latin1')
  const plain = bytes.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
  return Buffer.from(plain, 'latin1').toString('utf8')
}

/** The v2 line of /proc/self/cgroup, `0::/path`; a cgroup that was removed under the process has a mark behind it. */
function ownPath(text: string): string {
  const line = text.split('\n').find((candidate) => candidate.startsWith('0::'))
  return line === undefined ? '/' : line.slice('0::'.length).replace(/ \(deleted\)$/, '')
}

function pick(mounts: readonly CgroupMount[], own: string): CgroupMount | undefined {
  const rank = (mount: CgroupMount): number => {
    const distance = relativeTo(mount.root, own)
    // Not above the process at all, then as far as possible below the best; read-only loses against writable.
    const depth = distance === undefined ? 10_000 : distance.split('/').length
    return depth + (mount.readonly ? 100_000 : 0)
  }
  return mounts.toSorted((one, other) => rank(one) - rank(other))[0]
}

/**
 * The path of cgroup `own` inside a mount whose root is cgroup `root`, `/` for the root itself; undefined if it is not
 * below. Seen from a cgroup namespace that the mount was not made in, either may begin with `/..` for each level above.
 */
function relativeTo(root: string, own: string): string | undefined {
  const above = levelsAbove(root)
  const mine = levelsAbove(own)
  // Levels above the namespace's own `/` have names that nobody tells from in here.
  if (above.levels !== mine.levels) return undefined
  if (above.rest === '/') return mine.rest
  if (mine.rest === above.rest) return '/'
  return mine.rest.startsWith(`${above.rest}/`) ? mine.rest.slice(above.rest.length) : undefined
}

function levelsAbove(path: string): { levels: number; rest: string } {
  const parts = path.split('/').filter((part) => part !== '')
  const levels = parts.findIndex((part) => part !== '..')
  const count = levels < 0 ? parts.length : levels
  return { levels: count, rest: `/${parts.slice(count).join('/')}` }
}
