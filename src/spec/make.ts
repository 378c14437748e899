import type { NamespaceOption, RunOptions } from '../model/run-options.ts'
import type { IdMapping, NamespaceType, OciConfig, OciDevice, OciMount, OciNamespace } from '../model/config.ts'
import { RANGE_SIZE } from '../model/ids.ts'
import type { ImageConfig } from '../model/image.ts'
import { restrictedPaths } from '../security/paths.ts'
import { ociRlimit } from '../security/rlimits.ts'
import { limitsToResources } from './limits.ts'
import { commandOf, environmentOf } from './command.ts'

/** What the engine found out before the config can be made. */
export interface ConfigInputs {
  readonly id: string
  readonly name: string
  readonly image: Pick<ImageConfig, 'env' | 'entrypoint' | 'cmd' | 'workingDir' | 'labels'>
  readonly args: readonly string[]
  readonly options: RunOptions
  readonly user: {
    readonly uid: number
    readonly gid: number
    readonly additionalGids: readonly number[]
    readonly home: string
  }
  /** The range of host ids of a user namespace of its own; absent: the host's. */
  readonly idRange?: { readonly hostId: number; readonly size: number }
  /** What `capabilitiesOf` answers. */
  readonly capabilities: readonly string[]
  /** The ids of a user namespace that is joined. */
  readonly joined?: { readonly uid: readonly IdMapping[]; readonly gid: readonly IdMapping[] }
  readonly hostname: string
  /** Bind mounts whose owners are to be shifted: the sources' filesystems can. */
  readonly devices: readonly OciDevice[]
  readonly cpus: readonly number[]
  readonly nofileHard: number
  readonly rootPath: string
  readonly resolveDevice: (path: string) => { readonly major: number; readonly minor: number }
}

/** The group `tty`, to which terminals belong. */
const TTY = 5

/** Default size of /dev/shm, as docker has it. */
const SHM_BYTES = 64 * 2 ** 20

/** The OCI runtime config of an engine container: tscrun's defaults, the image's wishes, the user's options. */
export function makeConfig(inputs: ConfigInputs): OciConfig {
  const { options, user } = inputs
  const terminal = options.tty === true
  const { capabilities } = inputs
  const namespaces = namespacesOf(options, inputs.idRange !== undefined, inputs.joined !== undefined)
  const mappings = mappingsOf(inputs)
  const ownUts = namespaces.some((namespace) => namespace.type === 'uts' && namespace.path === undefined)
  return {
    ociVersion: '1.2.1',
    ...(ownUts ? { hostname: inputs.hostname } : {}),
    root: { path: inputs.rootPath, readonly: options.readOnly === true },
    process: {
      terminal,
      user: {
        uid: user.uid,
        gid: user.gid,
        additionalGids: user.additionalGids,
        ...(options.umask === undefined ? {} : { umask: options.umask }),
      },
      args: commandOf(inputs.image, inputs.args, options.entrypoint),
      env: environmentOf({ image: inputs.image.env, options, hostname: inputs.hostname, home: user.home, terminal }),
      cwd: options.workdir ?? (inputs.image.workingDir === '' ? '/' : inputs.image.workingDir),
      capabilities: {
        bounding: capabilities,
        effective: capabilities,
        permitted: capabilities,
        inheritable: [],
        ambient: [],
      },
      rlimits: rlimitsOf(inputs),
      noNewPrivileges: options.security?.noNewPrivileges === true,
      ...(options.oomScoreAdj === undefined ? {} : { oomScoreAdj: options.oomScoreAdj }),
    },
    mounts: mountsOf(inputs),
    annotations: { ...options.annotations },
    linux: {
      namespaces,
      ...(mappings === undefined ? {} : { uidMappings: mappings.uid, gidMappings: mappings.gid }),
      ...(options.namespaces?.time === undefined ? {} : { timeOffsets: timeOffsetsOf(options.namespaces.time) }),
      devices: inputs.devices,
      resources: limitsToResources(options, inputs.devices, inputs.resolveDevice),
      sysctl: sysctlsOf(options, namespaces, mappings?.gid),
      ...pathsOf(options, inputs.cpus),
    },
  }
}

function namespacesOf(options: RunOptions, ownUser: boolean, joinsUser: boolean): OciNamespace[] {
  const chosen = options.namespaces ?? {}
  const network = networkNamespace(options.network)
  const list: OciNamespace[] = [{ type: 'mount' }]
  const add = (type: NamespaceType, choice: NamespaceOption = 'new'): void => {
    if (choice === 'host') return
    if (typeof choice === 'object' && 'container' in choice) throw new RangeError('a container has no path yet')
    list.push(choice === 'new' ? { type } : { type, path: choice.path })
  }
  add('pid', chosen.pid)
  add('network', network)
  add('ipc', chosen.ipc)
  add('uts', chosen.uts)
  add('cgroup', chosen.cgroup)
  if (ownUser) add('user')
  else if (joinsUser && typeof chosen.user === 'object') add('user', chosen.user)
  if (chosen.time !== undefined) add('time')
  return list
}

function networkNamespace(network: RunOptions['network'] = 'none'): NamespaceOption {
  if (typeof network === 'string') return network === 'host' ? 'host' : 'new'
  return 'networks' in network || 'cni' in network ? 'new' : network
}

function mappingsOf(inputs: ConfigInputs): ConfigInputs['joined'] {
  const range = inputs.idRange
  if (range === undefined) return inputs.joined
  const mapping = [{ containerID: 0, hostID: range.hostId, size: range.size }]
  return { uid: mapping, gid: mapping }
}

function timeOffsetsOf(time: {
  readonly boottime?: number
  readonly monotonic?: number
}): Record<string, { secs: number }> {
  return {
    ...(time.boottime === undefined ? {} : { boottime: { secs: time.boottime } }),
    ...(time.monotonic === undefined ? {} : { monotonic: { secs: time.monotonic } }),
  }
}

function rlimitsOf(inputs: ConfigInputs): ReturnType<typeof ociRlimit>[] {
  const each = (inputs.options.ulimits ?? []).map((limit) => ociRlimit(limit.name, limit.soft, limit.hard))
  // Of two the later one counts; set one after the other, the hard limit of the second might be refused.
  const asked = [...new Map(each.map((limit) => [limit.type, limit])).values()]
  if (asked.some((limit) => limit.type === 'RLIMIT_NOFILE')) return asked
  // Low soft limit: programs that close every possible descriptor stay fast; who needs more raises it himself.
  return [...asked, ociRlimit('nofile', Math.min(1024, inputs.nofileHard), inputs.nofileHard)]
}

function mountsOf(inputs: ConfigInputs): OciMount[] {
  const { options, joined } = inputs
  // The kernel refuses an owner that a joined user namespace does not map (EINVAL), as one of a single id.
  const hasTty =
    joined === undefined || joined.gid.some((each) => each.containerID <= TTY && TTY < each.containerID + each.size)
  const shm = options.shmSize ?? SHM_BYTES
  const system = options.privileged === true ? [] : ['ro']
  const mounts: OciMount[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', ...(hasTty ? [`gid=${TTY}`] : [])],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', ...system] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', ...system],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shm}`],
    },
  ]
  return withUserMounts(mounts, userMounts(options, mappingsOf(inputs) !== undefined))
}

/** A /dev of the user's is in the place of ours; a bind is as it lies there, with nothing of ours below it, as docker has it. */
function withUserMounts(ours: readonly OciMount[], users: readonly OciMount[]): OciMount[] {
  const dev = users.find(({ destination }) => destination === '/dev')
  if (dev === undefined) return [...ours, ...users]
  const others = users.filter((mount) => mount !== dev)
  if (dev.type === 'tmpfs') return [...ours.map((mount) => (mount.destination === '/dev' ? dev : mount)), ...others]
  return [...ours.filter(({ destination }) => !`${destination}/`.startsWith('/dev/')), dev, ...others]
}

/** tmpfs and volumes in the order of their depth, so that a mount on /a never hides one on /a/b. */
function userMounts(options: RunOptions, shifted: boolean): OciMount[] {
  const tmpfs = (options.tmpfs ?? []).map((mount): OciMount => {
    const asked = mount.options ?? []
    const defaults = ['nosuid', 'nodev', 'noexec'].filter((option) => !asked.includes(option.slice(2)))
    return { destination: mount.target, type: 'tmpfs', source: 'tmpfs', options: [...defaults, ...asked] }
  })
  const binds = (options.volumes ?? []).flatMap((volume): OciMount[] => {
    // A volume of the store is a directory of it by now.
    if (volume.source === undefined) return []
    return [
      {
        destination: volume.target,
        type: 'bind',
        source: volume.source,
        options: [
          volume.recursive === false ? 'bind' : 'rbind',
          volume.readonly === true ? 'ro' : 'rw',
          volume.propagation ?? 'rprivate',
          ...(volume.flags ?? []),
          ...(shifted ? ['idmap'] : []),
        ],
      },
    ]
  })
  const depth = (mount: OciMount): number => mount.destination.split('/').filter((part) => part !== '').length
  return [...tmpfs, ...binds].toSorted((a, b) => depth(a) - depth(b))
}

/** Ports below 1024 and ping need no capability in a network of one's own (ip(7), icmp(7)). */
function sysctlsOf(
  options: RunOptions,
  namespaces: readonly OciNamespace[],
  gids: readonly IdMapping[] | undefined,
): Record<string, string> {
  const ownNetwork = namespaces.some((namespace) => namespace.type === 'network' && namespace.path === undefined)
  // The kernel refuses a group that the user namespace does not map (EINVAL).
  const ends = (gids ?? []).map(({ containerID, size }) => containerID + size)
  const groups = Math.min(RANGE_SIZE, ends.length === 0 ? RANGE_SIZE : Math.max(...ends))
  const defaults: Record<string, string> = ownNetwork
    ? { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': `0 ${groups - 1}` }
    : {}
  return { ...defaults, ...options.sysctls }
}

function pathsOf(options: RunOptions, cpus: readonly number[]): { maskedPaths: string[]; readonlyPaths: string[] } {
  if (options.privileged === true) return { maskedPaths: [], readonlyPaths: [] }
  const { mask, unmask } = options.security ?? {}
  const paths = restrictedPaths({
    cpus,
    ...(mask === undefined ? {} : { mask }),
    ...(unmask === undefined ? {} : { unmask }),
  })
  return { maskedPaths: [...paths.masked], readonlyPaths: [...paths.readonly] }
}
