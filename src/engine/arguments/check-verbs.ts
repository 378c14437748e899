import type { Packing } from '../../images/packer.ts'
import type { ContainerFilter, Engine, PsOptions } from '../api.ts'
import type { CopyOptions } from '../copy/copy.ts'
import type { EventFilter, EventsOptions } from '../events/events.ts'
import type { CopyRequest, PushRequest } from '../image-verbs/registries.ts'
import type { StopOptions } from '../live/live.ts'
import type { LogsOptions } from '../live/logs.ts'
import type { UpdateOptions } from '../live/update.ts'
import type { CniPlaces } from '../networks/cni/find.ts'
import type { CniAddOptions, CniName, CniVerbs } from '../networks/cni/verbs.ts'
import type { CreateNetworkOptions } from '../networks/create.ts'
import type { NetworkFilter } from '../networks/filter.ts'
import type { NetworkVerbs } from '../networks/verbs.ts'
import type { StatsOptions } from '../show/stats.ts'
import type { RemoveOptions } from '../state/remove.ts'
import type { CheckOptions } from '../system/check/check.ts'
import type { PruneFilter, PruneOptions } from '../system/prune.ts'
import type { ResetOptions } from '../system/reset.ts'
import type { SystemVerbs } from '../system/verbs.ts'
import type { CreateVolumeOptions, VolumeFilter } from '../volumes/verbs.ts'
import { ACCESS, LIMITS, LISTENER, NETWORK, PULL, restart } from './check-options.ts'
import {
  type Arguments,
  callback,
  flag,
  isObject,
  listOf,
  needed,
  number,
  oneOf,
  optional,
  options,
  type Rules,
  shape,
  signal,
  text,
  texts,
  time,
  words,
} from './option-rules.ts'

/* What the library's verbs may be called with, but for those that make containers (check-options.ts). */

type OfVerbs = Readonly<Record<string, Arguments>>

const word = (name: string): Arguments[number] => [name, needed(text)]
const some = <T>(rules: Rules<T>): Arguments[number] => ['options', options(rules)]
const all = <T>(rules: Rules<T>): Arguments[number] => ['options', needed(options(rules))]
const container = word('container')
const flags = listOf(flag)
const numbers = listOf(number)
const anySignal = optional((value) => ['string', 'number'].includes(typeof value), 'the name or the number of a signal')
const protocol = oneOf('tcp', 'udp', 'sctp')

const PS: Rules<PsOptions> = {
  all: flag,
  filter: shape<ContainerFilter>({
    id: words,
    name: words,
    label: words,
    noLabel: words,
    untilMs: numbers,
    publish: listOf(shape({ protocol: needed(protocol), first: needed(number), last: needed(number) })),
    status: words,
    ancestor: words,
    exited: numbers,
    volume: words,
    network: words,
    before: words,
    since: words,
    restartPolicy: words,
    startsAtBoot: flags,
    health: words,
  }),
  last: number,
  size: flag,
}
const VOLUMES: Rules<VolumeFilter> = {
  name: words,
  label: words,
  withoutLabel: words,
  dangling: flag,
  anonymous: flag,
  driver: words,
  untilMs: number,
}
type RemoveImageOptions = Parameters<Engine['removeImage']>[1]
const FORCE = { force: flag }
const PUSH: Rules<PushRequest> = {
  ...ACCESS,
  ...LISTENER,
  packing: shape<Packing>({ format: needed(oneOf('gzip', 'zstd')), level: number, force: flag }),
}
const COPY: Rules<CopyRequest> = {
  ...LISTENER,
  platform: text,
  source: needed(shape(ACCESS)),
  target: needed(shape(ACCESS)),
}
const NEW_NETWORK: Rules<CreateNetworkOptions> = {
  name: needed(text),
  driver: oneOf('bridge', 'macvlan', 'ipvlan', 'none'),
  subnets: words,
  gateways: words,
  internal: flag,
  ipv6: flag,
  labels: texts,
  mtu: number,
  parent: text,
  ignore: flag,
}

export const OF_ENGINE = {
  pull: [word('reference'), some(PULL)],
  push: [word('image'), ['destination', text], some(PUSH)],
  copy: [word('source'), word('target'), all(COPY)],
  images: [],
  removeImage: [word('reference'), all<RemoveImageOptions>({ ...FORCE, allNames: flag })],
  ps: [all(PS)],
  remove: [container, all<RemoveOptions>({ ...FORCE, volumes: flag, timeoutMs: time })],
  inspect: [word('name'), ['type', oneOf('container', 'image', 'volume')]],
  cni: [],
  system: [],
  networks: [],
  createVolume: [some<CreateVolumeOptions>({ name: text, labels: texts, options: texts, ignore: flag })],
  volumes: [['filter', shape(VOLUMES)]],
  volume: [word('name')],
  removeVolume: [word('name')],
  pruneVolumes: [some({ all: flag, filter: shape(VOLUMES) })],
  info: [],
  doctor: [],
  get: [container],
  list: [some(PS)],
  createNetwork: [all(NEW_NETWORK)],
} satisfies OfVerbs

const EVENTS: Rules<EventsOptions> = {
  sinceMs: number,
  untilMs: number,
  follow: flag,
  filter: shape<EventFilter>({
    container: words,
    image: words,
    volume: words,
    network: words,
    type: words,
    event: words,
    label: words,
  }),
  signal,
}
const STATS: Rules<StatsOptions> = { all: flag, intervalMs: time, signal }
const LOGS: Rules<LogsOptions> = { follow: flag, tail: number, sinceMs: number, untilMs: number, signal }
const COPY_FILES: Rules<CopyOptions> = {
  archive: flag,
  followLink: flag,
  overwrite: flag,
  onWarning: LISTENER.onWarning,
  signal,
}

/** Of verbs that answer with something else than a promise. */
export const OF_STREAMS = {
  events: [some(EVENTS)],
  stats: [['names', needed(words)], some(STATS)],
  logs: [some(LOGS)],
  copyOut: [word('path'), ['target', text], some(COPY_FILES)],
} satisfies OfVerbs

const STOP: Rules<StopOptions> = { timeoutMs: time, defaultTimeoutMs: time, signal: anySignal, shutdown: flag }
const tarBytes = optional(
  (value) =>
    typeof value === 'string' ||
    (typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)),
  'a path or an iterable of bytes',
)

export const OF_CONTAINER = {
  start: [],
  stop: [some(STOP)],
  restart: [some(STOP)],
  rename: [word('name')],
  update: [all<UpdateOptions>({ ...LIMITS, restart })],
  kill: [['signal', anySignal]],
  pause: [],
  unpause: [],
  wait: [some({ signal })],
  checkHealth: [],
  copyIn: [['source', needed(tarBytes)], word('path'), some(COPY_FILES)],
  stats: [],
  top: [['words', words]],
  port: [
    ['port', needed(number)],
    ['protocol', protocol],
  ],
  inspect: [],
} satisfies OfVerbs

const NETWORKS: Rules<NetworkFilter> = {
  name: words,
  id: words,
  driver: words,
  label: words,
  withoutLabel: words,
  internal: flag,
  dangling: flag,
  untilMs: number,
}
const tell: Arguments[number] = ['tell', callback]

export const OF_NETWORKS = {
  create: [all(NEW_NETWORK)],
  list: [['filter', shape(NETWORKS)]],
  get: [word('network')],
  remove: [word('network')],
  prune: [['filter', shape(NETWORKS)]],
  connect: [container, all(NETWORK), tell],
  disconnect: [container, word('network')],
  reload: [tell],
  ports: [container],
} satisfies { readonly [K in keyof NetworkVerbs]: Arguments }

const PRUNE: Rules<PruneFilter> = { untilMs: number, label: words, withoutLabel: words }

export const OF_SYSTEM = {
  df: [],
  prune: [some<PruneOptions>({ all: flag, volumes: flag, filter: shape(PRUNE) })],
  pruneContainers: [['filter', shape(PRUNE)]],
  pruneImages: [some({ all: flag, filter: shape(PRUNE) })],
  check: [some<CheckOptions>({ quick: flag, repair: flag, force: flag, signal })],
  reset: [all<ResetOptions>(FORCE)],
} satisfies { readonly [K in keyof SystemVerbs]: Arguments }

const CNI_NAME: Rules<CniName> = { network: needed(text), id: needed(text), ifName: text }

export const OF_CNI = {
  add: [
    all<CniAddOptions>({
      ...CNI_NAME,
      netns: needed(text),
      capabilities: optional(isObject, 'an object'),
      args: texts,
      places: shape<CniPlaces>({ configurations: text, plugins: words }),
    }),
  ],
  check: [all({ ...CNI_NAME, netns: needed(text) })],
  delete: [all({ ...CNI_NAME, netns: text })],
} satisfies { readonly [K in keyof CniVerbs]: Arguments }
