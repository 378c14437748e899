import { constants, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { recordPath, storePaths } from '../../images/layout.ts'
import type { Digest } from '../../model/digest.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { errnoName } from '../../model/kernel-names.ts'
import type { NetworkConnection } from '../../model/network.ts'
import type { BindMount, RunOptions, VolumeMount } from '../../model/run-options.ts'
import { encodePlan } from '../../plan/encode.ts'
import { type Identity, makeTemplate, otherId, type Sample, type Template } from '../../plan/template.ts'
import { REGISTRIES_VARIABLES, registriesPlaces } from '../../registry/config-files.ts'
import { factsAreCurrent, hostFacts } from '../../runtime/host.ts'
import { monitorDied, refusalOf } from '../../runtime/launch.ts'
import { nativeFile } from '../../syscall/ffi.ts'
import { packageRoot } from '../../syscall/package-root.ts'
import { configPaths } from '../config/file.ts'
import { RANGE_SIZE } from '../../model/ids.ts'
import { poolOf, rangesIn, readIdFacts, readPool } from '../ids/id-range.ts'
import { defaultName, NAME_WORDS } from '../start/name.ts'
import { outputRefused } from '../start/output-refused.ts'
import type { EnginePaths } from '../paths.ts'
import { DEFAULT_NETWORK } from '../networks/definitions.ts'
import { macOf } from '../networks/host.ts'
import type { ContainerRecord } from '../state/record.ts'
import { type PreparedNetwork, type PreparedStart, keepPreparedFile, type Saying, storeOfWords } from './file.ts'
import { type PreparedContainer, prepareContainer, type Source } from '../start/prepare.ts'
import { addressesOf, type MadeStart, makeStart, type RunningHandle, type StartOptions } from '../start/start.ts'
import { networkSubjects, otherAddresses, preparedNetwork } from './network.ts'
import { type Subject, type Witness, witness } from './witnesses.ts'

/** How a command line asked for a start that may be done again without Node. */
export interface Repeatable {
  /** The command line without the program. */
  readonly argv: readonly string[]
  /** The caller's: the record tells it. */
  readonly directory: string
  /** Names of the caller's variables that were looked at. */
  readonly variables: readonly string[]
  /** Files the caller has named, which were read. */
  readonly files: readonly string[]
  /** Words an error as the command line would. */
  readonly say: (error: unknown) => { readonly text: string; readonly exitCode: number }
}

/** A start under way, and what it was made from. */
export interface RepeatedStart extends Pick<StartOptions, 'stdio'> {
  readonly args: readonly string[]
  /** As at its start, looked up anew. */
  readonly source: () => Promise<Source>
  readonly handle: RunningHandle
}

/** What a start may be asked with: of everything here it is known what it makes the preparation look at. */
const KNOWN: ReadonlySet<string> = new Set([
  'env',
  'workdir',
  'user',
  'entrypoint',
  'hostname',
  'addHost',
  'dns',
  'dnsSearch',
  'dnsOption',
  'labels',
  'annotations',
  'tmpfs',
  'tty',
  'volumes',
  'readOnly',
  'capAdd',
  'capDrop',
  'shmSize',
  'ulimits',
  'sysctls',
  'init',
  'stopSignal',
  'pull',
  'platform',
  'tlsVerify',
  'maxUnpackSize',
  'rootfs',
  'network',
  'groupAdd',
  'umask',
  'oomScoreAdj',
  'interactive',
  'remove',
  'memory',
  'memorySwap',
  'memoryReservation',
  'cpus',
  'cpuShares',
  'cpuQuota',
  'cpuPeriod',
  'cpusetCpus',
  'cpusetMems',
  'pidsLimit',
  'cgroupConf',
] satisfies (keyof RunOptions)[])

/** What a caller gives beside what it asks for. */
const BESIDE: ReadonlySet<string> = new Set(['repeat', 'madeBy', 'signal', 'onStarted', 'onWarning', 'onProgress'])

/** Whether a start asked for in this way is one that may be kept. */
function isRepeatable(run: RunOptions): boolean {
  const unknown = Object.entries(run).some(([key, value]) => value !== undefined && !KNOWN.has(key) && !BESIDE.has(key))
  const pull = run.pull ?? 'missing'
  const asked = isPlainNetwork(run.network) && (pull === 'missing' || pull === 'never')
  return !unknown && asked && run.remove === true && (run.volumes ?? []).every(isHostVolume)
}

/** None, or the default one with an address of its choice. */
function isPlainNetwork(network: RunOptions['network']): boolean {
  if (network === undefined || network === 'none') return true
  if (typeof network === 'string' || !('networks' in network)) return false
  const [only, other] = network.networks
  return other === undefined && only?.name === DEFAULT_NETWORK && Object.keys(only).length === 1
}

const VOLUME: ReadonlySet<string> = new Set([
  'source',
  'target',
  'readonly',
  'recursive',
  'propagation',
  'createSource',
  'flags',
] satisfies (keyof BindMount)[])

/** A directory or file of the host, bound as it is. */
function isHostVolume(volume: VolumeMount): boolean {
  return volume.source?.startsWith('/') === true && Object.keys(volume).every((key) => VOLUME.has(key))
}

/** The clock of files goes by ticks: what was changed within the last one before may be changed again unseen. */
const TICK_MS = 20

/**
 * Keeps a start that has just been made, so that the launcher can do it again (docs/decisions/0022). Nothing is kept where
 * anything of it cannot be witnessed; a store that takes no more files is no error.
 */
export async function keepStart(
  paths: EnginePaths,
  run: RunOptions & { readonly repeat?: Repeatable },
  start: RepeatedStart,
): Promise<void> {
  const { repeat, ...options } = run
  if (repeat === undefined || !isRepeatable(run)) return
  try {
    const prepared = await preparedStart(paths, options, repeat, start)
    if (prepared === undefined) return
    // One that fails would fail again, and tell it by Node.
    await start.handle.launched.started
    keepPreparedFile(paths, prepared)
  } catch (error) {
    // The image may be gone by now, the disk full: the next start is made anew, and says so where it matters.
    if (!(error instanceof TscrunError) && errnoOf(error) === undefined) throw error
  }
}

async function preparedStart(
  paths: EnginePaths,
  run: RunOptions,
  repeat: Repeatable,
  start: RepeatedStart,
): Promise<PreparedStart | undefined> {
  const { handle } = start
  const { record } = handle.made
  const pool = readPool(paths.idPool)
  const { idRange } = record
  if (idRange === undefined || storeOfWords(repeat.argv) !== paths.root || !hasOneWidth(pool)) return undefined
  if (handle.made.plan.inherited.join(' ') !== 'fd:in fd:out fd:err fd:lock') return undefined
  const source = await start.source()
  const network = record.connections?.length === 1 ? preparedNetwork(paths, record.connections) : undefined
  const own = ownIdentity(record, idRange.hostId)
  const other = otherIdentity(own, pool, network)
  if (other === undefined) return undefined
  const witnesses = seeAll([
    ...subjects(paths, repeat, source),
    ...askedSubjects(run),
    ...(network === undefined ? [] : networkSubjects(paths)),
  ])
  // What was asked once a process, before the witnesses were seen, must be the same behind them.
  const samePool = JSON.stringify(poolOf(readIdFacts(paths.idPool))) === JSON.stringify(pool)
  if (witnesses === undefined || !factsAreCurrent() || !samePool) return undefined

  // Made anew from what the witnesses are of: it equals the start that has been made but for the identity, or is not kept.
  const again = await prepareContainer(paths, source, start.args, run, true, { id: other.id })
  // Of an image's own volumes each start makes new ones.
  const ofHost = again.mounts.every(({ source: path }) => path !== undefined)
  if (again.warnings.length > 0 || !ofHost || again.health !== undefined) return undefined
  const templates = await templatesOf(paths, { ...start, run }, again, [own, other])
  if (templates === undefined) return undefined
  return {
    ...templates,
    ...rest(paths, repeat, start, source),
    ...(network === undefined ? {} : { network }),
    witnesses,
  }
}

function ownIdentity({ id, name, createdMs, connections = [] }: ContainerRecord, firstId: number): Identity {
  return { id, name, firstId, nowMs: createdMs, ...addressesOf(connections[0]) }
}

/** Another one of the same request; undefined where its network has no other address. */
function otherIdentity(
  own: Identity,
  pool: ReturnType<typeof readPool>,
  network: PreparedNetwork | undefined,
): Identity | undefined {
  const id = otherId(own.id, defaultName)
  const firstId = own.firstId === pool.first ? own.firstId + RANGE_SIZE : pool.first
  const nowMs = 9_999_999_999_999 - own.nowMs
  const addresses = network === undefined ? {} : otherAddresses(network, id, own)
  return addresses === undefined ? undefined : { id, name: defaultName(id), firstId, nowMs, ...addresses }
}

/** All ranges of a pool have first ids of as many digits: there is room for no others. */
function hasOneWidth({ first, size }: { readonly first: number; readonly size: number }): boolean {
  return size >= RANGE_SIZE && String(first).length === String(first + size).length
}

async function templatesOf(
  paths: EnginePaths,
  { handle, run, stdio }: RepeatedStart & { readonly run: RunOptions },
  again: PreparedContainer,
  [own, other]: readonly [Identity, Identity],
): Promise<{ readonly plan: Template; readonly record: Template } | undefined> {
  const idRange = { hostId: other.firstId, size: RANGE_SIZE }
  const { connections, ports = [], resolvers } = handle.made.record
  const connected =
    connections === undefined
      ? {}
      : {
          connected: {
            connections: connections.map((one) => ofOther(one, other)),
            ports,
            ...(resolvers === undefined ? {} : { resolvers }),
          },
        }
  const made = await makeStart(paths, again, { run, stdio }, { idRange, ...connected })
  const plan = makeTemplate(
    { bytes: handle.bytes(), identity: own },
    { bytes: encodePlan(made.plan, { monitor: true, trace: false }), identity: other },
  )
  const record = (from: MadeStart, identity: Identity): Sample => {
    return { bytes: Buffer.from(JSON.stringify({ ...from.record, createdMs: identity.nowMs })), identity }
  }
  const records = makeTemplate(record(handle.made, own), record(made, other))
  return plan === undefined || records === undefined ? undefined : { plan, record: records }
}

function ofOther(connection: NetworkConnection, other: Identity): NetworkConnection {
  return { ...connection, mac: macOf(other.id, 0), ...addressesOf(other) }
}

function rest(
  paths: EnginePaths,
  { argv, directory, say }: Repeatable,
  { handle }: RepeatedStart,
  source: Source,
): Omit<PreparedStart, 'plan' | 'record' | 'witnesses'> {
  const pool = readPool(paths.idPool)
  const { cgroup, name } = handle.made.record
  return {
    key: { packageRoot: packageRoot(), directory, argv },
    words: NAME_WORDS,
    nameLength: name.length,
    pool: { first: pool.first, ranges: rangesIn(pool), rangeSize: RANGE_SIZE },
    ...(source.imageId === undefined ? {} : { useLock: storePaths(paths.root).useLock }),
    terminal: handle.made.plan.pumps.some(({ kind }) => kind === 'terminal-in'),
    ...(cgroup === undefined ? {} : { cgroups: cgroup.slice(0, cgroup.lastIndexOf('/')) }),
    sayings: sayingsOf(say),
  }
}

/** EPERM EIO ENXIO EBADF ENOMEM EINVAL EFBIG ENOSPC EROFS EDQUOT ESTALE ...: what write(2) may answer for a stream. */
const REFUSALS = [1, 5, 6, 9, 12, 13, 19, 21, 22, 27, 28, 30, 75, 104, 107, 110, 116, 121, 122]

function sayingsOf(say: Repeatable['say']): Saying[] {
  const refusals = REFUSALS.flatMap((errno) =>
    [false, true].map((stderr): Saying => {
      const { refused } = refusalOf(errno, stderr)
      if (refused === undefined) throw new RangeError(`no refusal: ${errnoName(errno)}`)
      return { what: { errno, stderr }, ...say(outputRefused(refused)) }
    }),
  )
  return [{ what: 'died', ...say(monitorDied()) }, ...refusals]
}

function seeAll(list: readonly Subject[]): Witness[] | undefined {
  const sinceNs = BigInt(Math.floor(performance.timeOrigin - TICK_MS)) * 1_000_000n
  const seen: Witness[] = []
  for (const subject of list) {
    const found = witness(subject, sinceNs)
    if (found === undefined) return undefined
    seen.push(found)
  }
  return seen
}

const NOFILE = 7

/** Everything that a start reads of the machine; a test follows one with strace and compares. */
function subjects(paths: EnginePaths, repeat: Repeatable, source: Source): Subject[] {
  const file = (path: string): Subject => ({ kind: 'file', path })
  const text = (path: string): Subject => ({ kind: 'text', path })
  const place = (path: string): Subject => ({ kind: 'place', path })
  const exists = (path: string): Subject => ({ kind: 'access', path, number: constants.F_OK })
  const link = (path: string): Subject => ({ kind: 'link', path })
  return [
    ...['cli.cjs', 'run/main.cjs'].map((name) => file(join(packageRoot(), 'dist', name))),
    ...['launcher', 'stage'].map((name) => file(nativeFile(name))),
    ...['/proc/sys/kernel/random/boot_id', '/proc/sys/kernel/osrelease'].map(text),
    text('/proc/sys/user/max_user_namespaces'),
    ...['/proc/self/ns/user', '/proc/self/ns/pid'].map(link),
    ...['/proc/self/ns/user', '/sys/kernel/security/apparmor', '/sys/fs/selinux/enforce'].map(exists),
    ...['/proc/self/uid_map', '/proc/self/gid_map', '/sys/devices/system/cpu/present'].map(text),
    ...['/etc/subuid', '/etc/hosts', '/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'].map(file),
    { kind: 'limit', path: '', number: NOFILE },
    ...cgroupSubjects(),
    place(paths.root),
    ...source.layers.map(place),
    ...source.layers.flatMap((path): Subject[] =>
      ['/etc/passwd', '/etc/group'].map((extra) => ({ kind: 'inside', path, extra })),
    ),
    ...(source.imageId === undefined ? [] : imageSubjects(paths, source.imageId)),
    ...configSubjects(),
    ...repeat.files.map(file),
    ...repeat.variables.map((path): Subject => ({ kind: 'variable', path })),
  ]
}

/** What a volume is and where it leads; for a terminal of the container the size of the caller's. */
function askedSubjects({ volumes = [], tty }: RunOptions): Subject[] {
  const sources = volumes.flatMap(({ source }) =>
    source === undefined ? [] : [...new Set([source, realpathSync(source)])],
  )
  return [
    ...sources.map((path): Subject => ({ kind: 'place', path })),
    ...(tty === true ? [0, 1] : []).map((number): Subject => ({ kind: 'terminal', path: '', number })),
  ]
}

/** What finding an image reads, and where half-made things are that the next command deletes. */
function imageSubjects(paths: EnginePaths, id: Digest): Subject[] {
  const store = storePaths(paths.root)
  const files = [store.index, recordPath(store, id), store.work, ...registriesPlaces(process.env)]
  return [
    ...files.map((path): Subject => ({ kind: 'file', path })),
    ...REGISTRIES_VARIABLES.map((path): Subject => ({ kind: 'variable', path })),
  ]
}

/** A start is kept only where nothing is configured but the network. */
function configSubjects(): Subject[] {
  return [
    ...configPaths().map((path): Subject => ({ kind: 'file', path })),
    ...['TSCRUN_CONFIG', 'XDG_CONFIG_HOME', 'TSCRUN_NETWORK'].map((path): Subject => ({ kind: 'variable', path })),
  ]
}

/** What cgroups/facts.ts and cgroups/prepare.ts look at. */
function cgroupSubjects(): Subject[] {
  const { mountpoint } = hostFacts().cgroup
  const mounts = readFileSync('/proc/self/mountinfo', 'latin1').match(/ - cgroup2 /g) ?? []
  return [
    { kind: 'lines', path: '/proc/self/mountinfo', extra: ' - cgroup' },
    // Of several mounts the one nearest to our own cgroup is taken.
    ...(mounts.length > 1 ? [{ kind: 'lines', path: '/proc/self/cgroup', extra: '0::' } as const] : []),
    // The third column counts the cgroups of the moment.
    { kind: 'words', path: '/proc/cgroups', number: 2 },
    ...(mountpoint === undefined
      ? []
      : ([
          { kind: 'text', path: `${mountpoint}/cgroup.controllers` },
          { kind: 'access', path: mountpoint, number: constants.W_OK },
          { kind: 'access', path: `${mountpoint}/tscrun`, number: constants.W_OK },
          { kind: 'text', path: `${mountpoint}/tscrun/cgroup.subtree_control` },
        ] satisfies Subject[])),
  ]
}
