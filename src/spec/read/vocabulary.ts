import { TscrunError } from '../../model/errors.ts'
import type { Json, JsonObject } from './json.ts'
import { invalid, type Place, shown, suggestion, under } from './place.ts'

/**
 * The words the readers of config.json are written in. A reader takes a JSON value and its place, and answers the value
 * it stands for; or it throws INVALID_CONFIG with the place's path and what is wrong there.
 */
export type Read<T> = (value: Json, at: Place) => T

/** A member of an object that must be there; `otherwise` stands in where it is not. */
interface RequiredField<T> {
  readonly required: true
  readonly read: Read<T>
  readonly otherwise?: T
}

/** A member that may be absent, or `null`, as Go writes it; or whose reader answers undefined. */
interface OptionalField<T> {
  readonly required: false
  readonly read: Read<T | undefined>
}

/** One field for every member of `T`: a member that is forgotten does not compile. */
export type Fields<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? OptionalField<Exclude<T[K], undefined>> : RequiredField<T[K]>
}

/** Members that `T` has no place for: what a reader says to them. Unknown ones are ignored (config.md, Extensibility). */
type Others = Readonly<Record<string, Read<void>>>

/** A member without which the object means nothing. */
export function required<T>(read: Read<T>): RequiredField<T> {
  return { required: true, read }
}

/** A member that has `value` where it is absent. */
export function otherwise<T>(read: Read<T>, value: T): RequiredField<T> {
  return { required: true, read, otherwise: value }
}

/** A member that may be absent, and then is absent from what is read. */
export function optional<T>(read: Read<T | undefined>): OptionalField<T> {
  return { required: false, read }
}

/** An object with the members of `T`. Members nobody knows are ignored, as the specification has it. */
export function object<T>(fields: Fields<T>, others: Others = {}): Read<T> {
  const known = Object.entries<RequiredField<unknown> | OptionalField<unknown>>(fields)
  return (value, at) => {
    const members = asObject(value, at)
    const result: Record<string, unknown> = {}
    for (const [key, field] of known) {
      const member = members.get(key) ?? undefined
      if (member !== undefined) {
        const read = field.read(member, under(at, key))
        if (read !== undefined) result[key] = read
      } else if (field.required) {
        if (field.otherwise === undefined) throw invalid(under(at, key), 'missing')
        result[key] = field.otherwise
      }
    }
    for (const key of Object.keys(others)) {
      const member = members.get(key) ?? undefined
      if (member !== undefined) others[key]?.(member, under(at, key))
    }
    return result as T
  }
}

/** An object of any names. */
export function dictionary<T>(read: Read<T>, checkName?: (name: string, at: Place) => void): Read<Record<string, T>> {
  return (value, at) => {
    const entries = [...asObject(value, at)].map(([name, member]): [string, T] => {
      const place = under(at, name)
      if (name === '') throw invalid(at, 'an empty name')
      checkName?.(name, place)
      return [name, read(member, place)]
    })
    // Defines the members one by one, so that "__proto__" is a name as any other.
    return Object.fromEntries(entries)
  }
}

/** More than any kernel interface takes of anything (mounts: fs.mount-max; groups: 65,536). */
const MAX_ITEMS = 100_000

/** A list; the place of an item is its index, from 0. */
export function list<T>(read: Read<T>): Read<T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw mismatch('a list', value, at)
    if (value.length > MAX_ITEMS) throw invalid(at, `${value.length} items, more than the ${MAX_ITEMS} that are read`)
    return value.map((item: Json, index) => read(item, under(at, index)))
  }
}

/** `true` or `false`. */
export const boolean: Read<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw mismatch('true or false', value, at)
  return value
}

/** Text that can be handed to the kernel: no NUL, which would end it there, and nothing that UTF-8 cannot write. */
export const text: Read<string> = (value, at) => {
  const any = anyText(value, at)
  if (any.includes('\0')) throw invalid(at, 'a NUL character in the text')
  if (/\p{Surrogate}/u.test(any)) throw invalid(at, 'half of a surrogate pair in the text')
  return any
}

/** Text for people and tools, never for the kernel. */
export const anyText: Read<string> = (value, at) => {
  if (typeof value !== 'string') throw mismatch('a text', value, at)
  return value
}

/** Text that is not empty. */
export const filledText: Read<string> = (value, at) => {
  const filled = text(value, at)
  if (filled === '') throw invalid(at, 'empty')
  return filled
}

/** Text that begins with a slash; nothing else about the path is judged. */
export const absolutePath: Read<string> = (value, at) => {
  const path = filledText(value, at)
  if (!path.startsWith('/')) throw invalid(at, `${shown(path)} is not an absolute path`)
  return path
}

/** An empty text means nothing was set: Go's tools write it so. */
export function unlessEmpty<T>(read: Read<T>): Read<T | undefined> {
  return (value, at) => (value === '' ? undefined : read(value, at))
}

/** One of `names`; `what` as in `unknown capability`. */
export function oneOf<Name extends string>(names: readonly Name[], what: string): Read<Name> {
  const known = new Set<string>(names)
  return (value, at) => {
    const name = anyText(value, at)
    if (!known.has(name)) throw invalid(at, `unknown ${what} ${shown(name)}`, suggestion(name, names))
    return name as Name
  }
}

/** Both included. */
export interface Bounds {
  readonly lowest?: number
  readonly highest?: number
}

/** A whole number, by default from 0 to 2^53-1. */
export function integer({ lowest = 0, highest = Number.MAX_SAFE_INTEGER }: Bounds = {}): Read<number> {
  return (value, at) => {
    const exact = wide(value, at)
    if (exact < lowest || exact > highest) {
      throw invalid(at, `${exact} is not a whole number from ${lowest} to ${highest}`)
    }
    return Number(exact)
  }
}

/** A whole number of any size, exactly: a bigint beyond 2^53-1. */
export const wide: Read<number | bigint> = (value, at) => {
  if (typeof value === 'bigint') return value
  if (typeof value !== 'number') throw mismatch('a whole number', value, at)
  if (!Number.isInteger(value)) throw invalid(at, `${value} is not a whole number`)
  return value
}

const INT64_MAX = 2n ** 63n - 1n
const UINT64_MAX = 2n ** 64n - 1n

/** 0 to 2^64-1, exactly. */
export const unsigned64: Read<number | bigint> = (value, at) => {
  const exact = wide(value, at)
  if (exact < 0 || exact > UINT64_MAX) throw invalid(at, `${exact} is not a whole number from 0 to 2^64-1`)
  return exact
}

/** -2^63 to 2^63-1, exactly. */
export const signed64: Read<number | bigint> = (value, at) => {
  const exact = wide(value, at)
  if (exact < -INT64_MAX - 1n || exact > INT64_MAX) throw invalid(at, `${exact} is not a number of 64 bits`)
  return exact
}

/** What `read` reads, turned into something else. */
export function mapped<From, To>(read: Read<From>, change: (value: From, at: Place) => To): Read<To> {
  return (value, at) => change(read(value, at), at)
}

/** What `read` reads, if `check` does not throw. */
export function checked<T>(read: Read<T>, check: (value: T, at: Place) => void): Read<T> {
  return mapped(read, (value, at) => {
    check(value, at)
    return value
  })
}

/** Throws INVALID_CONFIG at the second of two items for which `key` is the same. */
export function unique<T>(key: (item: T) => string, what: string): (items: readonly T[], at: Place) => void {
  return (items, at) => {
    const seen = new Set<string>()
    for (const [index, item] of items.entries()) {
      const name = key(item)
      if (seen.has(name)) throw invalid(under(at, index), `${what} ${shown(name)} is there twice`)
      seen.add(name)
    }
  }
}

/** Asks a check of a deeper layer, and gives its INVALID_CONFIG the place; `prefix` is what its message begins with. */
export function asked(at: Place, check: () => unknown, prefix = ''): void {
  try {
    check()
  } catch (error) {
    if (!(error instanceof TscrunError) || error.code !== 'INVALID_CONFIG') throw error
    const reason = error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message
    throw invalid(at, reason, error.hint)
  }
}

function asObject(value: Json, at: Place): JsonObject {
  if (!(value instanceof Map)) throw mismatch('an object', value, at)
  return value
}

function mismatch(wanted: string, value: Json, at: Place): TscrunError {
  return invalid(at, `${wanted} is expected, not ${kind(value)}`)
}

/** Never the text itself: it may be a secret of the environment. */
function kind(value: Json): string {
  if (typeof value === 'string') return 'a text'
  if (typeof value === 'number' || typeof value === 'bigint') return `the number ${value}`
  if (value instanceof Map) return 'an object'
  return Array.isArray(value) ? 'a list' : JSON.stringify(value)
}
