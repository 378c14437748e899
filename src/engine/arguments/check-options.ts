import type { BackgroundOptions, EngineOptions, PullOptions } from '../api.ts'
import type { PublishedPort } from '../../model/launch.ts'
import type { NetworkRequest } from '../../model/network.ts'
import type {
  BindMount,
  DeviceOption,
  DeviceRate,
  LimitOptions,
  NetworkOption,
  RunOptions,
  StoreVolumeMount,
  TmpfsMount,
  UlimitOption,
} from '../../model/run-options.ts'
import { TscrunError } from '../../model/errors.ts'
import type { RegistryAccess } from '../../registry/session.ts'
import type { ExecOptions } from '../live/exec.ts'
import type { WaitOptions } from '../live/wait-for.ts'
import {
  anything,
  callback,
  either,
  flag,
  isObject,
  type Keyed,
  listOf,
  needed,
  number,
  oneKeyOf,
  oneOf,
  optional,
  options,
  type Rules,
  shape,
  shown,
  signal,
  text,
  texts,
  time,
  words,
} from './option-rules.ts'
import type { RunCallOptions, StreamOptions } from '../start/run.ts'

/*
 * What programs hand over, looked at before anything of it is used: a program in JavaScript has no compiler that would do so,
 * and an option of a wrong name (`readonly`) would be one that nobody gave. Whether a value makes sense is decided where it is
 * used; here it is only of the right kind.
 */

// As with a signal, what counts is what it can do.
const input = optional(
  (value) =>
    typeof value === 'string' ||
    ArrayBuffer.isView(value) ||
    (isObject(value) && typeof value['pipe'] === 'function' && typeof value['on'] === 'function'),
  'a string, bytes or a Readable',
)

const join = { path: text, container: text }
const namespace = either(oneOf('new', 'host'), oneKeyOf(join))
export const NETWORK: Rules<NetworkRequest> = {
  name: needed(text),
  ip: text,
  ip6: text,
  mac: text,
  aliases: words,
  rate: shape({ in: number, out: number }),
}
const request = listOf(shape(NETWORK))
type Keys<T> = T extends unknown ? keyof T : never
type Networks = { readonly [K in Keys<Exclude<NetworkOption, string>>]: unknown }
type Mount = Omit<BindMount, 'source'> & Omit<StoreVolumeMount, 'source'> & { readonly source?: string }
const creds = shape({ user: needed(text), password: needed(text) })
const rates = listOf(shape<DeviceRate>({ path: needed(text), rate: needed(number) }))

export const LIMITS: Rules<LimitOptions> = {
  memory: number,
  memorySwap: number,
  memoryReservation: number,
  cpus: number,
  cpuShares: number,
  cpuQuota: number,
  cpuPeriod: number,
  cpusetCpus: text,
  cpusetMems: text,
  pidsLimit: number,
  blkioWeight: number,
  deviceReadBps: rates,
  deviceWriteBps: rates,
  deviceReadIops: rates,
  deviceWriteIops: rates,
  cgroupConf: texts,
}
export const LISTENER = { onWarning: callback, onProgress: callback, signal }
export const ACCESS: Rules<RegistryAccess> = { tlsVerify: flag, creds, authFile: text, certDir: text }
const REGISTRY = { ...ACCESS, platform: text, maxUnpackSize: number }

const CONTAINER: Rules<RunOptions> = {
  ...LIMITS,
  ...REGISTRY,
  name: text,
  env: words,
  workdir: text,
  user: text,
  entrypoint: words,
  hostname: text,
  addHost: words,
  dns: words,
  dnsSearch: words,
  dnsOption: words,
  labels: texts,
  annotations: texts,
  volumes: listOf(
    shape<Mount>({
      source: text,
      target: needed(text),
      readonly: flag,
      propagation: oneOf('private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared'),
      flags: words,
      chown: flag,
      recursive: flag,
      createSource: flag,
      volume: text,
      nocopy: flag,
      labels: texts,
      options: texts,
    }),
  ),
  volumesFrom: listOf(shape({ container: needed(text), readonly: flag })),
  tmpfs: listOf(shape<TmpfsMount>({ target: needed(text), options: words })),
  readOnly: flag,
  capAdd: words,
  capDrop: words,
  defaultCapabilities: words,
  privileged: flag,
  devices: listOf(shape<DeviceOption>({ hostPath: needed(text), containerPath: needed(text), access: needed(text) })),
  deviceCgroupRules: words,
  security: shape<NonNullable<RunOptions['security']>>({
    noNewPrivileges: flag,
    seccomp: text,
    apparmor: text,
    label: words,
    mask: words,
    unmask: words,
  }),
  shmSize: number,
  ulimits: listOf(shape<UlimitOption>({ name: needed(text), soft: needed(number), hard: needed(number) })),
  sysctls: texts,
  init: flag,
  stopSignal: text,
  pull: oneOf('missing', 'always', 'never', 'newer'),
  rootfs: shape({ path: needed(text), overlay: flag }),
  namespaces: shape<NonNullable<RunOptions['namespaces']>>({
    pid: namespace,
    ipc: namespace,
    uts: namespace,
    cgroup: namespace,
    user: either(oneOf('auto', 'host'), oneKeyOf(join)),
    time: shape({ boottime: number, monotonic: number }),
  }),
  network: either(oneOf('none', 'host', 'bridge'), oneKeyOf<Networks>({ ...join, networks: request, cni: request })),
  ports: listOf(
    shape<PublishedPort>({
      protocol: needed(oneOf('tcp', 'udp', 'sctp')),
      hostIp: text,
      hostPort: needed(number),
      containerPort: needed(number),
    }),
  ),
  expose: words,
  publishAll: flag,
  groupAdd: words,
  umask: number,
  oomScoreAdj: number,
  tty: flag,
  interactive: flag,
  remove: flag,
  timeoutMs: time,
  stopTimeoutMs: time,
  health: either(
    oneOf(false),
    shape<Exclude<RunOptions['health'], false | undefined>>({
      command: (value, name) => (Array.isArray(value) ? words : text)(value, name),
      intervalMs: time,
      timeoutMs: time,
      retries: number,
      startPeriodMs: time,
      startIntervalMs: time,
      onFailure: oneOf('none', 'kill', 'restart', 'stop'),
    }),
  ),
}
const STREAMS: Rules<StreamOptions> = {
  input,
  stdin: flag,
  buffer: flag,
  maxBuffer: optional((value) => typeof value === 'number' && value >= 0, 'a number of bytes'),
  reject: flag,
  timeoutMs: time,
  signal,
}
export const restart = shape({
  name: needed(oneOf('no', 'on-failure', 'always', 'unless-stopped')),
  most: needed(number),
})
const RUN: Rules<RunCallOptions> = { ...CONTAINER, ...STREAMS, ...LISTENER }
const BACKGROUND: Rules<BackgroundOptions> = {
  ...CONTAINER,
  ...LISTENER,
  restart,
  log: shape({ driver: oneOf('k8s-file', 'json-file', 'none', 'passthrough'), maxSize: number, maxFiles: number }),
  madeBy: anything,
  monitorPidfile: text,
  cidfile: text,
}
const EXEC: Rules<Omit<ExecOptions, 'tty' | 'interactive'> & StreamOptions> = {
  ...STREAMS,
  env: words,
  user: text,
  workdir: text,
  privileged: flag,
}
export const PULL: Rules<PullOptions> = { ...REGISTRY, ...LISTENER, allPlatforms: flag }
const ENGINE: Rules<EngineOptions> = {
  root: text,
  runRoot: text,
  onDebug: callback,
  ahead: flag,
  registries: optional(isObject, 'an object'),
  signal,
}

const WAIT: Rules<WaitOptions> = { timeoutMs: time, signal }

const OF_VERBS = { run: RUN, background: BACKGROUND, exec: EXEC, engine: ENGINE, wait: WAIT }

/** Throws USAGE for an option that there is not, or one of the wrong kind. */
export function checkOptions(verb: keyof typeof OF_VERBS, given: unknown): void {
  needed(options(OF_VERBS[verb] as Rules<Keyed>))(given, 'options')
}

/** All that a container is made of. */
export function checkRun(verb: 'run' | 'background', image: unknown, args: unknown, given: RunOptions): void {
  checkCommand(image, args)
  checkOptions(verb, given)
  if (image === undefined || given.rootfs === undefined) return
  throw new TscrunError('USAGE', `image: ${shown(image)} and the option rootfs: a container has only one of them`, {
    subject: 'image',
    hint: 'undefined in the place of the image, or no rootfs',
  })
}

/** Of `waitFor`, whose container may be a promise that nobody has awaited. */
export function checkWait(container: unknown, given: unknown): void {
  const isOne = isObject(container) && typeof container['id'] === 'string'
  if (!isOne) throw new TscrunError('USAGE', `container: ${shown(container)} is not a Container`)
  checkOptions('wait', given)
}

/** The same for what stands before the options. */
export function checkCommand(image: unknown, args: unknown): void {
  if (image !== undefined && typeof image !== 'string') {
    throw new TscrunError('USAGE', `image: ${shown(image)} is not a string, nor undefined for the option rootfs`)
  }
  if (!Array.isArray(args)) {
    throw new TscrunError('USAGE', `arguments: ${shown(args)} is not a list`, { hint: "write ['sh', '-c', '...']" })
  }
  args.forEach((word: unknown, at) => {
    if (typeof word !== 'string') throw new TscrunError('USAGE', `argument ${at}: ${shown(word)} is not a string`)
    if (word.includes('\0')) throw new TscrunError('USAGE', `argument ${at}: it has a NUL byte`)
  })
}
