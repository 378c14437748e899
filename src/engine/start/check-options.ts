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
import type { ExecOptions } from '../live/exec.ts'
import type { RunCallOptions, StreamOptions } from './run.ts'

/*
 * What programs hand over, looked at before anything of it is used: a program in JavaScript has no compiler that would do so,
 * and an option of a wrong name (`readonly`) would be one that nobody gave. Whether a value makes sense is decided where it is
 * used; here it is only of the right kind.
 */

/** Throws USAGE where the value is not what it must be; `name` says where it stands: `ports[0].hostPort`. */
type Rule = (value: unknown, name: string) => void
/** One for each option there is, so that the compiler misses those that are forgotten. */
type Rules<T> = { readonly [K in keyof T]-?: Rule }
type Keyed = Readonly<Record<string, unknown>>

function wrong(name: string, value: unknown, wanted: string): never {
  throw new TscrunError('USAGE', `option ${name}: ${shown(value)} is not ${wanted}`, { subject: name })
}

function shown(value: unknown): string {
  if (typeof value === 'string')
    return value.length > 60 ? `${JSON.stringify(value.slice(0, 60))}...` : JSON.stringify(value)
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}

const isObject = (value: unknown): value is Keyed =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Of a value that may be left out. */
const optional =
  (fits: (value: unknown) => boolean, wanted: string): Rule =>
  (value, name) => {
    if (value !== undefined && !fits(value)) wrong(name, value, wanted)
  }
const needed =
  (rule: Rule): Rule =>
  (value, name) => {
    if (value === undefined) throw new TscrunError('USAGE', `option ${name}: it is missing`, { subject: name })
    rule(value, name)
  }
const anything: Rule = () => undefined
const flag = optional((value) => typeof value === 'boolean', 'true or false')
const number = optional((value) => typeof value === 'number' && !Number.isNaN(value), 'a number')
const time = optional(
  (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
  'a number of milliseconds of 0 or more',
)
const callback = optional((value) => typeof value === 'function', 'a function')
const text: Rule = (value, name) => {
  if (value === undefined) return
  if (typeof value !== 'string') wrong(name, value, 'a string')
  if (value.includes('\0')) throw new TscrunError('USAGE', `option ${name}: it has a NUL byte`, { subject: name })
}
const oneOf = (...values: readonly (string | false)[]): Rule =>
  optional((value) => values.some((known) => known === value), values.join(', ').replace(/, ([^,]+)$/, ' or $1'))
const listOf =
  (rule: Rule): Rule =>
  (value, name) => {
    if (value === undefined) return
    if (!Array.isArray(value)) wrong(name, value, 'a list')
    value.forEach((entry: unknown, at) => needed(rule)(entry, `${name}[${at}]`))
  }
const words = listOf(text)
const texts: Rule = (value, name) => {
  if (value === undefined) return
  if (!isObject(value)) wrong(name, value, 'an object of strings')
  for (const [key, entry] of Object.entries(value)) needed(text)(entry, `${name}.${key}`)
}
const shape =
  <T>(rules: Rules<T>): Rule =>
  (value, name) => {
    if (value === undefined) return
    if (!isObject(value)) wrong(name, value, 'an object')
    checkKeys(rules, value, `${name}.`)
  }
/** With just one of its keys. */
const oneKeyOf =
  <T>(rules: Rules<T>): Rule =>
  (value, name) => {
    shape(rules)(value, name)
    const given = isObject(value) ? Object.values(value).filter((entry) => entry !== undefined) : []
    if (value !== undefined && given.length !== 1)
      wrong(name, value, `one with just one of ${Object.keys(rules).join(', ')}`)
  }
/** The first for strings and what is no object, the other for objects. */
const either =
  (plain: Rule, object: Rule): Rule =>
  (value, name) =>
    (isObject(value) ? object : plain)(value, name)

function checkKeys<T>(rules: Rules<T>, value: Keyed, prefix: string): void {
  const known = rules as Readonly<Record<string, Rule>>
  for (const key of Object.keys(value)) {
    if (Object.hasOwn(known, key) || value[key] === undefined) continue
    const like = Object.keys(known).find((other) => other.toLowerCase().startsWith(key.toLowerCase()))
    const details = like === undefined ? {} : { hint: `did you mean ${prefix}${like}?` }
    throw new TscrunError('USAGE', `option ${prefix}${key}: there is none of this name`, {
      ...details,
      subject: prefix + key,
    })
  }
  for (const [key, rule] of Object.entries(known)) rule(value[key], prefix + key)
}

// A signal or a stream may be of another realm, or of a library: what counts is what it can do.
const signal = optional(
  (value) => isObject(value) && typeof value['aborted'] === 'boolean' && typeof value['throwIfAborted'] === 'function',
  'an AbortSignal',
)
const input = optional(
  (value) =>
    typeof value === 'string' ||
    ArrayBuffer.isView(value) ||
    (isObject(value) && typeof value['pipe'] === 'function' && typeof value['on'] === 'function'),
  'a string, bytes or a Readable',
)

const join = { path: text, container: text }
const namespace = either(oneOf('new', 'host'), oneKeyOf(join))
const request = listOf(
  shape<NetworkRequest>({
    name: needed(text),
    ip: text,
    ip6: text,
    mac: text,
    aliases: words,
    rate: shape({ in: number, out: number }),
  }),
)
type Keys<T> = T extends unknown ? keyof T : never
type Networks = { readonly [K in Keys<Exclude<NetworkOption, string>>]: unknown }
type Mount = Omit<BindMount, 'source'> & Omit<StoreVolumeMount, 'source'> & { readonly source?: string }
const creds = shape({ user: needed(text), password: needed(text) })
const rates = listOf(shape<DeviceRate>({ path: needed(text), rate: needed(number) }))

const LIMITS: Rules<LimitOptions> = {
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
const LISTENER = { onWarning: callback, onProgress: callback, signal }
const REGISTRY = { tlsVerify: flag, creds, authFile: text, certDir: text, platform: text, maxUnpackSize: number }

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
const RUN: Rules<RunCallOptions> = { ...CONTAINER, ...STREAMS, ...LISTENER }
const BACKGROUND: Rules<BackgroundOptions> = {
  ...CONTAINER,
  ...LISTENER,
  restart: shape({ name: needed(oneOf('no', 'on-failure', 'always', 'unless-stopped')), most: needed(number) }),
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
const PULL: Rules<PullOptions> = { ...REGISTRY, ...LISTENER, allPlatforms: flag }
const ENGINE: Rules<EngineOptions> = {
  root: text,
  runRoot: text,
  onDebug: callback,
  ahead: flag,
  registries: optional(isObject, 'an object'),
  signal,
}

const OF_VERBS = { run: RUN, background: BACKGROUND, exec: EXEC, pull: PULL, engine: ENGINE }

/** Throws USAGE for an option that there is not, or one of the wrong kind. */
export function checkOptions(verb: keyof typeof OF_VERBS, options: unknown): void {
  if (!isObject(options)) throw new TscrunError('USAGE', `options: ${shown(options)} is not an object`)
  checkKeys(OF_VERBS[verb] as Rules<Keyed>, options, '')
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
