import { closest } from './closest.ts'
import { TscrunError } from './errors.ts'
import { RANGE_SIZE } from './ids.ts'
import type { DetachedOptions, PullPolicy, UlimitOption } from './run-options.ts'
import { parseBytes } from './units.ts'

/** What a host's administrator sets for all containers; a flag and the library's options stand above it. */
export interface Settings {
  readonly root?: string
  readonly runRoot?: string
  readonly userns?: 'auto' | 'host'
  /** Of containers that are asked for none: `none`, `host`, or a network's name. */
  readonly network?: string
  /** Host ids that containers are given from. */
  readonly idPool?: { readonly first: number; readonly size: number }
  readonly pull?: PullPolicy
  /** Bytes. */
  readonly maxUnpackSize?: number
  readonly log?: NonNullable<DetachedOptions['log']>
  readonly ulimits?: readonly UlimitOption[]
  /** Instead of the 14 default ones. */
  readonly capabilities?: readonly string[]
  readonly seccompProfile?: string
  readonly dns?: readonly string[]
  readonly dnsSearch?: readonly string[]
  readonly dnsOptions?: readonly string[]
  /** `name:address` each. */
  readonly hosts?: readonly string[]
  readonly stopTimeoutMs?: number
  readonly detachKeys?: string
}

type Value = string | number | readonly string[]

type Kind =
  | { readonly kind: 'path' | 'text' | 'texts' | 'size' }
  | { readonly kind: 'integer'; readonly min: number; readonly max: number }
  | { readonly kind: 'word'; readonly words: readonly string[] }

/** Every key of the file. `what` is its default, for people. */
export const SETTING_KEYS: Readonly<Record<string, Kind & { readonly what: string }>> = {
  root: { kind: 'path', what: '/var/lib/tscrun' },
  runroot: { kind: 'path', what: '/run/tscrun' },
  userns: { kind: 'word', words: ['auto', 'host'], what: 'auto where it is possible' },
  network: { kind: 'text', what: 'bridge where there can be one' },
  id_pool: { kind: 'text', what: '/etc/subuid, or 1879048192:201195520' },
  pull: { kind: 'word', words: ['missing', 'always', 'never', 'newer'], what: 'missing' },
  max_unpack_size: { kind: 'size', what: '100 times what is fetched, 10g to 1t' },
  log_driver: { kind: 'word', words: ['k8s-file', 'json-file', 'none'], what: 'k8s-file' },
  log_max_size: { kind: 'size', what: '10m' },
  log_max_files: { kind: 'integer', min: 1, max: 1000, what: '2' },
  ulimits: { kind: 'texts', what: 'nofile=1024:524288' },
  capabilities: { kind: 'texts', what: "docker's 14" },
  seccomp_profile: { kind: 'path', what: 'built in' },
  dns: { kind: 'texts', what: "the host's" },
  dns_search: { kind: 'texts', what: "the host's" },
  dns_options: { kind: 'texts', what: "the host's" },
  hosts: { kind: 'texts', what: 'none' },
  stop_timeout: { kind: 'integer', min: 0, max: 2_147_483, what: '10' },
  detach_keys: { kind: 'text', what: 'ctrl-p,ctrl-q' },
}

/** The environment variable of a key. */
export function settingVariable(key: string): string {
  return `TSCRUN_${key.toUpperCase()}`
}

/** Where a value was found: `name` for people, `at` puts a line number behind it where there is one. */
export interface SettingSource {
  readonly name: string
  at(key: string): string
}

/** A value of the file, of its key's type. Throws INVALID_CONFIG, also for an unknown key. */
export function checkSetting(key: string, value: unknown, source: SettingSource): Value {
  const known = Object.hasOwn(SETTING_KEYS, key) ? SETTING_KEYS[key] : undefined
  if (known === undefined) {
    const near = closest(key, Object.keys(SETTING_KEYS))
    throw bad(
      source,
      key,
      'unknown key',
      near === undefined ? 'docs/configuration.md lists them' : `did you mean ${near}?`,
    )
  }
  switch (known.kind) {
    case 'path':
      if (typeof value !== 'string' || !value.startsWith('/'))
        throw bad(source, key, 'not an absolute path', 'in quotes')
      return value
    case 'text':
      if (typeof value !== 'string') throw bad(source, key, 'not a text', 'in quotes')
      return value
    case 'texts':
      if (!isTexts(value)) throw bad(source, key, 'not a list of texts', `e.g. ${key} = ["..."]`)
      return value
    case 'word':
      if (typeof value !== 'string' || !known.words.includes(value))
        throw bad(source, key, `not one of ${known.words.join(', ')}`)
      return value
    case 'integer':
      if (typeof value !== 'number' || !Number.isInteger(value) || value < known.min || value > known.max)
        throw bad(source, key, `not a whole number from ${known.min} to ${known.max}`)
      return value
    case 'size': {
      const size = typeof value === 'number' ? value : typeof value === 'string' ? parseBytes(value) : undefined
      if (size === undefined || !Number.isSafeInteger(size) || size < 0)
        throw bad(source, key, 'not a size', 'a number of bytes, or e.g. "64m"')
      return size
    }
    default:
      return known satisfies never
  }
}

/** A variable's text as the file would have it: numbers are numbers, lists are separated by commas. */
export function settingFromText(key: string, text: string): unknown {
  const kind = SETTING_KEYS[key]?.kind
  if (kind === 'texts') return text === '' ? [] : text.split(',')
  return kind === 'integer' && /^[0-9]+$/.test(text) ? Number(text) : text
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function bad(source: SettingSource, key: string, reason: string, hint?: string): TscrunError {
  return new TscrunError('INVALID_CONFIG', `${source.at(key)}: ${key}: ${reason}`, {
    subject: key,
    ...(hint === undefined ? {} : { hint }),
  })
}

/** The settings of values that have been checked. Throws INVALID_CONFIG for what has an inner form of its own. */
export function toSettings(values: ReadonlyMap<string, readonly [Value, SettingSource]>): Settings {
  const get = (key: string): unknown => values.get(key)?.[0]
  const parsed = <T>(key: string, parse: (value: string) => T | undefined, hint: string): T | undefined => {
    const [value, source] = values.get(key) ?? []
    if (value === undefined || source === undefined) return undefined
    const result = parse(String(value))
    if (result === undefined) throw bad(source, key, `${JSON.stringify(value)} is not right`, hint)
    return result
  }
  const listed = <T>(key: string, parse: (value: string) => T | undefined, hint: string): readonly T[] | undefined => {
    const [value, source] = values.get(key) ?? []
    if (!isTexts(value) || source === undefined) return undefined
    return value.map((text) => {
      const result = parse(text)
      if (result === undefined) throw bad(source, key, `${JSON.stringify(text)} is not right`, hint)
      return result
    })
  }
  const log = defined({
    driver: get('log_driver'),
    maxSize: get('log_max_size'),
    maxFiles: get('log_max_files'),
  })
  const seconds = get('stop_timeout')
  return defined({
    root: get('root'),
    runRoot: get('runroot'),
    userns: get('userns'),
    network: parsed('network', (text) => (/^[\w.-]+$/.test(text) ? text : undefined), 'none, host, or a network'),
    idPool: parsed('id_pool', poolOf, 'FIRST:SIZE, at least 65536 ids, e.g. "1879048192:6553600"'),
    pull: get('pull'),
    maxUnpackSize: get('max_unpack_size'),
    ...(Object.keys(log).length === 0 ? {} : { log }),
    ulimits: listed('ulimits', ulimitOf, 'NAME=SOFT[:HARD], e.g. "nofile=1024:2048"'),
    capabilities: listed('capabilities', (text) => (/^[A-Za-z_]+$/.test(text) ? text : undefined), 'e.g. "CHOWN"'),
    seccompProfile: get('seccomp_profile'),
    dns: get('dns'),
    dnsSearch: get('dns_search'),
    dnsOptions: get('dns_options'),
    hosts: listed('hosts', (text) => (/^[^:\s]+:\S+$/.test(text) ? text : undefined), 'NAME:ADDRESS'),
    ...(typeof seconds === 'number' ? { stopTimeoutMs: seconds * 1000 } : {}),
    detachKeys: get('detach_keys'),
  })
}

/** Without what is not there; each value was checked to be of its key's type. */
function defined(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined))
}

function poolOf(text: string): { first: number; size: number } | undefined {
  const [, first, size] = /^([0-9]{1,10}):([0-9]{1,10})$/.exec(text) ?? []
  const pool = { first: Number(first), size: Number(size) }
  return pool.size >= RANGE_SIZE && pool.first > 0 && pool.first + pool.size <= 2 ** 32 - 1 ? pool : undefined
}

function ulimitOf(text: string): UlimitOption | undefined {
  const [, name, soft, hard = soft] = /^([a-z]+)=(-1|[0-9]+)(?::(-1|[0-9]+))?$/.exec(text) ?? []
  if (name === undefined || soft === undefined) return undefined
  const limit = { name, soft: Number(soft), hard: Number(hard) }
  return limit.hard !== -1 && (limit.soft === -1 || limit.soft > limit.hard) ? undefined : limit
}
