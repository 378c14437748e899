import { statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { withHostsCgroups } from '../../cgroups/host-mount.ts'
import type { Digest } from '../../model/digest.ts'
import { TscrunError } from '../../model/errors.ts'
import type { HostFacts } from '../../model/facts.ts'
import type { HealthCheck } from '../../model/health.ts'
import type { ImageConfig } from '../../model/image.ts'
import type { LaunchSpec, RootfsSource } from '../../model/launch.ts'
import type { NetworkConnection } from '../../model/network.ts'
import type { RunOptions, VolumeMount } from '../../model/run-options.ts'
import { canHoldUpper, canIdmap, filesystemOf, overlayTakesIdmapped } from '../../overlayfs/support.ts'
import { randomId } from '../../syscall/random.ts'
import { readAccounts } from '../../rootfs/accounts.ts'
import { type ResolvedUser, resolveUser } from '../../rootfs/user.ts'
import { capabilitiesOf } from '../../spec/capabilities.ts'
import { makeConfig } from '../../spec/make.ts'
import type { JoinedTargets } from '../ids/joined-container.ts'
import { endOf, type JoinedMappings, joinedMappings } from '../ids/joined-user.ts'
import { askedDevices, bindSources, deviceNumbers, toOciDevice } from './devices.ts'
import { networkFiles } from '../files.ts'
import { hostFacts, nofileHardLimit, ownCapabilities, presentCpus } from '../../runtime/host.ts'
import { RANGE_SIZE } from '../../model/ids.ts'
import { rangesIn, readPool } from '../ids/id-range.ts'
import { justLook, type Look } from './look.ts'
import { checkName, defaultName } from './name.ts'
import type { EnginePaths } from '../paths.ts'
import type { HostWarning } from '../tell-once.ts'
import { seccompOf } from './seccomp.ts'
import { requestedMounts } from '../volumes/request.ts'
import type { TakenMounts } from '../volumes/take.ts'

/** Where the root filesystem comes from. */
export interface Source {
  /** As the user named it. */
  readonly name: string
  readonly imageId?: Digest
  /** Absolute directories, bottom to top. */
  readonly layers: readonly string[]
  readonly config: Pick<
    ImageConfig,
    | 'env'
    | 'entrypoint'
    | 'cmd'
    | 'workingDir'
    | 'labels'
    | 'user'
    | 'stopSignal'
    | 'volumes'
    | 'healthcheck'
    | 'exposedPorts'
  >
  /** The highest uid or gid of its files, where it is known to be beyond 65,535. */
  readonly highestId?: number
  /** Use the one layer itself, without an overlay over it. */
  readonly direct: boolean
  /** Throw away what the container writes. */
  readonly scratch: boolean
}

const NO_IMAGE_CONFIG: Source['config'] = {
  env: [],
  entrypoint: [],
  cmd: [],
  workingDir: '/',
  labels: new Map(),
  user: '',
  volumes: [],
  exposedPorts: [],
}

/** `--rootfs DIR`. Throws USAGE where it is no directory. */
export function rootfsSource(rootfs: NonNullable<RunOptions['rootfs']>): Source {
  if (statSync(rootfs.path, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new TscrunError('USAGE', `--rootfs ${rootfs.path}: not a directory`, {
      subject: rootfs.path,
      hint: "give the directory that becomes the root, e.g. --rootfs /:O for this machine's own",
    })
  }
  return {
    name: rootfs.path,
    layers: [rootfs.path],
    config: NO_IMAGE_CONFIG,
    direct: !rootfs.overlay,
    scratch: rootfs.overlay,
  }
}

/** A container that could be started: decided, but nothing of it exists yet. */
export interface PreparedContainer {
  readonly id: string
  readonly name: string
  readonly source: Source
  readonly ownUser: boolean
  /** What it joins of other containers. */
  readonly targets?: JoinedTargets
  readonly warnings: readonly HostWarning[]
  /** What of the host and of the store is to be mounted; `takeMounts` sees to the volumes. */
  readonly mounts: readonly VolumeMount[]
  /** Whom the command runs as; ids of the container. */
  readonly user: { readonly uid: number; readonly gid: number }
  readonly health?: HealthCheck
  /** Of one that was foreseen, whose `spec` is another one's: decides it now. */
  readonly afresh?: () => Promise<PreparedContainer>
  /** What is started, once the range of ids is known. */
  spec(options: {
    readonly idRange?: { readonly hostId: number; readonly size: number }
    readonly connected?: { readonly connections: readonly NetworkConnection[] }
    readonly stdio: LaunchSpec['stdio']
    /** What the mounts have come to; absent where all are of the host. */
    readonly taken?: Pick<TakenMounts, 'binds' | 'tmpfs'>
    readonly dryRun?: boolean
  }): LaunchSpec
}

/** Of a container that is decided on. */
export interface Unborn {
  /** A new one without it. */
  readonly id?: string
  readonly look?: Look
}

/** What is found out by the way. */
interface Findings {
  readonly warnings: HostWarning[]
  readonly look: Look
}

/**
 * Decides everything about a container that the host, the image and the options leave open. Reads, changes nothing.
 *
 * @param starts it is started now, so what it joins must run
 */
export async function prepareContainer(
  paths: EnginePaths,
  source: Source,
  args: readonly string[],
  asked: RunOptions,
  starts: boolean,
  { id = randomId(), look = justLook }: Unborn = {},
): Promise<PreparedContainer> {
  const facts = hostFacts()
  checkLabels(asked, facts)
  checkHostname(asked)
  const targets = joinsContainer(asked)
    ? (await import('../ids/joined-container.ts')).findTargets(paths, asked, starts)
    : undefined
  const options = targets?.options ?? asked
  const name = options.name === undefined ? defaultName(id) : checkName(options.name)
  const warnings: HostWarning[] = []
  const joined = targets === undefined ? joinedByPath(options) : targets.mappings
  const ownUser = joined === undefined && decideUserNamespace(source, paths, options, facts, { warnings, look })
  const ids = ownUser ? RANGE_SIZE : joined === undefined ? Infinity : endOf(joined)
  checkOwners(source, ids)
  const shifted = ownUser || joined !== undefined
  const hostname = options.hostname ?? targets?.hostname ?? id.slice(0, 12)
  const directory = join(paths.containers, id)
  const rootfs = rootfsOf(source, paths, options, shifted, { warnings, look })
  const readThem = (): readonly [string, string] => readAccounts(source.layers)
  // The id of an image stands for all that is in it.
  const accounts = source.imageId === undefined ? look(readThem) : readThem()
  const user = resolveUser(options.user ?? source.config.user, ...accounts, options.groupAdd)
  checkUser(user, options.user ?? source.config.user, ids)
  const mounts = await requestedMounts(paths, options, source.config.volumes)
  const devices = askedDevices(options)
  const ociDevices = devices.map(toOciDevice)
  const capabilities = capabilitiesOf(options, shifted ? undefined : ownCapabilities())
  checkRate(options, capabilities)
  const seccomp = await seccompOf(options, capabilities)
  const health = await healthOf(source, options)
  return {
    id,
    name,
    source,
    ownUser,
    ...(targets === undefined ? {} : { targets }),
    warnings,
    mounts,
    user,
    ...(health === undefined ? {} : { health }),
    spec: ({ idRange, connected, stdio, taken, dryRun = false }) => {
      const binds = taken?.binds ?? mounts.flatMap((mount) => (mount.source === undefined ? [] : [mount]))
      const tmpfs = [...(options.tmpfs ?? []), ...(taken?.tmpfs ?? [])]
      const made = makeConfig({
        id,
        name,
        image: source.config,
        args,
        options: { ...options, tmpfs, devices, volumes: bindSources(binds, shifted, facts, dryRun) },
        user,
        ...(joined === undefined ? {} : { joined }),
        ...(ownUser ? { idRange: idRange ?? { hostId: readPool(paths.idPool).first, size: RANGE_SIZE } } : {}),
        capabilities,
        hostname,
        devices: ociDevices,
        cpus: presentCpus(),
        nofileHard: look(nofileHardLimit),
        rootPath: 'rootfs',
        resolveDevice: deviceNumbers,
      })
      const config = withHostsCgroups(made, facts.cgroup)
      return {
        id,
        config,
        directory,
        rootfs,
        files:
          targets?.files ??
          networkFiles(options, { hostname, name, connections: connected?.connections ?? [] }, config, look),
        ...(targets === undefined ? {} : { joins: targets.joins }),
        stdio,
        ...(seccomp === undefined ? {} : { seccomp }),
        init: options.init === true,
        kernel: facts.kernel,
      }
    },
  }
}

/** What leaves a container is held in its own network namespace. */
function checkRate({ network }: RunOptions, capabilities: readonly string[]): void {
  if (typeof network !== 'object' || !('networks' in network) || !capabilities.includes('CAP_NET_ADMIN')) return
  if (network.networks.every(({ rate }) => rate?.out === undefined)) return
  throw new TscrunError('USAGE', '--network-rate: a container with NET_ADMIN could lift what holds its output', {
    subject: '--network-rate',
    hint: 'leave NET_ADMIN out, or hold what comes in alone, e.g. --network-rate 10M',
  })
}

function joinsContainer({ namespaces = {}, network }: RunOptions): boolean {
  const { pid, ipc, uts, cgroup, user } = namespaces
  return [pid, ipc, uts, cgroup, user, network].some((choice) => typeof choice === 'object' && 'container' in choice)
}

function joinedByPath({ namespaces }: RunOptions): JoinedMappings | undefined {
  const asked = namespaces?.user
  return typeof asked === 'object' && 'path' in asked ? joinedMappings(asked.path) : undefined
}

async function healthOf({ config }: Source, { health }: RunOptions): Promise<HealthCheck | undefined> {
  if (config.healthcheck === undefined && health === undefined) return undefined
  const { resolveHealth } = await import('../../spec/health.ts')
  return resolveHealth(config.healthcheck, health)
}

/**
 * `--userns=auto` is the default where kernel and filesystem can shift owners; where they cannot, the host's user
 * namespace with one warning, or an error if it was asked for.
 */
function decideUserNamespace(
  source: Source,
  paths: EnginePaths,
  options: RunOptions,
  facts: HostFacts,
  { warnings, look }: Findings,
): boolean {
  const asked = options.namespaces?.user
  if (typeof asked === 'object' && 'path' in asked) {
    // Never run in the host's instead: that would be less than what was asked for.
    throw new TscrunError(
      'USERNS_UNAVAILABLE',
      `--userns=ns:${asked.path}: joining a user namespace is not supported yet`,
      {
        subject: asked.path,
        hint: 'use --userns=auto or --userns=host',
      },
    )
  }
  if (asked === 'host') return false
  if (options.privileged === true && asked === undefined) return false
  const reason = whyNoUserNamespace(source, paths, facts, look)
  if (reason === undefined) return true
  if (asked === 'auto') {
    throw new TscrunError('USERNS_UNAVAILABLE', `--userns=auto: ${reason}`, {
      hint: "leave it out to share the host's user namespace, or move the store by --root",
    })
  }
  warnings.push({ lack: 'no-user-namespace', line: `root in the container is root of the host: ${reason}` })
  return false
}

/** An image must not choose the host's user namespace for itself, nor give files to nobody that are somebody's. */
function checkOwners({ name, highestId = 0 }: Source, ids: number): void {
  if (highestId >= ids) throw beyondRange(name, `it has files of id ${highestId}`, ids)
}

/** The kernel would refuse them by EINVAL, at the last moment. */
function checkUser(user: ResolvedUser, asked: string, ids: number): void {
  const highest = Math.max(user.uid, user.gid, ...user.additionalGids)
  if (highest >= ids) throw beyondRange(`user ${asked || user.uid}`, `it needs id ${highest}`, ids)
}

function beyondRange(subject: string, what: string, ids: number): TscrunError {
  return new TscrunError('USERNS_UNAVAILABLE', `${subject}: ${what}, and the container's ids are 0 to ${ids - 1}`, {
    subject,
    hint: '--userns=host has all ids; root in the container is then root of the host',
  })
}

function whyNoUserNamespace(source: Source, paths: EnginePaths, facts: HostFacts, look: Look): string | undefined {
  if (!facts.userNamespaces) return 'user namespaces are switched off (user.max_user_namespaces)'
  if (!source.direct && !overlayTakesIdmapped(facts.kernel))
    return `Linux ${facts.kernel.release} cannot id-map the layers of an overlay (5.19 can)`
  if (look(() => rangesIn(readPool(paths.idPool))) === 0)
    return `no ${RANGE_SIZE} ids of this user namespace can be given to it`
  const directory = source.imageId === undefined ? (source.layers[0] ?? '/') : paths.root
  const filesystem = look(() => filesystemOf(directory))
  if (!canIdmap(filesystem, facts.kernel)) return `the filesystem of ${directory} (${filesystem}) cannot be id-mapped`
  return undefined
}

function rootfsOf(
  source: Source,
  paths: EnginePaths,
  options: RunOptions,
  ownUser: boolean,
  { warnings, look }: Findings,
): RootfsSource {
  const top = source.layers.at(-1) ?? '/'
  if (source.direct) return { kind: 'directory', path: top, idmap: ownUser }
  const filesystem = look(() => filesystemOf(paths.root))
  const upperHolds = canHoldUpper(filesystem)
  if (!source.scratch && !upperHolds) {
    const line = `what the container writes is kept in memory: ${paths.root} (${filesystem}) cannot hold it`
    warnings.push({ lack: 'no-upper', line })
  }
  const inStore = source.imageId !== undefined
  return {
    kind: 'overlay',
    base: inStore ? paths.layers : top,
    layers: inStore ? source.layers.map((layer) => relative(paths.layers, layer)) : ['.'],
    idmap: ownUser,
    upper: source.scratch || !upperHolds ? 'tmpfs' : 'directory',
    volatile: options.remove === true || source.scratch,
    mode: look(() => statSync(top).mode & 0o7777),
  }
}

/** A name belongs to its namespace: that of the host, or of another container, is not ours to change. */
function checkHostname({ hostname, namespaces: { uts = 'new' } = {} }: RunOptions): void {
  if (hostname === undefined || uts === 'new') return
  const whose = uts === 'host' ? 'host' : 'container' in uts ? `container:${uts.container}` : `ns:${uts.path}`
  throw new TscrunError('USAGE', `--hostname ${hostname}: does not go together with --uts ${whose}`, {
    subject: '--hostname',
    hint: 'the name is that of the shared UTS namespace: leave one of the two out',
  })
}

/** What cannot be applied is refused, never passed over: whoever asks for a confinement relies on it. */
function checkLabels(options: RunOptions, facts: HostFacts): void {
  const { apparmor, label = [] } = options.security ?? {}
  if (apparmor !== undefined && apparmor !== 'unconfined') {
    throw new TscrunError(
      'HOST_UNSUPPORTED',
      `--security-opt apparmor=${apparmor}: AppArmor profiles are not supported yet`,
      {
        subject: apparmor,
        hint: facts.apparmor
          ? 'run it without, or with apparmor=unconfined'
          : 'this host has no AppArmor: run it without',
      },
    )
  }
  const [asked] = label.filter((word) => word !== 'disable')
  if (asked !== undefined) {
    throw new TscrunError('HOST_UNSUPPORTED', `--security-opt label=${asked}: SELinux labels are not supported yet`, {
      subject: asked,
      hint: facts.selinux ? 'run it without, or with label=disable' : 'this host has no SELinux: run it without',
    })
  }
}
