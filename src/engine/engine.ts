import { type ImageStore, openImageStore, type StoredImage } from '../images/store.ts'
import { TscrunError } from '../model/errors.ts'
import { signalNumber } from '../model/kernel-names.ts'
import type { Stdio } from '../model/launch.ts'
import type { DetachedOptions, RunOptions } from '../model/run-options.ts'
import type { Settings } from '../model/settings.ts'
import type { BackgroundOptions, Engine, EngineOptions, ForegroundOptions, Listener, MadeBy } from './api.ts'
import { forwarded } from './forwarded.ts'
import { NO_SETTINGS, type ResolvedSettings } from './config/file.ts'
import { liveIds } from './state/containers.ts'
import type { DetachedStart } from './live/detached.ts'
import type { ExecOptions } from './live/exec.ts'
import type { Attachment } from './live/live.ts'
import { getImage, type GetOptions } from './image-verbs/get-image.ts'
import { hostFacts } from '../runtime/host.ts'
import { isInFirst } from './ids/nesting.ts'
import { terminalSize } from '../syscall/terminal.ts'
import { enginePaths, type EnginePaths } from './paths.ts'
import { tellOnce } from './tell-once.ts'
import { outputRefused } from './start/output-refused.ts'
import type { AheadOfCall, WithAhead } from './prepared/ahead.ts'
import { keepStart } from './prepared/prepared.ts'
import { prepareContainer, type PreparedContainer, rootfsSource, type Source } from './start/prepare.ts'
import type { StreamEnds } from './start/run.ts'
import { withLikelyNetwork, withNetwork } from './start/network.ts'
import { type AheadStarts, type RunningHandle, startContainer, type StartOptions } from './start/start.ts'
import { createShortNames } from './image-verbs/short-names.ts'
import type { StoreVerbs } from './verbs.ts'

/** What the library's face needs beyond the verbs of `Engine`. */
export interface EngineCore extends Engine {
  readonly paths: EnginePaths
  /** See EngineOptions: whoever waits for something combines it with its own. */
  readonly signal?: AbortSignal
  /** Decides, makes and starts a container on the given descriptors. */
  begin(image: string | undefined, args: readonly string[], options: BeginOptions): Promise<RunningHandle>
  /** One more command in a container, on descriptors of this process. */
  beginExec(
    idOrName: string,
    args: readonly string[],
    request: { readonly options: ExecOptions; readonly ends: StreamEnds },
  ): Promise<Pick<RunningHandle, 'launched' | 'ended'>>
}

export interface BeginOptions extends RunOptions, Pick<DetachedOptions, 'log'>, Listener {
  readonly madeBy?: MadeBy
  readonly stdio: Stdio
  /** For the slots of `stdio`: in, out, err; for direct streams without input only out, err. */
  readonly fds: readonly number[]
  /** Write the id here, refusing a file that exists. */
  readonly cidfile?: string
  /** See StartOptions. */
  readonly shareLoop?: boolean
}

/** Loaded by the first run that may have another one begun. */
let withAhead: WithAhead | undefined

/** An engine over one store. Nothing is read or made until a verb needs it; two engines share nothing but the disk. */
export function createEngine(options: EngineOptions = {}, resolved: ResolvedSettings = NO_SETTINGS): EngineCore {
  const { settings, sources } = resolved
  const paths = enginePaths(options, settings)
  const names = createShortNames(process.env, options.registries)
  const store = openImageStore({
    root: paths.root,
    localNames: names.local,
    usedImages: async () => [
      ...(await import('./state/containers-view.ts')).imagesInUse(paths),
      ...(await import('./image-verbs/mounts.ts')).mountedImages(paths).map(({ id }) => id),
    ],
  })

  async function sourceOf(image: string | undefined, run: RunOptions, listener: Listener): Promise<Source> {
    if (run.rootfs !== undefined) return rootfsSource(run.rootfs)
    if (image === undefined)
      throw new TscrunError('USAGE', 'no image', { hint: 'name one, or a root directory by --rootfs' })
    const { image: stored } = await getImage(store, image, {
      ...listener,
      names,
      policy: run.pull ?? 'missing',
      onPulled: async () => (await verbs()).notePull(image),
      ...debugOf(options),
      ...registriesOf(options),
      ...accessOf(run),
    })
    return imageSource(image, stored)
  }

  async function prepare<T>(
    image: string | undefined,
    args: readonly string[],
    run: RunOptions & Listener,
    then: (prepared: PreparedContainer, run: RunOptions & Listener) => T,
    starts = true,
    ahead?: AheadOfCall,
  ): Promise<Awaited<T>> {
    requireRoot()
    // Nobody may remove the image's layers until the container's record names them.
    using hold = run.rootfs === undefined ? await store.hold(run.signal) : undefined
    const source = await sourceOf(image, run, run).catch((error: unknown) => letGo(store, hold, error))
    run.signal?.throwIfAborted()
    const decide = (): Promise<RunOptions & Listener> => withNetwork(paths, run, source.config.exposedPorts)
    const foreseen = await ahead?.foreseen?.prepared(source, run, decide)
    const decided = foreseen?.run ?? (await decide())
    const afresh = (): Promise<PreparedContainer> =>
      prepareContainer(paths, source, args, decided, starts, ahead?.unborn)
    const prepared = foreseen === undefined ? await afresh() : { ...foreseen.prepared, afresh }
    if (run.onWarning !== undefined) for (const warning of prepared.warnings) tellOnce(paths, warning, run.onWarning)
    return await then(prepared, decided)
  }

  async function begin(
    image: string | undefined,
    args: readonly string[],
    asked: BeginOptions,
  ): Promise<RunningHandle> {
    const settled = await withSettings(asked, resolved)
    const start = (ahead?: AheadOfCall): Promise<RunningHandle> => {
      const then = (prepared: PreparedContainer, run: RunOptions): Promise<RunningHandle> =>
        startContainer(paths, prepared, startOptions({ ...settled, ...run }, options, ahead))
      return prepare(image, args, settled, then, true, ahead)
    }
    // What has a line for each step is not begun in silence.
    if (settled.shareLoop !== true || options.ahead === false || options.onDebug !== undefined) return start()
    withAhead ??= (await import('./prepared/ahead.ts')).withAhead
    return withAhead({ paths, image, args, run: settled }, start)
  }

  async function inBackground(
    how: 'createUnstarted' | 'startDetached',
    image: string | undefined,
    args: readonly string[],
    asked: BackgroundOptions & Pick<DetachedStart, 'attach' | 'onAttached'>,
  ): Promise<string> {
    const settled = await withSettings(asked, resolved)
    const detached = await import('./live/detached.ts')
    const make = (prepared: PreparedContainer, run: RunOptions & DetachedOptions): Promise<string> =>
      detached[how](paths, prepared, {
        run,
        ...(asked.cidfile === undefined ? {} : { cidfile: asked.cidfile }),
        ...(asked.signal === undefined ? {} : { signal: asked.signal }),
        ...(asked.monitorPidfile === undefined ? {} : { monitorPidfile: asked.monitorPidfile }),
        ...attachOf(asked),
        ...debugOf(options),
        ...(asked.onWarning === undefined ? {} : { tell: asked.onWarning }),
      })
    return prepare(image, args, settled, make, how === 'startDetached')
  }

  async function runForeground(
    image: string | undefined,
    args: readonly string[],
    run: ForegroundOptions,
  ): Promise<number> {
    const stdio = await streamsOf(run)
    const handle = await begin(image, args, { ...run, stdio, fds: [0, 1, 2] })
    run.onStarted?.({ id: handle.id, kill: (signal) => killBy(handle, signal) })
    // While the container runs: what an earlier command left behind when it was killed.
    const swept = liveIds(paths).some((id) => id !== handle.id) ? verbs().then((loaded) => loaded.sweep()) : undefined
    const source = (): Promise<Source> => sourceOf(image, { ...run, pull: 'never' }, {})
    const start = { args, handle, stdio, source }
    const { network } = handle
    // Where there is no bridge it is looked each time whether there can be one now.
    const fellBack = run.network === undefined && settings.network === undefined && network === 'none'
    const kept = isPlain(resolved) && !fellBack ? keepStart(paths, { ...run, network }, start) : undefined
    try {
      const exit = await handle.ended
      if (exit.refused !== undefined) throw outputRefused(exit.refused)
      return exit.exitCode
    } finally {
      await swept
      await kept
    }
  }

  /** What a run does not need is not loaded for one. */
  async function verbs(): Promise<StoreVerbs> {
    const { storeVerbs } = await import('./verbs.ts')
    return storeVerbs(paths, store, { names, options, sources })
  }

  return {
    ...forwarded(verbs),
    paths,
    settings,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    begin,
    runForeground,
    runDetached: (image, args, run) => inBackground('startDetached', image, args, run),
    runAttached: (image, args, run) =>
      attached((onAttached) => inBackground('startDetached', image, args, { ...run, onAttached })),
    create: (image, args, run) => inBackground('createUnstarted', image, args, run),
    start: async (idOrName, start = {}) => (await verbs()).start(idOrName, { ...start, ...debugOf(options) }),
    stop: async (idOrName, stop) => (await verbs()).stop(idOrName, { ...stopDefaults(settings), ...stop }),
    restart: async (idOrName, stop) => (await verbs()).restart(idOrName, { ...stopDefaults(settings), ...stop }),
    beginExec: async (idOrName, args, request) =>
      (await import('./live/exec.ts')).execWithStreams(paths, idOrName, args, request),
    dryRun: async (image, args, asked) => {
      const settled = await withSettings(asked, resolved)
      const source = await sourceOf(image, { ...settled, pull: 'never' }, {})
      const run = withLikelyNetwork(settled, source.config.exposedPorts)
      const { dryRun } = await import('./start/dry-run.ts')
      return dryRun(paths, await prepareContainer(paths, source, args, run, true), run, await streamsOf(asked))
    },
    pull: async (reference, pull) =>
      (await verbs()).pull(reference, {
        ...unpackDefault(settings),
        ...pull,
        ...debugOf(options),
        ...registriesOf(options),
      }),
    registry: async () => (await import('./image-verbs/registries.ts')).registryVerbs(store, names, options),
    archives: async () => {
      await names.prepare()
      return (await import('./image-verbs/archives.ts')).archiveVerbs(store, unpackDefault(settings))
    },
    storedImages: async () => {
      await names.prepare()
      return (await import('./image-verbs/stored.ts')).storedImageVerbs(paths, store)
    },
    files: async () => (await import('./tree/verbs.ts')).fileVerbs(paths, store),
    cni: async () => (await import('./networks/cni/verbs.ts')).cniVerbs(paths),
    system: async () => (await import('./system/verbs.ts')).systemVerbs(paths, store),
    networks: async () => {
      requireRoot()
      return (await import('./networks/verbs.ts')).networkVerbs(paths)
    },
    doctor: async () => (await import('./doctor.ts')).runDoctor(hostFacts(), paths),
  }
}

function startOptions(run: BeginOptions, options: EngineOptions, ahead: AheadStarts | undefined): StartOptions {
  return {
    run,
    stdio: run.stdio,
    fds: run.fds,
    shareLoop: run.shareLoop === true,
    ...(ahead === undefined ? {} : { ahead }),
    ...(run.onWarning === undefined ? {} : { tell: run.onWarning }),
    ...(run.cidfile === undefined ? {} : { cidfile: run.cidfile }),
    ...(run.signal === undefined ? {} : { signal: run.signal }),
    ...debugOf(options),
  }
}

function attachOf({
  attach,
  onAttached,
}: Pick<DetachedStart, 'attach' | 'onAttached'>): Pick<DetachedStart, 'attach' | 'onAttached'> {
  return { ...(attach === undefined ? {} : { attach }), ...(onAttached === undefined ? {} : { onAttached }) }
}

/** The connection that a start hands out. */
async function attached(start: (onAttached: (client: Attachment) => void) => Promise<unknown>): Promise<Attachment> {
  let client: Attachment | undefined
  await start((made) => (client = made))
  if (client === undefined) throw new Error('its monitor does not listen')
  return client
}

function debugOf({ onDebug }: EngineOptions): Pick<EngineOptions, 'onDebug'> {
  return onDebug === undefined ? {} : { onDebug }
}

function registriesOf({ registries }: EngineOptions): Pick<EngineOptions, 'registries'> {
  return registries === undefined ? {} : { registries }
}

/** What a call says of the pull that it may need. */
function accessOf(run: RunOptions): Partial<Pick<GetOptions, AccessOption>> {
  return {
    ...(run.platform === undefined ? {} : { platform: run.platform }),
    ...(run.tlsVerify === undefined ? {} : { tlsVerify: run.tlsVerify }),
    ...(run.maxUnpackSize === undefined ? {} : { maxUnpackSize: run.maxUnpackSize }),
    ...(run.creds === undefined ? {} : { creds: run.creds }),
    ...(run.authFile === undefined ? {} : { authFile: run.authFile }),
    ...(run.certDir === undefined ? {} : { certDir: run.certDir }),
  }
}

type AccessOption = 'platform' | 'tlsVerify' | 'maxUnpackSize' | 'creds' | 'authFile' | 'certDir'

function imageSource(name: string, { id, layers, config, highestId = 0 }: StoredImage): Source {
  return { name, imageId: id, layers, config, highestId, direct: false, scratch: false }
}

function unpackDefault({ maxUnpackSize }: Settings): { readonly maxUnpackSize?: number } {
  return maxUnpackSize === undefined ? {} : { maxUnpackSize }
}

function stopDefaults({ stopTimeoutMs }: Settings): { readonly defaultTimeoutMs?: number } {
  return stopTimeoutMs === undefined ? {} : { defaultTimeoutMs: stopTimeoutMs }
}

/** The host's settings where the options say nothing. */
async function withSettings<T extends RunOptions & DetachedOptions>(run: T, resolved: ResolvedSettings): Promise<T> {
  return resolved === NO_SETTINGS ? run : (await import('./config/defaults.ts')).withDefaults(run, resolved.settings)
}

/** What is set decides nothing that a prepared start would have to look at, but the network. */
function isPlain({ sources }: ResolvedSettings): boolean {
  return [...sources.keys()].every((key) => key === 'network')
}

function killBy({ launched }: RunningHandle, signal: string): void {
  const number = signalNumber(signal)
  if (number !== undefined) launched.signal(number)
}

async function streamsOf(run: RunOptions & Pick<DetachedOptions, 'log'>): Promise<Stdio> {
  if (run.log?.driver !== 'passthrough') return callerStreams(run)
  return (await import('./live/passthrough.ts')).passthroughStreams('run', run.tty === true)
}

/** The streams of a run on the caller's own descriptors. */
function callerStreams(run: RunOptions): Stdio {
  const interactive = run.interactive === true
  if (run.tty !== true) return { kind: 'copied', interactive }
  // From its first moment the terminal of the container has the size of the caller's.
  return { kind: 'terminal', interactive, ...terminalSize([0, 1]) }
}

/** What still needs root says so in one line. */
function requireRoot(): void {
  if (hostFacts().euid !== 0) {
    throw new TscrunError('PERMISSION_DENIED', 'running a container needs root here', {
      hint: 'use sudo; rootless containers are not there yet',
    })
  }
  // Device files, id-mapped layers: the root of another user namespace may make neither.
  if (!isInFirst('user')) {
    throw new TscrunError(
      'PERMISSION_DENIED',
      'running a container needs root of the host: this is root of a container',
      {
        hint: 'start the container around tscrun with --privileged --userns=host; rootless containers are not there yet',
      },
    )
  }
}

/** A refused image leaves nothing, which only somebody who holds the store alone can see to. Rejects with the refusal. */
async function letGo(store: ImageStore, hold: Disposable | undefined, error: unknown): Promise<never> {
  if (hold === undefined) throw error
  hold[Symbol.dispose]()
  const { collectRefused } = await import('../images/refused.ts')
  await collectRefused(store, error)
  throw error
}
