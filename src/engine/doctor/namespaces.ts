import type { DoctorCheck } from '../api.ts'
import { RANGE_SIZE } from '../../model/ids.ts'
import { type Pool, poolOf, rangesIn } from '../ids/id-range.ts'
import type { HostReport, NamespaceReport } from './report.ts'

/** Namespaces, user namespaces and the ids they are given. */
export function namespaceChecks(report: HostReport): DoctorCheck[] {
  return [namespaces(report), userNamespaces(report), ordinaryUsers(report.namespaces), idRanges(report)]
}

function namespaces({ namespaces: { limits, made } }: HostReport): DoctorCheck {
  const name = 'namespaces'
  const kinds = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'] as const
  const off = kinds.filter((kind) => limits[kind]?.trim() === '0')
  if (off.length > 0) {
    const settings = off.map((kind) => `user.max_${kind}_namespaces`)
    const remedy = `sysctl -w ${settings.map((setting) => `${setting}=15000`).join(' ')}`
    return { name, result: 'fail', detail: `switched off: ${settings.join(', ')}`, remedy }
  }
  if (made?.ok === false) return { name, result: 'fail', detail: made.failed, remedy: remedyOf(made.errno) }
  return { name, result: 'ok', detail: made === undefined ? 'not tried: that needs root' : kinds.join(' ') }
}

function remedyOf(errno: string): string {
  if (errno === 'ENOSPC') return 'a limit on namespaces is reached: raise those of `sysctl -a | grep "^user.max_"`'
  if (errno === 'EINVAL')
    return 'use a kernel with CONFIG_NAMESPACES, CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_IPC_NS, CONFIG_UTS_NS=y'
  return 'start the container around tscrun with --privileged'
}

function userNamespaces({ facts, namespaces: { limits, madeUser } }: HostReport): DoctorCheck {
  const name = 'user namespaces'
  const without = 'root in a container is root of the host'
  if (limits.user?.trim() === '0') {
    const remedy =
      'sysctl -w user.max_user_namespaces=15000; for good: echo user.max_user_namespaces=15000 >/etc/sysctl.d/90-userns.conf'
    return { name, result: 'warn', detail: `switched off (user.max_user_namespaces=0): ${without}`, remedy }
  }
  if (!facts.userNamespaces) {
    return {
      name,
      result: 'warn',
      detail: `this kernel has none: ${without}`,
      remedy: 'use a kernel with CONFIG_USER_NS=y',
    }
  }
  if (madeUser?.ok === false) {
    return { name, result: 'warn', detail: `${madeUser.failed}; ${without}`, remedy: userRemedyOf(madeUser.errno) }
  }
  return {
    name,
    result: 'ok',
    detail: madeUser === undefined ? 'not tried: that needs root' : 'root in a container is nobody on the host',
  }
}

function userRemedyOf(errno: string): string {
  if (errno === 'ENOSPC') return 'sysctl -w user.max_user_namespaces=15000'
  if (errno === 'EUSERS') return 'too many user namespaces inside one another: run tscrun further out'
  return 'start the container around tscrun with --privileged --userns=host'
}

/** Root may always; others are told, since their other tools meet the same limit. */
function ordinaryUsers({ apparmorRestricts, unprivilegedClone }: NamespaceReport): DoctorCheck {
  const name = 'ordinary users'
  const settings = [
    ...(apparmorRestricts?.trim() === '1' ? ['kernel.apparmor_restrict_unprivileged_userns'] : []),
    ...(unprivilegedClone?.trim() === '0' ? ['kernel.unprivileged_userns_clone'] : []),
  ]
  if (settings.length === 0) return { name, result: 'ok', detail: 'may make user namespaces' }
  const values = settings.map((setting) => `${setting}=${setting.includes('apparmor') ? 0 : 1}`)
  return {
    name,
    result: 'ok',
    detail: `may make no user namespaces (${settings.join(', ')}); tscrun runs as root, so this does not concern it`,
    remedy: `if they should: sysctl -w ${values.join(' ')}`,
  }
}

interface IdLine {
  readonly name: string
  readonly first: number
  readonly size: number
}

/** Lines of /etc/subuid (subuid(5)); what is no such line is not looked at, as shadow's own tools do it. */
function idLines(text = ''): IdLine[] {
  return text.split('\n').flatMap((line) => {
    const [name, first, size] = line.trim().split(':')
    const known = name !== undefined && /^[^#]/.test(name) && /^\d+$/.test(first ?? '') && /^\d+$/.test(size ?? '')
    return known ? [{ name, first: Number(first), size: Number(size) }] : []
  })
}

function overlaps(a: Omit<IdLine, 'name'>, b: Omit<IdLine, 'name'>): boolean {
  return a.first < b.first + b.size && b.first < a.first + a.size
}

const SOURCES = {
  config: 'id_pool of the configuration',
  subuid: 'containers in /etc/subuid',
  default: 'the default pool',
  mapped: 'of this user namespace',
} as const satisfies Record<Pool['source'], string>

/** What is called `containers` in subuid(5) belongs to the containers of root, as podman has it. */
function idRanges({ identities: { ids, subgid, passwd, taken } }: HostReport): DoctorCheck {
  const name = 'id ranges'
  const { subuid } = ids
  const pool = poolOf(ids)
  const count = rangesIn(pool)
  const own = pool.source === 'subuid'
  if (count === 0 && pool.source === 'mapped') {
    return {
      name,
      result: 'warn',
      detail: `this user namespace has no ${RANGE_SIZE} ids beside its own: root in a container is root here`,
      remedy: `start the container around tscrun with ${2 * RANGE_SIZE} ids or more, or with --userns=host`,
    }
  }
  const detail = `${pool.first}-${pool.first + pool.size - 1} (${SOURCES[pool.source]}), ${taken} of ${count} ranges in use`
  const others = [
    ...idLines(subuid).map((line) => ({ ...line, file: '/etc/subuid' })),
    ...idLines(subgid).map((line) => ({ ...line, file: '/etc/subgid' })),
  ].filter((line) => line.name !== 'containers')
  const move = remedyOfOverlap(others)
  const inTheWay = others.find((line) => overlaps(line, pool))
  if (inTheWay !== undefined) {
    return {
      name,
      result: 'warn',
      detail: `${detail}: ${inTheWay.name} in ${inTheWay.file} has some of these ids too`,
      remedy: move,
    }
  }
  const user = userWithin(passwd, pool)
  if (user !== undefined)
    return { name, result: 'warn', detail: `${detail}: user ${user} has one of these ids`, remedy: move }
  const group = idLines(subgid).find((line) => line.name === 'containers')
  if (own && (group === undefined || group.first > pool.first || group.first + group.size < pool.first + pool.size)) {
    return {
      name,
      result: 'warn',
      detail: `${detail}: /etc/subgid does not give containers the same ids`,
      remedy: `let /etc/subgid have the line containers:${pool.first}:${pool.size}`,
    }
  }
  if (count === 0 || pool.first + pool.size > 0xffff_fffe) {
    return {
      name,
      result: 'fail',
      detail: `${detail}: ${count === 0 ? 'fewer than 65536 ids' : 'beyond the last id'}`,
      remedy: move,
    }
  }
  if (taken >= count) {
    return { name, result: 'fail', detail, remedy: `tscrun rm containers that have ended, or ${move}` }
  }
  return { name, result: 'ok', detail }
}

/** The first 256 ranges behind everything that is given to somebody. */
function remedyOfOverlap(others: readonly IdLine[]): string {
  const end = Math.max(0x7000_0000, ...others.map((line) => line.first + line.size))
  const first = Math.ceil(end / RANGE_SIZE) * RANGE_SIZE
  return `give containers ids of their own: containers:${first}:${256 * RANGE_SIZE} as a line of /etc/subuid and of /etc/subgid`
}

function userWithin(passwd: string | undefined, pool: Omit<IdLine, 'name'>): string | undefined {
  const line = (passwd ?? '').split('\n').find((entry) => {
    const uid = Number(entry.split(':')[2] ?? Number.NaN)
    return uid >= pool.first && uid < pool.first + pool.size
  })
  return line?.split(':')[0]
}
