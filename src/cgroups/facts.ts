import type { CgroupFacts } from '../model/facts.ts'

/** A line of /proc/self/mountinfo (proc_pid_mountinfo(5)), as far as cgroups need it. */
interface MountLine {
  readonly root: string
  readonly mountpoint: string
  readonly readonly: boolean
  readonly type: string
  readonly superOptions: readonly string[]
}

/** Texts of the files that tell how cgroups are set up here. */
export interface CgroupTexts {
  /** /proc/self/mountinfo */
  readonly mountinfo: string
  /** /proc/self/cgroup */
  readonly self: string
  /** cgroup.controllers of the v2 hierarchy's root, as far as this process sees it. */
  readonly controllers: (mountpoint: string) => string
}

/** Reads what `parseCgroupFacts` needs. `read` throws where a file cannot be read. */
export function readCgroupFacts(read: (path: string) => string): CgroupFacts {
  return parseCgroupFacts({
    mountinfo: read('/proc/self/mountinfo'),
    self: read('/proc/self/cgroup'),
    controllers: (mountpoint) => read(`${mountpoint}/cgroup.controllers`),
  })
}

/** Version 2 alone, beside version 1, or not there at all; a later mount on the same place wins. */
export function parseCgroupFacts(texts: CgroupTexts): CgroupFacts {
  const mounts = texts.mountinfo.split('\n').flatMap(parseMountLine)
  const v1Controllers = [
    ...new Set(
      mounts
        .filter((mount) => mount.type === 'cgroup')
        .flatMap((mount) => mount.superOptions.filter((option) => V1_CONTROLLERS.has(option))),
    ),
  ].map(v2Name)
  const v2 = mounts.findLast((mount) => mount.type === 'cgroup2' && visible(mount, mounts))
  if (v2 === undefined) {
    return { mode: v1Controllers.length > 0 ? 'v1' : 'none', readonly: true, own: '/', controllers: [], v1Controllers }
  }
  const own =
    texts.self
      .split('\n')
      .find((line) => line.startsWith('0::'))
      ?.slice('0::'.length) ?? '/'
  return {
    mode: v1Controllers.length > 0 ? 'hybrid' : 'unified',
    mountpoint: v2.mountpoint,
    readonly: v2.readonly,
    own: belowRoot(own, v2.root),
    controllers: texts
      .controllers(v2.mountpoint)
      .trim()
      .split(/\s+/)
      .filter((name) => name !== ''),
    v1Controllers,
  }
}

/** Something mounted on the same directory later hides it. */
function visible(mount: MountLine, all: readonly MountLine[]): boolean {
  return all.findLast((other) => other.mountpoint === mount.mountpoint) === mount
}

const V1_CONTROLLERS = new Set([
  'memory',
  'cpu',
  'cpuacct',
  'cpuset',
  'pids',
  'blkio',
  'devices',
  'freezer',
  'hugetlb',
  'net_cls',
  'net_prio',
  'perf_event',
  'rdma',
  'misc',
])

function v2Name(name: string): string {
  return name === 'blkio' ? 'io' : name
}

/** A mount may show only part of the hierarchy; a cgroup outside of the namespace reads `/../x`. */
function belowRoot(own: string, root: string): string {
  if (own.startsWith('/..')) return '/'
  if (root === '/' || root.startsWith('/..')) return own
  return own === root ? '/' : own.startsWith(`${root}/`) ? own.slice(root.length) : '/'
}

function parseMountLine(line: string): MountLine[] {
  const [front, back] = line.split(' - ')
  const [, , , root, mountpoint, options] = front?.split(' ') ?? []
  const [type, , superOptions] = back?.split(' ') ?? []
  if (root === undefined || mountpoint === undefined || options === undefined || type === undefined) return []
  return [
    {
      root: unescapeOctal(root),
      mountpoint: unescapeOctal(mountpoint),
      readonly: options.split(',').includes('ro'),
      type,
      superOptions: (superOptions ?? '').split(','),
    },
  ]
}

/** mountinfo writes space, tab, newline and backslash as three octal digits. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
