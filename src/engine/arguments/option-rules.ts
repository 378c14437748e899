import { TscrunError } from '../../model/errors.ts'

/** Throws USAGE where the value is not what it must be; `name` says where it stands: `option ports[0].hostPort`. */
export type Rule = (value: unknown, name: string) => void
/** One for each option there is, so that the compiler misses those that are forgotten. */
export type Rules<T> = { readonly [K in keyof T]-?: Rule }
export type Keyed = Readonly<Record<string, unknown>>

const OPTION = 'option '

function refused(name: string, why: string, hint?: string): TscrunError {
  const subject = withoutKind(name)
  return new TscrunError('USAGE', `${name}: ${why}`, hint === undefined ? { subject } : { subject, hint })
}

function withoutKind(name: string): string {
  return name.startsWith(OPTION) ? name.slice(OPTION.length) : name
}

function wrong(name: string, value: unknown, wanted: string): never {
  throw refused(name, `${shown(value)} is not ${wanted}`)
}

export function shown(value: unknown): string {
  if (typeof value === 'string')
    return value.length > 60 ? `${JSON.stringify(value.slice(0, 60))}...` : JSON.stringify(value)
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}

export const isObject = (value: unknown): value is Keyed =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Of a value that may be left out. */
export const optional =
  (fits: (value: unknown) => boolean, wanted: string): Rule =>
  (value, name) => {
    if (value !== undefined && !fits(value)) wrong(name, value, wanted)
  }
export const needed =
  (rule: Rule): Rule =>
  (value, name) => {
    if (value === undefined) throw refused(name, 'it is missing')
    rule(value, name)
  }
export const anything: Rule = () => undefined
export const flag = optional((value) => typeof value === 'boolean', 'true or false')
export const number = optional((value) => typeof value === 'number' && !Number.isNaN(value), 'a number')
export const time = optional(
  (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
  'a number of milliseconds of 0 or more',
)
export const callback = optional((value) => typeof value === 'function', 'a function')
export const text: Rule = (value, name) => {
  if (value === undefined) return
  if (typeof value !== 'string') wrong(name, value, 'a string')
  if (value.includes('\0')) throw refused(name, 'it has a NUL byte')
}
export const oneOf = (...values: readonly (string | false)[]): Rule =>
  optional((value) => values.some((known) => known === value), values.join(', ').replace(/, ([^,]+)$/, ' or $1'))
export const listOf =
  (rule: Rule): Rule =>
  (value, name) => {
    if (value === undefined) return
    if (!Array.isArray(value)) wrong(name, value, 'a list')
    value.forEach((entry: unknown, at) => needed(rule)(entry, `${name}[${at}]`))
  }
export const words = listOf(text)
export const texts: Rule = (value, name) => {
  if (value === undefined) return
  if (!isObject(value)) wrong(name, value, 'an object of strings')
  for (const [key, entry] of Object.entries(value)) needed(text)(entry, `${name}.${key}`)
}
export const shape =
  <T>(rules: Rules<T>): Rule =>
  (value, name) => {
    if (value === undefined) return
    if (!isObject(value)) wrong(name, value, 'an object')
    checkKeys(rules, value, `${name}.`)
  }
/** With just one of its keys. */
export const oneKeyOf =
  <T>(rules: Rules<T>): Rule =>
  (value, name) => {
    shape(rules)(value, name)
    const given = isObject(value) ? Object.values(value).filter((entry) => entry !== undefined) : []
    if (value !== undefined && given.length !== 1)
      wrong(name, value, `one with just one of ${Object.keys(rules).join(', ')}`)
  }
/** The first for strings and what is no object, the other for objects. */
export const either =
  (plain: Rule, object: Rule): Rule =>
  (value, name) =>
    (isObject(value) ? object : plain)(value, name)

/** Options of a call as a whole: what is said of them names the option. */
export const options =
  <T>(rules: Rules<T>): Rule =>
  (value, name) => {
    if (value === undefined) return
    if (!isObject(value)) wrong(name, value, 'an object')
    checkKeys(rules, value, OPTION)
  }

function checkKeys<T>(rules: Rules<T>, value: Keyed, prefix: string): void {
  const known = rules as Readonly<Record<string, Rule>>
  for (const key of Object.keys(value)) {
    if (Object.hasOwn(known, key) || value[key] === undefined) continue
    const like = Object.keys(known).find((other) => other.toLowerCase().startsWith(key.toLowerCase()))
    const hint = like === undefined ? undefined : `did you mean ${withoutKind(prefix)}${like}?`
    throw refused(prefix + key, 'there is none of this name', hint)
  }
  for (const [key, rule] of Object.entries(known)) rule(value[key], prefix + key)
}

// A signal may be of another realm, or of a library: what counts is what it can do.
export const signal = optional(
  (value) => isObject(value) && typeof value['aborted'] === 'boolean' && typeof value['throwIfAborted'] === 'function',
  'an AbortSignal',
)

/** What a verb is called with, one after the other: the words for it, and what it must be. */
export type Arguments = readonly (readonly [string, Rule])[]

export function checkArguments(wanted: Arguments, given: readonly unknown[]): void {
  for (const [at, [name, rule]] of wanted.entries()) rule(given[at], name)
}

type Verb = (...given: never[]) => Promise<unknown>

/** The same verbs, which reject with USAGE what they are called with before they look at it. */
export function checked<T extends { readonly [K in keyof T]: Verb }>(
  verbs: T,
  of: { readonly [K in keyof T]: Arguments },
): T {
  const entries = Object.entries<Verb>(verbs).map(([name, verb]) => [
    name,
    async (...given: never[]): Promise<unknown> => {
      checkArguments(of[name as keyof T], given)
      return verb(...given)
    },
  ])
  return Object.fromEntries(entries) as T
}
