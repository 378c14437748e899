import { accessSync, constants as access } from 'node:fs'
import { constants } from 'node:os'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { RunOptions } from '../model/run-options.ts'
import type { Stdio } from '../model/launch.ts'
import { openImageStore } from '../images/store.ts'
import { compile } from '../plan/compile.ts'
import { formatPlan } from '../plan/format.ts'
import type { Engine, EngineOptions, ForegroundOptions, Listener } from './api.ts'
import { placeCgroup } from './cgroup.ts'
import { findContainer, matchesFilter, summarize, tryFindContainer, viewContainers } from './containers-view.ts'
import { hostFacts } from './host.ts'
import { getImage, imageSummaries, pullVerb, removeImageVerb } from './image-verbs.ts'
import { engineInfo } from './info.ts'
import { inspectContainer, inspectImage } from './inspect.ts'
import { enginePaths, type EnginePaths } from './paths.ts'
import { prepareContainer, rootfsSource, type Source } from './prepare.ts'
import { removeContainer } from './remove.ts'
import { startContainer, type RunningHandle } from './start.ts'
import { sweep } from './sweep.ts'

/** What the library's face needs beyond the verbs of `Engine`. */
export interface EngineCore extends Engine {
  readonly paths: EnginePaths
  /** Decides, makes and starts a container on the given descriptors. */
  begin(image: string | undefined, args: readonly string[], options: BeginOptions): Promise<RunningHandle>
}

export interface BeginOptions extends RunOptions, Listener {
  readonly stdio: Stdio
  /** For the slots of `stdio`: in, out, err; for direct streams without input only out, err. */
  readonly fds: readonly number[]
  /** Write the id here, refusing a file that exists. */
  readonly cidfile?: string
}

/** An engine over one store. Nothing is read or made until a verb needs it; two engines share nothing but the disk. */
export function createEngine(options: EngineOptions = {}): EngineCore {
  const paths = enginePaths(options)
  const store = openImageStore({ root: paths.root })

  async function sourceOf(image: string | undefined, run: RunOptions, listener: Listener): Promise<Source> {
    if (run.rootfs !== undefined) return rootfsSource(run.rootfs)
    if (image === undefined) throw new TscrunError('USAGE', 'no image', { hint: 'name one, or a root directory by --rootfs' })
    const stored = await getImage(store, image, {
      ...listener,
      policy: run.pull ?? 'missing',
      ...(run.platform === undefined ? {} : { platform: run.platform }),
      ...(run.tlsVerify === undefined ? {} : { tlsVerify: run.tlsVerify }),
    })
    return { name: image, imageId: stored.id, layers: stored.layers, config: stored.config, direct: false, scratch: false }
  }

  async function begin(image: string | undefined, args: readonly string[], run: BeginOptions): Promise<RunningHandle> {
    requireRoot()
    // Nobody may remove the image's layers until the container's record names them.
    using _hold = run.rootfs === undefined ? await store.hold(run.signal) : undefined
    const source = await sourceOf(image, run, run)
    run.signal?.throwIfAborted()
    const prepared = prepareContainer(paths, source, args, run)
    for (const warning of prepared.warnings) run.onWarning?.(warning)
    return startContainer(paths, prepared, {
      run,
      stdio: run.stdio,
      fds: run.fds,
      ...(run.cidfile === undefined ? {} : { cidfile: run.cidfile }),
      ...(options.onDebug === undefined ? {} : { onDebug: options.onDebug }),
    })
  }

  async function runForeground(image: string | undefined, args: readonly string[], run: ForegroundOptions): Promise<number> {
    const handle = await begin(image, args, { ...run, stdio: callerStreams(run), fds: [0, 1, 2] })
    const kill = (signal: string): void => {
      const number = constants.signals[signal as keyof typeof constants.signals] as number | undefined
      if (number !== undefined) handle.launched.signal(number)
    }
    run.onStarted?.({ id: handle.id, kill })
    const timer = run.timeoutMs === undefined ? undefined : setTimeout(() => kill('SIGKILL'), run.timeoutMs)
    // While the container runs: what an earlier command left behind when it was killed.
    const swept = sweep(paths, 'live')
    try {
      return (await handle.ended).exitCode
    } finally {
      clearTimeout(timer)
      await swept
    }
  }

  return {
    paths,
    begin,
    runForeground,
    dryRun: async (image, args, run) => {
      const source = await sourceOf(image, { ...run, pull: 'never' }, {})
      const spec = prepareContainer(paths, source, args, run).spec({ stdio: callerStreams(run), dryRun: true })
      const cgroup = placeCgroup(spec.id, spec.config, { dryRun: true })
      return formatPlan(compile(cgroup === undefined ? spec : { ...spec, cgroup }))
    },
    pull: (reference, pull) => pullVerb(store, reference, pull),
    images: async () => {
      requireReadable(paths)
      return imageSummaries(store)
    },
    removeImage: async (reference, { force }) => {
      requireReadable(paths)
      return removeImageVerb(paths, store, reference, force)
    },
    ps: async ({ all, filter = {} }) => {
      requireReadable(paths)
      await sweep(paths, 'all')
      return viewContainers(paths)
        .filter((view) => (all || view.status === 'running') && matchesFilter(summarize(view), filter, view.record.imageId))
        .map(summarize)
    },
    remove: async (idOrName, { force }) => {
      requireReadable(paths)
      await sweep(paths, 'live')
      return removeContainer(paths, idOrName, force)
    },
    inspect: async (idOrName, type) => {
      requireReadable(paths)
      const container = type === 'image' ? undefined : tryFindContainer(paths, idOrName)
      if (container !== undefined) return inspectContainer(paths, container)
      const image = type === 'container' ? undefined : store.find(idOrName)
      if (image !== undefined) return inspectImage(image)
      if (type === 'container') return inspectContainer(paths, findContainer(paths, idOrName))
      throw noSuch(idOrName, type)
    },
    info: async () => {
      requireReadable(paths)
      return engineInfo(paths, viewContainers(paths), store.list())
    },
    doctor: async () => (await import('./doctor.ts')).runDoctor(hostFacts(), paths),
  }
}

function noSuch(name: string, type: 'image' | undefined): TscrunError {
  const what = type === 'image' ? 'image' : 'container or image'
  return new TscrunError('NO_SUCH_IMAGE', `${what} ${name}: there is none`, {
    subject: name,
    hint: '`tscrun ps -a` and `tscrun images` list what there is',
  })
}

/** The streams of a run on the caller's own descriptors. */
function callerStreams(run: RunOptions): Stdio {
  return { kind: run.tty === true ? 'terminal' : 'copied', interactive: run.interactive === true }
}

/** Whoever may not read the store is told so before half of it is read. */
function requireReadable(paths: EnginePaths): void {
  if (hostFacts().euid === 0) return
  for (const path of [paths.root, paths.runRoot]) {
    try {
      accessSync(path, access.R_OK | access.X_OK)
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') continue
      throw new TscrunError('PERMISSION_DENIED', `read the store ${path}: permission denied (EACCES)`, {
        errno: 'EACCES',
        subject: path,
        hint: 'run it with sudo, or choose a store of your own with --root and --runroot',
        cause: error,
      })
    }
  }
}

/** What still needs root says so in one line. */
function requireRoot(): void {
  if (hostFacts().euid === 0) return
  throw new TscrunError('PERMISSION_DENIED', 'running a container needs root here', {
    hint: 'use sudo; rootless containers are not there yet',
  })
}
