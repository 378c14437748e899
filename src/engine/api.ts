import type { PublishedPort } from '../model/launch.ts'
import type { HealthStatus } from '../model/health.ts'
import type { DetachedOptions, RunOptions } from '../model/run-options.ts'
import type { RegistrySettings } from '../registry/registry-settings.ts'
import type { RegistryAccess } from '../registry/session.ts'
import type { Settings } from '../model/settings.ts'
import type { AttachOptions } from './live/detached.ts'
import type { ContainerPlan } from './start/dry-run.ts'
import type { EngineEvent, EventsOptions } from './events/events.ts'
import type { ExecOptions } from './live/exec.ts'
import type { ArchiveVerbs } from './image-verbs/archives.ts'
import type { FileVerbs } from './tree/verbs.ts'
import type { Attachment, ContainerEnd, StopOptions } from './live/live.ts'
import type { LogLine, LogsOptions } from './live/logs.ts'
import type { Repeatable } from './prepared/prepared.ts'
import type { RegistryVerbs } from './image-verbs/registries.ts'
import type { RemoveOptions } from './state/remove.ts'
import type { CniVerbs } from './networks/cni/verbs.ts'
import type { ImageFilter } from './image-verbs/filter.ts'
import type { StoredImageVerbs } from './image-verbs/stored.ts'
import type { SystemVerbs } from './system/verbs.ts'
import type { NetworkVerbs } from './networks/verbs.ts'
import type { CreateVolumeOptions, PrunedVolumes, VolumeFilter, VolumeSummary } from './volumes/verbs.ts'
import type { ContainerStats, StatsOptions } from './show/stats.ts'
import type { TopTable } from './top/top.ts'
import type { UpdateOptions } from './live/update.ts'

/**
 * The engine as its faces (command line, library) see it. It prints nothing, never exits and reads no argv:
 * what a person should know while it works arrives through the callbacks of `Listener`.
 *
 * Words: an *image summary* is one name in the store (an image without a name is one summary too);
 * a *container* is what `run` made, running or not.
 */
export interface Engine {
  /** What the host's configuration sets. */
  readonly settings: Settings
  /**
   * Runs a container on the caller's own descriptors 0, 1 and 2; resolves to its exit code (128+n by signal n). With
   * `tty` it follows the size of the caller's terminal and restores the terminal's mode whatever happens.
   */
  runForeground(image: string | undefined, args: readonly string[], options: ForegroundOptions): Promise<number>
  /** Runs a container that goes on without this process; resolves to its id when the command runs. */
  runDetached(image: string | undefined, args: readonly string[], options: BackgroundOptions): Promise<string>
  /** The same, connected with its streams from the beginning. */
  runAttached(
    image: string | undefined,
    args: readonly string[],
    options: BackgroundOptions & { readonly attach: AttachOptions },
  ): Promise<Attachment>
  /** Makes a container as `runDetached` does and does not start it; resolves to its id. */
  create(image: string | undefined, args: readonly string[], options: BackgroundOptions): Promise<string>
  /** Starts a stopped container again, with what it has written; resolves to its id. */
  start(idOrName: string, options?: { readonly monitorPidfile?: string }): Promise<string>
  /** The same, connected with its streams from the beginning. */
  startAttached(idOrName: string, options: AttachOptions): Promise<Attachment>
  /** What a unit of systemd must know of a container. */
  unitSource(idOrName: string): Promise<UnitSource>
  /** Containers that do not run and match, in the order in which to start them: what others join comes before them. */
  startable(filter: ContainerFilter): Promise<readonly ContainerSummary[]>
  /** Stops a container, killing it after a time; resolves to its id. */
  stop(idOrName: string, options: StopOptions): Promise<string>
  /** `stop`, then `start`. */
  restart(idOrName: string, options: StopOptions): Promise<string>
  /** Gives a container another name; resolves to its id. */
  rename(idOrName: string, name: string): Promise<string>
  /** What containers use, sample by sample: those that are named, or all that run. */
  stats(names: readonly string[], options: StatsOptions): AsyncIterable<readonly ContainerStats[]>
  /** The processes of a container that runs; `words` are podman's descriptors or options of ps. */
  top(idOrName: string, words: readonly string[]): Promise<TopTable>
  /** Changes limits and the restart policy, of a container that runs at once; resolves to its id. */
  update(idOrName: string, options: UpdateOptions): Promise<string>
  /** What happens, as it is written down: of containers, images and what else a store has. */
  events(options: EventsOptions): AsyncIterable<EngineEvent>
  /** Sends a signal (`SIGTERM`, or its number) to the first process; resolves to the container's id. */
  kill(idOrName: string, signal: string | number): Promise<string>
  /** Resolves when the container has ended. */
  wait(idOrName: string, options?: { readonly signal?: AbortSignal }): Promise<ContainerEnd>
  /** Runs a command in a running container on the caller's own descriptors; resolves to its exit code. */
  exec(idOrName: string, args: readonly string[], options: ExecRequest): Promise<number>
  /** The same without streams and without waiting for its end. */
  execDetached(idOrName: string, args: readonly string[], options: ExecOptions): Promise<void>
  /** Makes a health check at once; resolves to whether it passed. */
  checkHealth(idOrName: string): Promise<boolean>
  pause(idOrName: string): Promise<string>
  unpause(idOrName: string): Promise<string>
  /** What a detached container wrote, oldest first. */
  logs(idOrName: string, options: LogsOptions): AsyncIterable<readonly LogLine[]>
  /** Connects descriptors with the streams of a detached container. */
  attach(idOrName: string, options: AttachOptions): Promise<Attachment>
  /** The plan such a run would execute; touches nothing. */
  dryRun(image: string | undefined, args: readonly string[], options: RunOptions): Promise<ContainerPlan>
  /** Resolves when every blob has been verified and unpacked. */
  pull(reference: string, options?: PullOptions): Promise<PulledImage>
  /** The verbs on registries and on images outside the store. */
  registry(): Promise<RegistryVerbs>
  /** Newest first. Rejects with NO_SUCH_IMAGE where the filter compares with one that is not there. */
  images(filter?: ImageFilter): Promise<readonly ImageSummary[]>
  /** `allNames`: also one with several names, by its id. */
  removeImage(
    reference: string,
    options: { readonly force: boolean; readonly allNames?: boolean },
  ): Promise<RemovedImage>
  ps(options: PsOptions): Promise<readonly ContainerSummary[]>
  /** Takes an id, a unique beginning of one, or a name; resolves to the whole id. */
  remove(idOrName: string, options: RemoveOptions): Promise<string>
  /** What is known about one container, image or volume, under docker's key names (`Id`, `State.Status`, `Config.Env`). */
  inspect(
    idOrName: string,
    type?: 'container' | 'image' | 'volume',
    options?: { readonly size?: boolean },
  ): Promise<Readonly<Record<string, unknown>>>
  /** Loads the verbs on containers' files. */
  files(): Promise<FileVerbs>
  /** Loads the verbs on the store as a whole. */
  system(): Promise<SystemVerbs>
  cni(): Promise<CniVerbs>
  /** Loads the verbs on archives of images, and on names. */
  archives(): Promise<ArchiveVerbs>
  /** Loads the verbs on the bytes of stored images: whether they are right, and where the host can look at them. */
  storedImages(): Promise<StoredImageVerbs>
  /** What can be done with networks. */
  networks(): Promise<NetworkVerbs>
  /** Makes a volume. Rejects with NAME_IN_USE where there is one of this name, unless `ignore`. */
  createVolume(options?: CreateVolumeOptions): Promise<VolumeSummary>
  volumes(filter?: VolumeFilter): Promise<readonly VolumeSummary[]>
  /** By name, or by a beginning that only one has. Rejects with NO_SUCH_VOLUME. */
  volume(name: string): Promise<VolumeSummary>
  /** Resolves to its name. Rejects with VOLUME_IN_USE where a container has it, running or not. */
  removeVolume(name: string): Promise<string>
  /** Removes volumes that no container has: those without a name, with `all` the others too. */
  pruneVolumes(options?: { readonly all?: boolean; readonly filter?: VolumeFilter }): Promise<PrunedVolumes>
  info(): Promise<Readonly<Record<string, unknown>>>
  doctor(): Promise<readonly DoctorCheck[]>
}

/** Where the state of an engine lies, and who listens; all optional. */
export interface EngineOptions {
  readonly root?: string
  readonly runRoot?: string
  /** The steps as they run, with their times: one line each, without a newline. */
  readonly onDebug?: (line: string) => void
  /**
   * From the third `run()` of the same on, the next one is begun when one has ended: as far as nothing of it is on the
   * disk. What nobody wants within a second goes. Default true.
   */
  readonly ahead?: boolean
  /** What counts for registries beside, and before, the host's files (containers-registries.conf(5)). */
  readonly registries?: RegistrySettings
  /**
   * Ends what the engine does for its caller: runs and commands are killed, pulls and waits are given up; they reject with
   * ABORTED. Containers in the background go on.
   */
  readonly signal?: AbortSignal
}

export interface Listener {
  /** One line about something tolerated, e.g. that ids cannot be shifted on this file system. */
  readonly onWarning?: (line: string) => void
  readonly onProgress?: (event: PullEvent) => void
  readonly signal?: AbortSignal
}

export interface PullOptions extends Listener, RegistryAccess {
  readonly platform?: string
  /** Stores what the registry has for other platforms too; one is unpacked. */
  readonly allPlatforms?: boolean
  /** Most bytes of files it may unpack to. 0 is no limit; the default is 100 times what is fetched, 10 GiB to 1 TiB. */
  readonly maxUnpackSize?: number
}

/** The command that made a container, to make it again. */
export interface MadeBy {
  /** As typed, without the program. */
  readonly words: readonly string[]
  /** Absolute directory that paths in them begin at. */
  readonly cwd: string
}

export interface UnitSource {
  readonly id: string
  readonly name: string
  readonly restart: RestartPolicyName
  /** Its name or number. */
  readonly stopSignal: string
  /** As it was named; a root directory without an id. */
  readonly image: string
  readonly imageId?: string
  /** `none`, `host`, names of networks, or another container's. */
  readonly network: string
  /** It has a user namespace of its own. */
  readonly ownUser: boolean
  readonly env: readonly string[]
  readonly madeBy?: MadeBy
  /** Names of the containers whose namespaces it joins. */
  readonly joins: readonly string[]
  readonly root: string
  readonly runRoot: string
}

export interface ForegroundOptions extends RunOptions, Pick<DetachedOptions, 'log'>, Listener {
  readonly madeBy?: MadeBy
  /** Keep what this start was made from, so that the same command line can be done again without Node. */
  readonly repeat?: Repeatable
  /** A file that must not exist yet; it gets the container's id before the container starts. */
  readonly cidfile?: string
  /** Called once, when signals have somebody to go to. */
  readonly onStarted?: (running: RunningContainer) => void
}

export interface ExecRequest extends ExecOptions {
  /** Called once, when signals have somebody to go to. */
  readonly onStarted?: (running: Pick<RunningContainer, 'kill'>) => void
}

export interface BackgroundOptions extends RunOptions, DetachedOptions, Listener {
  readonly madeBy?: MadeBy
  /** A file that gets the pid of the monitor once the command runs. */
  readonly monitorPidfile?: string
  /** A file that must not exist yet; it gets the container's id before the container starts. */
  readonly cidfile?: string
}

/** What the caller may do to a foreground container. */
export interface RunningContainer {
  readonly id: string
  /** Sends a signal (`SIGTERM`) to the container process. */
  kill(signal: string): void
}

/**
 * What happens during a pull, push or copy, in order: one `resolved`, then events of several layers mixed, then `done`.
 * `id` is a blob's digest; sizes are compressed bytes.
 */
export type PullEvent =
  | { readonly type: 'resolved'; readonly verb: TransferVerb; readonly reference: string; readonly digest: string }
  | { readonly type: 'layer'; readonly id: string; readonly size: number; readonly phase: LayerPhase }
  | { readonly type: 'bytes'; readonly id: string; readonly current: number; readonly size: number }
  | { readonly type: 'retry'; readonly id: string; readonly reason: string }
  | {
      readonly type: 'done'
      readonly verb: TransferVerb
      readonly reference: string
      readonly digest: string
      /** False where the store had just that already. */
      readonly fresh: boolean
    }

export type TransferVerb = 'pull' | 'push' | 'copy' | 'load'

export type LayerPhase =
  | 'waiting'
  | 'downloading'
  | 'extracting'
  | 'complete'
  | 'exists'
  | 'copying'
  | 'copied'
  | 'mounted'

export interface PulledImage {
  /** The config digest: docker's image id. */
  readonly id: string
  /** The complete name: `docker.io/library/alpine:3`. */
  readonly reference: string
  /** The manifest's digest. */
  readonly digest: string
}

export interface ImageSummary {
  /** The config digest, `sha256:...`. */
  readonly id: string
  /** Complete names such as `docker.io/library/alpine`; absent where the image has no name. */
  readonly repository?: string
  readonly tag?: string
  /** The manifest's digest. */
  readonly digest: string
  /** Milliseconds since 1970, from the image's config. */
  readonly createdMs?: number
  /** Bytes of the unpacked layers. */
  readonly size: number
  readonly labels?: Readonly<Record<string, string>>
}

export interface RemovedImage {
  /** Complete names that are gone. */
  readonly untagged: readonly string[]
  /** Digests that are gone from the store. */
  readonly deleted: readonly string[]
}

export type RestartPolicyName = NonNullable<DetachedOptions['restart']>['name']

/** `restarting`: it has ended, and its monitor will start it again. */
export type ContainerStatus = 'created' | 'running' | 'paused' | 'restarting' | 'stopped'

export interface PsOptions {
  /** Also those that do not run. */
  readonly all: boolean
  readonly filter?: ContainerFilter
  /** So many that were made last, whether they run or not. */
  readonly last?: number
  /** With what each has written: its whole tree is read. */
  readonly size?: boolean
}

export interface ContainerSummary {
  readonly id: string
  readonly name: string
  /** As the user named it, or the path given with `--rootfs`. */
  readonly image: string
  readonly command: readonly string[]
  readonly status: ContainerStatus
  /** Milliseconds since 1970. */
  readonly createdMs: number
  readonly startedMs?: number
  readonly finishedMs?: number
  readonly exitCode?: number
  readonly labels: Readonly<Record<string, string>>
  /** Names of volumes, sources of what is the host's. */
  readonly mounts: readonly string[]
  readonly network: string
  /** Ports of the host that lead to it while it lives. */
  readonly ports: readonly PublishedPort[]
  /** Config digest of its image; absent with a root directory. */
  readonly imageId?: string
  /** Of its first process, while it runs. */
  readonly pid?: number
  /** Bytes it has written, and with its image's. */
  readonly size?: { readonly writable: number; readonly root: number }
  readonly restartPolicy: RestartPolicyName
  /** What `start --all --filter should-start-on-boot=true` starts: `always`, and `unless-stopped` unless it was stopped. */
  readonly startsAtBoot: boolean
  /** While it lives and checks are made. */
  readonly health?: HealthStatus
}

/** Each list is "any of"; all lists must hold. Names match as parts, ids as beginnings, as docker does it. */
export interface ContainerFilter {
  readonly id?: readonly string[]
  readonly name?: readonly string[]
  /** `key` or `key=value`. */
  readonly label?: readonly string[]
  /** The same; those that have one are left out. */
  readonly noLabel?: readonly string[]
  /** Made before all of these moments, milliseconds since 1970. */
  readonly untilMs?: readonly number[]
  /** Ports of the container that are published. */
  readonly publish?: readonly {
    readonly protocol: PublishedPort['protocol']
    readonly first: number
    readonly last: number
  }[]
  readonly status?: readonly ContainerStatus[]
  readonly ancestor?: readonly string[]
  readonly exited?: readonly number[]
  readonly volume?: readonly string[]
  readonly network?: readonly string[]
  /** Names or ids of containers: what was made before, or after, one of them. */
  readonly before?: readonly string[]
  readonly since?: readonly string[]
  readonly restartPolicy?: readonly RestartPolicyName[]
  readonly startsAtBoot?: readonly boolean[]
  readonly health?: readonly (HealthStatus | 'none')[]
}

/** One fact about this host: `remedy` says what to do, exactly, where the result is not `ok`. */
export interface DoctorCheck {
  readonly name: string
  readonly result: 'ok' | 'warn' | 'fail'
  readonly detail: string
  readonly remedy?: string
}
