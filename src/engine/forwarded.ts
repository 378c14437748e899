import type { Engine } from './api.ts'
import type { StoreVerbs } from './verbs.ts'

type ForwardedVerb =
  | 'rename'
  | 'stats'
  | 'top'
  | 'update'
  | 'events'
  | 'kill'
  | 'wait'
  | 'checkHealth'
  | 'exec'
  | 'execDetached'
  | 'pause'
  | 'unpause'
  | 'logs'
  | 'attach'
  | 'images'
  | 'removeImage'
  | 'ps'
  | 'remove'
  | 'inspect'
  | 'unitSource'
  | 'startAttached'
  | 'startable'
  | 'createVolume'
  | 'volumes'
  | 'volume'
  | 'removeVolume'
  | 'pruneVolumes'
  | 'info'

/** Verbs on what lies in the store, whose code is loaded when one is used. */
export function forwarded(verbs: () => Promise<StoreVerbs>): Pick<Engine, ForwardedVerb> {
  return {
    rename: async (idOrName, name) => (await verbs()).rename(idOrName, name),
    stats: async function* (names, wanted) {
      yield* (await verbs()).stats(names, wanted)
    },
    top: async (idOrName, words) => (await verbs()).top(idOrName, words),
    update: async (idOrName, changes) => (await verbs()).update(idOrName, changes),
    events: async function* (wanted) {
      yield* (await verbs()).events(wanted)
    },
    kill: async (idOrName, signal) => (await verbs()).kill(idOrName, signal),
    wait: async (idOrName, wait) => (await verbs()).wait(idOrName, wait),
    checkHealth: async (idOrName) => (await verbs()).checkHealth(idOrName),
    exec: async (idOrName, args, exec) => (await verbs()).exec(idOrName, args, exec),
    execDetached: async (idOrName, args, exec) => (await verbs()).execDetached(idOrName, args, exec),
    pause: async (idOrName) => (await verbs()).pause(idOrName),
    unpause: async (idOrName) => (await verbs()).unpause(idOrName),
    logs: async function* (idOrName, logs) {
      yield* (await verbs()).logs(idOrName, logs)
    },
    attach: async (idOrName, streams) => (await verbs()).attach(idOrName, streams),
    images: async (filter) => (await verbs()).images(filter),
    removeImage: async (reference, removal) => (await verbs()).removeImage(reference, removal),
    ps: async (which) => (await verbs()).ps(which),
    remove: async (idOrName, removal) => (await verbs()).remove(idOrName, removal),
    inspect: async (idOrName, type, wanted) => (await verbs()).inspect(idOrName, type, wanted),
    unitSource: async (idOrName) => (await verbs()).unitSource(idOrName),
    startAttached: async (idOrName, attach) => (await verbs()).startAttached(idOrName, attach),
    startable: async (filter) => (await verbs()).startable(filter),
    createVolume: async (volume) => (await verbs()).createVolume(volume),
    volumes: async (filter) => (await verbs()).volumes(filter),
    volume: async (name) => (await verbs()).volume(name),
    removeVolume: async (name) => (await verbs()).removeVolume(name),
    pruneVolumes: async (which) => (await verbs()).pruneVolumes(which),
    info: async () => (await verbs()).info(),
  }
}
