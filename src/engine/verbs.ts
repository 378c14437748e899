import { accessSync, constants as access } from 'node:fs'
import type { ImageStore } from '../images/store.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { Engine, EngineOptions, PulledImage, PullOptions } from './api.ts'
import type { ResolvedSettings } from './config/file.ts'
import {
  type ContainerView,
  findContainer,
  summarize,
  tryFindContainer,
  viewContainers,
} from './state/containers-view.ts'
import { hostFacts } from '../runtime/host.ts'
import type { Launched } from '../runtime/launch.ts'
import { imageTest } from './image-verbs/filter.ts'
import { imageSummaries, pullVerb, removeImageVerb } from './image-verbs/verbs.ts'
import { engineInfo } from './show/info.ts'
import { inspectContainer, inspectImage } from './show/inspect.ts'
import { textsOf } from './image-verbs/texts.ts'
import { type StartAgain, startAgain } from './live/detached.ts'
import { containerEvent, imageEvent, writeEvents } from './events/log.ts'
import { readEvents } from './events/events.ts'
import { execContainer, execDetached } from './live/exec.ts'
import { outputRefused } from './start/output-refused.ts'
import {
  attachContainer,
  freezeContainer,
  killContainer,
  signalNumber,
  stopContainer,
  waitContainer,
} from './live/live.ts'
import { containerLogs } from './live/logs.ts'
import type { EnginePaths } from './paths.ts'
import { containerSize, listContainers } from './show/ps.ts'
import { removeContainer } from './state/remove.ts'
import { renameContainer } from './state/rename.ts'
import type { ShortNames } from './image-verbs/short-names.ts'
import { startOrder } from './live/start-order.ts'
import { matchesFilter } from './state/filter.ts'
import { sweep } from './state/sweep.ts'
import { unitSource } from './units/unit-source.ts'
import { readVolume } from './volumes/store.ts'
import {
  createVolume,
  findVolume,
  inspectVolume,
  pruneVolumes,
  removeVolume,
  volumeSummaries,
} from './volumes/verbs.ts'
import { containerStats } from './show/stats.ts'
import { containerTop } from './top/top.ts'
import { updateContainer } from './live/update.ts'

type VolumeVerb = 'createVolume' | 'volumes' | 'volume' | 'removeVolume' | 'pruneVolumes'

/** The verbs on what lies in a store. */
export interface StoreVerbs
  extends Pick<
    Engine,
    | 'images'
    | 'removeImage'
    | 'ps'
    | 'remove'
    | 'inspect'
    | 'info'
    | 'stop'
    | 'kill'
    | 'wait'
    | 'checkHealth'
    | 'pause'
    | 'unpause'
    | 'logs'
    | 'attach'
    | 'startAttached'
    | 'rename'
    | 'update'
    | 'top'
    | 'stats'
    | 'restart'
    | 'events'
    | 'unitSource'
    | 'startable'
    | 'exec'
    | 'execDetached'
    | VolumeVerb
  > {
  pull(reference: string, options: PullOptions & { readonly onDebug?: (line: string) => void }): Promise<PulledImage>
  /** Starts a stopped container again; `onDebug` is told each step. */
  start(idOrName: string, options?: Omit<StartAgain, 'attach'>): Promise<string>
  /** Tells that an image was pulled by its name. */
  notePull(reference: string): void
  /** Puts right what killed commands left of containers that were running. */
  sweep(): Promise<void>
}

export interface VerbContext {
  readonly names: ShortNames
  readonly options: EngineOptions
  readonly sources: ResolvedSettings['sources']
}

export function storeVerbs(paths: EnginePaths, store: ImageStore, context: VerbContext): StoreVerbs {
  const { names } = context
  const sizes = ({ record }: ContainerView): Readonly<Record<string, number>> => {
    const { writable, root } = containerSize(paths, store, record)
    return { SizeRw: writable, SizeRootFs: root }
  }
  return {
    sweep: async () => void (await sweep(paths, 'live')),
    notePull: (reference) => writeEvents(paths, [imageEvent('pull', reference, reference)]),
    pull: async (reference, pull) => {
      const pulled = await pullVerb(store, reference, { ...pull, names })
      writeEvents(paths, [imageEvent('pull', pulled.reference, pulled.reference)])
      return pulled
    },
    images: async (filter = {}) => {
      requireReadable(paths)
      if (filter.before !== undefined || filter.since !== undefined) await names.prepare()
      return imageSummaries(store).filter(imageTest(store, filter))
    },
    removeImage: async (reference, removal) => {
      requireReadable(paths)
      await sweep(paths, 'live')
      await names.prepare(reference)
      const removed = await removeImageVerb(paths, store, reference, removal)
      writeEvents(paths, [
        ...removed.untagged.map((name) => imageEvent('untag', name, name)),
        ...removed.deleted.map((digest) => imageEvent('delete', digest, reference)),
      ])
      return removed
    },
    ps: async (options) => {
      requireReadable(paths)
      return listContainers(paths, store, options, await sweep(paths, 'all'))
    },
    remove: async (idOrName, options) => {
      requireReadable(paths)
      await sweep(paths, 'live')
      return removeContainer(paths, idOrName, options)
    },
    inspect: async (idOrName, type, { size = false } = {}) => {
      requireReadable(paths)
      if (type !== 'image') await sweep(paths, 'live')
      if (type === 'volume') return inspectVolume(findVolume(paths, idOrName))
      const container = type === 'image' ? undefined : tryFindContainer(paths, idOrName)
      if (container !== undefined) return { ...inspectContainer(paths, container), ...(size ? sizes(container) : {}) }
      if (type === 'container') return inspectContainer(paths, findContainer(paths, idOrName))
      await names.prepare(idOrName)
      const image = store.find(idOrName)
      if (image !== undefined) return inspectImage(image, textsOf(store, image))
      if (type === undefined && readVolume(paths, idOrName) !== undefined) {
        return inspectVolume(findVolume(paths, idOrName))
      }
      throw noSuch(idOrName, type)
    },
    stats: (names, options) => {
      requireReadable(paths)
      return containerStats(paths, names, options)
    },
    top: async (idOrName, words) => {
      requireReadable(paths)
      return containerTop(paths, idOrName, words)
    },
    update: (idOrName, options) => updateContainer(paths, idOrName, options),
    rename: (idOrName, name) => renameContainer(paths, idOrName, name),
    restart: async (idOrName, options) => {
      requireReadable(paths)
      await stopContainer(paths, idOrName, options)
      await sweep(paths, 'live')
      const view = findContainer(paths, idOrName)
      await startAgain(paths, view, {})
      writeEvents(paths, [containerEvent(view.record, 'restart')])
      return view.record.id
    },
    events: (options) => {
      requireReadable(paths)
      return readEvents(paths, options)
    },
    unitSource: async (idOrName) => {
      requireReadable(paths)
      return unitSource(paths, findContainer(paths, idOrName))
    },
    start: async (idOrName, start = {}) => {
      requireReadable(paths)
      await sweep(paths, 'live')
      const view = findContainer(paths, idOrName)
      await startAgain(paths, view, start)
      return view.record.id
    },
    startable: async (filter) => {
      requireReadable(paths)
      await sweep(paths, 'all')
      const resting = viewContainers(paths)
        .filter(({ status }) => status === 'stopped' || status === 'created')
        .filter((view) => matchesFilter(summarize(view), filter))
      return startOrder(resting).map(summarize)
    },
    startAttached: async (idOrName, attach) => {
      requireReadable(paths)
      await sweep(paths, 'live')
      const client = await startAgain(paths, findContainer(paths, idOrName), { attach })
      if (client === undefined) throw new Error('its monitor does not listen')
      return client
    },
    stop: (idOrName, options) => stopContainer(paths, idOrName, options),
    kill: async (idOrName, signal) => killContainer(paths, idOrName, signal),
    wait: (idOrName, options) => waitContainer(paths, idOrName, options?.signal),
    checkHealth: async (idOrName) => (await import('./health/health.ts')).checkHealth(paths, idOrName),
    exec: async (idOrName, args, { onStarted, ...options }) => {
      requireReadable(paths)
      const onLaunched = (launched: Launched): void =>
        onStarted?.({ kill: (signal) => void launched.signal(signalNumber(signal)) })
      const streams = { fds: [0, 1, 2], onLaunched } as const
      const exit = await execContainer(paths, idOrName, args, { options, streams })
      if (exit.refused !== undefined) throw outputRefused(exit.refused)
      return exit.exitCode
    },
    execDetached: (idOrName, args, options) => execDetached(paths, idOrName, args, options),
    pause: (idOrName) => freezeContainer(paths, idOrName, true),
    unpause: (idOrName) => freezeContainer(paths, idOrName, false),
    logs: (idOrName, options) => containerLogs(paths, idOrName, options),
    attach: (idOrName, streams) => attachContainer(paths, idOrName, streams),
    ...volumeVerbs(paths),
    info: async () => {
      requireReadable(paths)
      return engineInfo(paths, viewContainers(paths), store.list(), context)
    },
  }
}

function volumeVerbs(paths: EnginePaths): Pick<Engine, VolumeVerb> {
  const checked = <T>(action: () => T): Promise<T> => {
    requireReadable(paths)
    return Promise.resolve(action())
  }
  return {
    createVolume: async (volume = {}) => checked(() => createVolume(paths, volume)),
    volumes: async (filter) => checked(() => volumeSummaries(paths, filter)),
    volume: async (name) => checked(() => findVolume(paths, name)),
    removeVolume: async (name) => checked(() => removeVolume(paths, name)),
    pruneVolumes: async (which = {}) => checked(() => pruneVolumes(paths, which)),
  }
}

function noSuch(name: string, type: 'image' | undefined): TscrunError {
  const what = type === 'image' ? 'image' : 'container or image'
  return new TscrunError('NO_SUCH_IMAGE', `${what} ${name}: there is none`, {
    subject: name,
    hint: '`tscrun ps -a` and `tscrun images` list what there is',
  })
}

/** Whoever may not read the store is told so before half of it is read. */
export function requireReadable(paths: EnginePaths): void {
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
