import { malformed } from './error.ts'

/** The types of one value and nothing inside them; `h`, a descriptor, is absent because none is ever agreed on. */
export type BasicCode = 'y' | 'b' | 'n' | 'q' | 'i' | 'u' | 'x' | 't' | 'd' | 's' | 'o' | 'g'

/** One complete type of a D-Bus signature (D-Bus Specification 0.43, Type System). */
export type DbusType =
  | { readonly kind: 'basic'; readonly code: BasicCode }
  | { readonly kind: 'variant' }
  | { readonly kind: 'array'; readonly element: DbusType }
  | { readonly kind: 'struct'; readonly fields: readonly DbusType[] }
  /** `{kv}`, which stands only inside an array. */
  | { readonly kind: 'entry'; readonly key: DbusType; readonly value: DbusType }

/** A variant: its type travels with it. */
export interface DbusVariant {
  readonly signature: string
  readonly value: DbusValue
}

/**
 * A value by its type: numbers for `y n q i u d`, bigint for `x t`, a Uint8Array for `ay`, arrays for other arrays,
 * structs and `[key, value]` entries.
 */
export type DbusValue = boolean | number | bigint | string | Uint8Array | DbusVariant | readonly DbusValue[]

const MAX_SIGNATURE = 255
const MAX_DEPTH = 32
const BASIC = 'ybnqiuxtdsog'

interface Cursor {
  readonly text: string
  at: number
}

/** Each complete type of `text`, in order. Throws SYSTEMD for what the specification does not allow. */
export function parseSignature(text: string): readonly DbusType[] {
  if (text.length > MAX_SIGNATURE) throw malformed(`a signature of ${text.length} characters`)
  const cursor: Cursor = { text, at: 0 }
  const types: DbusType[] = []
  while (cursor.at < text.length) types.push(parseType(cursor, 0, 0))
  return types
}

/** The one complete type that `text` is. */
export function parseSingleType(text: string): DbusType {
  const [type, second] = parseSignature(text)
  if (type === undefined || second !== undefined) throw malformed(`signature ${JSON.stringify(text)} is not one type`)
  return type
}

function parseType(cursor: Cursor, arrays: number, structs: number): DbusType {
  if (arrays > MAX_DEPTH || structs > MAX_DEPTH) throw bad(cursor, 'nests too deep')
  const code = cursor.text[cursor.at++] ?? ''
  if (code !== '' && BASIC.includes(code)) return { kind: 'basic', code: code as BasicCode }
  if (code === 'v') return { kind: 'variant' }
  if (code === 'a') {
    const element = cursor.text[cursor.at] === '{' ? parseEntry : parseType
    return { kind: 'array', element: element(cursor, arrays + 1, structs) }
  }
  if (code !== '(') throw bad(cursor, code === '' ? 'ends too early' : `has ${JSON.stringify(code)}`)
  const fields: DbusType[] = []
  while (cursor.text[cursor.at] !== ')') fields.push(parseType(cursor, arrays, structs + 1))
  cursor.at++
  if (fields.length === 0) throw bad(cursor, 'has an empty struct')
  return { kind: 'struct', fields }
}

function parseEntry(cursor: Cursor, arrays: number, structs: number): DbusType {
  cursor.at++
  const key = parseType(cursor, arrays, structs)
  if (key.kind !== 'basic') throw bad(cursor, 'has a key that is not basic')
  const value = parseType(cursor, arrays, structs)
  if (cursor.text[cursor.at++] !== '}') throw bad(cursor, 'has an entry that is not a pair')
  return { kind: 'entry', key, value }
}

function bad(cursor: Cursor, reason: string): Error {
  return malformed(`signature ${JSON.stringify(cursor.text)} ${reason}`)
}

/** Bytes that a value of this type begins at a multiple of. */
export function alignmentOf(type: DbusType): number {
  switch (type.kind) {
    case 'basic':
      return ALIGNMENT[type.code]
    case 'variant':
      return 1
    case 'array':
      return 4
    case 'struct':
    case 'entry':
      return 8
    default:
      return type satisfies never
  }
}

const ALIGNMENT: Readonly<Record<BasicCode, number>> = {
  y: 1,
  b: 4,
  n: 2,
  q: 2,
  i: 4,
  u: 4,
  x: 8,
  t: 8,
  d: 8,
  s: 4,
  o: 4,
  g: 1,
}

/** `/` or parts of letters, digits and `_`, each behind one slash. */
export function isObjectPath(text: string): boolean {
  return /^\/(?:[A-Za-z0-9_]+(?:\/[A-Za-z0-9_]+)*)?$/.test(text)
}
