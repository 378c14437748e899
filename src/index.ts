import type {
  BackgroundOptions,
  Engine as EngineVerbs,
  EngineOptions,
  PsOptions,
  PulledImage,
  PullOptions,
} from './engine/api.ts'
import { findConfig } from './engine/config/file.ts'
import { parseConfig } from './engine/config/parse.ts'
import { type Container, containerOf, findContainer } from './engine/container.ts'
import { createEngine as createCore, type EngineCore } from './engine/engine.ts'
import type { EngineEvent, EventsOptions } from './engine/events/events.ts'
import type { CreateVolumeOptions, VolumeSummary } from './engine/volumes/verbs.ts'
import type { CreateNetworkOptions } from './engine/networks/create.ts'
import type { NetworkDefinition } from './model/network.ts'
import type { PushRequest, RegistryVerbs } from './engine/image-verbs/registries.ts'
import type { ContainerStats, StatsOptions } from './engine/show/stats.ts'
import type { ContainerPlan } from './engine/start/dry-run.ts'
import { abortable, withEngineSignal } from './engine/signal.ts'
import { checkOptions, checkRun } from './engine/arguments/check-options.ts'
import { OF_CNI, OF_ENGINE, OF_NETWORKS, OF_STREAMS, OF_SYSTEM } from './engine/arguments/check-verbs.ts'
import { checkArguments, checked } from './engine/arguments/option-rules.ts'
import { runContainer, type RunCallOptions, type RunHandle } from './engine/start/run.ts'

export type {
  ContainerFilter,
  ContainerStatus,
  ContainerSummary,
  DoctorCheck,
  EngineOptions,
  ImageSummary,
  Listener,
  PulledImage,
  PullEvent,
  PullOptions,
  RemovedImage,
} from './engine/api.ts'
export type { Container, TarBytes } from './engine/container.ts'
export type { CopyOptions } from './engine/copy/copy.ts'
export type { EngineEvent, EventFilter, EventsOptions } from './engine/events/events.ts'
export type { ExecOptions } from './engine/live/exec.ts'
export type { ContainerEnd, StopOptions } from './engine/live/live.ts'
export type { LogLine, LogsOptions } from './engine/live/logs.ts'
export { waitFor, type WaitOptions } from './engine/live/wait-for.ts'
export type { HealthAction, HealthOptions, HealthStatus } from './model/health.ts'
export type { ContainerPlan } from './engine/start/dry-run.ts'
export { ExitError, type RunCallOptions, type RunHandle, type RunResult } from './engine/start/run.ts'
export type { CniAddOptions, CniName, CniVerbs } from './engine/networks/cni/verbs.ts'
export type { CreateNetworkOptions } from './engine/networks/create.ts'
export type { NetworkDefinition } from './model/network.ts'
export type { CniPlaces } from './engine/networks/cni/find.ts'
export type { CniCapabilities, CniPortMapping, CniResult } from './model/cni.ts'
export type { Pruned, PruneFilter, PruneOptions } from './engine/system/prune.ts'
export type { Reset, ResetOptions } from './engine/system/reset.ts'
export type { DiskUsage } from './engine/system/usage.ts'
export type { SystemVerbs } from './engine/system/verbs.ts'
export type { CreateVolumeOptions, PrunedVolumes, VolumeFilter, VolumeSummary } from './engine/volumes/verbs.ts'
export type { ContainerStats, StatsOptions } from './engine/show/stats.ts'
export type { TopTable } from './engine/top/top.ts'
export type { UpdateOptions } from './engine/live/update.ts'
export type { Plan, Step } from './model/step.ts'
export type { RegistrySetting, RegistrySettings } from './registry/registry-settings.ts'
export { type ErrorCode, TscrunError } from './model/errors.ts'
export type {
  BindMount,
  DetachedOptions,
  RunOptions,
  StoreVolumeMount,
  TmpfsMount,
  VolumeMount,
} from './model/run-options.ts'

/** An engine over one store, for programs: the verbs of the command line, and `run` with streams and a result. */
export interface Engine
  extends Omit<
    EngineVerbs,
    | 'runForeground'
    | 'runDetached'
    | 'create'
    | 'start'
    | 'runAttached'
    | 'startAttached'
    | 'unitSource'
    | 'startable'
    | 'settings'
    | 'attach'
    | 'exec'
    | 'execDetached'
    | 'stop'
    | 'restart'
    | 'rename'
    | 'update'
    | 'top'
    | 'stats'
    | 'events'
    | 'kill'
    | 'wait'
    | 'checkHealth'
    | 'pause'
    | 'unpause'
    | 'logs'
    | 'files'
    | 'archives'
    | 'storedImages'
    | 'registry'
  > {
  /** Sends a stored image to a registry, under `destination` or its own name; resolves to the digest it has there. */
  push(image: string, destination?: string, options?: PushRequest): Promise<string>
  /** Copies between `docker://`, `oci:`, `docker-archive:` and the like without unpacking; resolves to the digest. */
  copy: RegistryVerbs['copy']
  /**
   * Runs a container to its end. The image may be a name, an id, or `undefined` with `options.rootfs`.
   * Rejects with `ExitError` where the exit code is not 0 (unless `reject: false`), with `TscrunError` where it could
   * not be started, was aborted, or wrote too much.
   */
  run(image: string | undefined, args?: readonly string[], options?: RunCallOptions): RunHandle
  /**
   * Starts a container that goes on by itself, with a log of what it writes. Resolves when its command runs; rejects
   * with `TscrunError` where it could not be started.
   */
  start(image: string | undefined, args?: readonly string[], options?: StartCallOptions): Promise<Container>
  /** Makes a container that `start()` of the answer then starts: ids, name and files are there, nothing runs. */
  create(image: string | undefined, args?: readonly string[], options?: StartCallOptions): Promise<Container>
  /** What happens in this store, from now on unless `sinceMs` says otherwise, until `signal` aborts it. */
  events(options?: EventsOptions): AsyncIterable<EngineEvent>
  /** What containers use, sample by sample: those that are named, or all that run. */
  stats(names?: readonly string[], options?: StatsOptions): AsyncIterable<readonly ContainerStats[]>
  /** The container of this id, unique beginning of an id, or name. Rejects with NO_SUCH_CONTAINER. */
  get(idOrName: string): Promise<Container>
  /** Those that run, or with `all` also the others, that match. */
  list(options?: ListOptions): Promise<readonly Container[]>
  /** Makes a network, as `(await networks()).create`. */
  createNetwork(options: CreateNetworkOptions): Promise<NetworkDefinition>
}

export type ListOptions = Partial<Pick<PsOptions, 'all' | 'filter' | 'last'>>

export type StartCallOptions = Omit<BackgroundOptions, 'cidfile'>

/** One whose start was given up while it went on is nobody's: its caller gets no handle to end it with. */
async function unlessAborted(container: Container, { signal }: { readonly signal?: AbortSignal }): Promise<Container> {
  if (signal?.aborted !== true) return container
  await container.remove()
  throw signal.reason
}

/** Those that make containers, and those that answer with a stream. */
type OtherVerbs = Pick<Engine, 'dryRun' | 'run' | 'start' | 'create' | 'events' | 'stats'>

/**
 * Opens an engine, with the host's configuration (docs/configuration.md) where the options say nothing. Makes nothing until
 * a verb needs it. Throws INVALID_CONFIG where the configuration cannot be read.
 */
export function createEngine(options: EngineOptions = {}): Engine {
  checkOptions('engine', options)
  const config = findConfig()
  const core: EngineCore = config === undefined ? createCore(options) : createCore(options, parseConfig(config))
  const within = <T extends { readonly signal?: AbortSignal }>(of: T): T => withEngineSignal(core, of)
  const verbs: Omit<Engine, keyof OtherVerbs> = {
    pull: (reference, options = {}) => core.pull(reference, within(options)),
    push: (image, destination, options = {}) =>
      abortable(core, `push ${image}`, options, async (bound) =>
        (await core.registry()).push(image, destination, bound),
      ),
    copy: (source, target, options) =>
      abortable(core, `copy ${source}`, options, async (bound) => (await core.registry()).copy(source, target, bound)),
    images: () => core.images(),
    removeImage: (reference, options) => core.removeImage(reference, options),
    ps: (options) => core.ps(options),
    remove: (idOrName, options) => core.remove(idOrName, options),
    inspect: (idOrName, type) => core.inspect(idOrName, type),
    cni: async () => checked(await core.cni(), OF_CNI),
    system: async () => checked(await core.system(), OF_SYSTEM),
    networks: async () => checked(await core.networks(), OF_NETWORKS),
    createVolume: (volume) => core.createVolume(volume),
    volumes: (filter) => core.volumes(filter),
    volume: (name) => core.volume(name),
    removeVolume: (name) => core.removeVolume(name),
    pruneVolumes: (which) => core.pruneVolumes(which),
    info: () => core.info(),
    doctor: () => core.doctor(),
    get: (idOrName) => findContainer(core, idOrName),
    list: async ({ all = false, ...options } = {}) =>
      (await core.ps({ all, ...options })).map(({ id, name }) => containerOf(core, id, name)),
    createNetwork: async (network) => (await core.networks()).create(network),
  }
  return {
    ...checked(verbs, OF_ENGINE),
    dryRun: async (image, args, options) => {
      checkRun('run', image, args, options)
      return core.dryRun(image, args, options)
    },
    run: (image, args = [], run = {}) => runContainer(core, image, args, run),
    start: async (image, args = [], start = {}) => {
      checkRun('background', image, args, start)
      return abortable(core, 'start', start, async (bound) =>
        unlessAborted(await findContainer(core, await core.runDetached(image, args, bound)), bound),
      )
    },
    create: async (image, args = [], made = {}) => {
      checkRun('background', image, args, made)
      return findContainer(core, await abortable(core, 'create', made, (bound) => core.create(image, args, bound)))
    },
    events: async function* (options = {}) {
      checkArguments(OF_STREAMS.events, [options])
      yield* core.events(within(options))
    },
    stats: async function* (names = [], options = {}) {
      checkArguments(OF_STREAMS.stats, [names, options])
      yield* core.stats(names, within(options))
    },
  }
}

let shared: Engine | undefined

function defaultEngine(): Engine {
  shared ??= createEngine()
  return shared
}

/** `run` of a default engine (store in /var/lib/tscrun). */
export function run(image: string | undefined, args: readonly string[] = [], options: RunCallOptions = {}): RunHandle {
  return defaultEngine().run(image, args, options)
}

/** `start` of a default engine. */
export function start(
  image: string | undefined,
  args: readonly string[] = [],
  options: StartCallOptions = {},
): Promise<Container> {
  return defaultEngine().start(image, args, options)
}

/** `pull` of a default engine. */
export function pull(reference: string, options: PullOptions = {}): Promise<PulledImage> {
  return defaultEngine().pull(reference, options)
}

/** `dryRun` of a default engine: the plan such a run would execute. */
export function plan(
  image: string | undefined,
  args: readonly string[] = [],
  options: RunCallOptions = {},
): Promise<ContainerPlan> {
  return defaultEngine().dryRun(image, args, options)
}

/** `createVolume` of a default engine. */
export function createVolume(options: CreateVolumeOptions = {}): Promise<VolumeSummary> {
  return defaultEngine().createVolume(options)
}

/** `createNetwork` of a default engine. */
export function createNetwork(options: CreateNetworkOptions): Promise<NetworkDefinition> {
  return defaultEngine().createNetwork(options)
}

/** What this host can and cannot do. */
export function doctor(): ReturnType<Engine['doctor']> {
  return defaultEngine().doctor()
}
