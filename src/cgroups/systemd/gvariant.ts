import { TscrunError } from '../../model/errors.ts'
import { type DbusType, type DbusValue, type DbusVariant, isObjectPath, parseSignature } from './signature.ts'

/** The words that may stand before a value, and `@` with a signature, of GVariant's text format. */
const WORDS: Readonly<Record<string, string>> = {
  boolean: 'b',
  byte: 'y',
  int16: 'n',
  uint16: 'q',
  int32: 'i',
  uint32: 'u',
  int64: 'x',
  uint64: 't',
  double: 'd',
  string: 's',
  objectpath: 'o',
  signature: 'g',
}

/** Bounds of the whole numbers. */
const BOUNDS: Readonly<Record<string, readonly [bigint, bigint]>> = {
  y: [0n, 255n],
  n: [-32768n, 32767n],
  q: [0n, 65535n],
  i: [-(2n ** 31n), 2n ** 31n - 1n],
  u: [0n, 2n ** 32n - 1n],
  x: [-(2n ** 63n), 2n ** 63n - 1n],
  t: [0n, 2n ** 64n - 1n],
}

const MAX_DEPTH = 32

/** What the text says before its types are settled. */
type Node =
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'array' | 'tuple'; readonly items: readonly Node[] }
  | { readonly kind: 'variant'; readonly inner: Node }
  | { readonly kind: 'typed'; readonly signature: string; readonly inner: Node }

/**
 * A value in GVariant's text format: `true`, `42` (an int32), `uint64 7`, `'text'`, `['a', 'b']`, `('x', byte 1)`,
 * `<'a variant'>`, `@as []`. Dictionaries and byte strings are not read. Throws INVALID_CONFIG naming `what` of config.json.
 */
export function parseGVariant(text: string, what: string): DbusVariant {
  const source: Source = { text, at: 0, what }
  const node = parseNode(source, 0)
  skipSpace(source)
  if (source.at !== text.length) throw wrong(source, `${JSON.stringify(text.slice(source.at))} behind the value`)
  const signature = signatureOf(source, node)
  return { signature, value: valueOf(source, typeOf(source, signature), node) }
}

interface Source {
  readonly text: string
  readonly what: string
  at: number
}

function wrong({ text, what }: Source, reason: string): TscrunError {
  return new TscrunError('INVALID_CONFIG', `config.json: ${what}: ${JSON.stringify(text)}: ${reason}`, {
    subject: what,
    hint: "GVariant's text format: 'text', true, uint64 5, ['a', 'b']",
  })
}

// ---- reading -----------------------------------------------------------------------------------------------------

function skipSpace(source: Source): void {
  while (/\s/.test(source.text[source.at] ?? '')) source.at++
}

/** What `pattern` (sticky) finds here. */
function next(source: Source, pattern: RegExp): string | undefined {
  pattern.lastIndex = source.at
  const [found] = pattern.exec(source.text) ?? []
  if (found !== undefined) source.at += found.length
  return found
}

function parseNode(source: Source, depth: number): Node {
  if (depth > MAX_DEPTH) throw wrong(source, 'nests too deep')
  skipSpace(source)
  const char = source.text[source.at]
  if (char === '[') return { kind: 'array', items: parseItems(source, ']', depth) }
  if (char === '(') return { kind: 'tuple', items: parseItems(source, ')', depth) }
  if (char === "'" || char === '"') return { kind: 'string', value: parseString(source, char) }
  if (char === '<') {
    source.at++
    const inner = parseNode(source, depth + 1)
    skipSpace(source)
    if (next(source, />/y) === undefined) throw wrong(source, 'a variant without its >')
    return { kind: 'variant', inner }
  }
  if (char === '@') {
    const signature = next(source, /@[A-Za-z(){}]+/y)?.slice(1) ?? ''
    return { kind: 'typed', signature, inner: parseNode(source, depth + 1) }
  }
  const number = next(source, /[+-]?(?:[0-9][0-9A-Za-z.]*(?:(?<=[eE])[+-][0-9]+)?|inf|nan)(?![A-Za-z])/y)
  if (number !== undefined) return { kind: 'number', text: number }
  const word = next(source, /[a-z][a-z0-9]*/y)
  if (word === 'true' || word === 'false') return { kind: 'boolean', value: word === 'true' }
  const signature = word === undefined || !Object.hasOwn(WORDS, word) ? undefined : WORDS[word]
  if (signature === undefined) throw wrong(source, `${JSON.stringify(word ?? char ?? '')} begins no value`)
  return { kind: 'typed', signature, inner: parseNode(source, depth + 1) }
}

/** `(1,)` is a tuple of one. */
function parseItems(source: Source, end: string, depth: number): Node[] {
  source.at++
  const items: Node[] = []
  for (;;) {
    skipSpace(source)
    if (source.text[source.at] === end) break
    items.push(parseNode(source, depth + 1))
    skipSpace(source)
    if (source.text[source.at] === end) break
    if (next(source, /,/y) === undefined) throw wrong(source, `a list without its ${end}`)
  }
  source.at++
  return items
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\n': '',
}

function parseString(source: Source, quote: string): string {
  source.at++
  let value = ''
  for (;;) {
    const char = source.text[source.at++]
    if (char === undefined) throw wrong(source, 'a string without its end')
    if (char === quote) return value
    value += char === '\\' ? parseEscape(source) : char
  }
}

function parseEscape(source: Source): string {
  const code = next(source, /u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}/y)
  if (code !== undefined) {
    const point = Number.parseInt(code.slice(1), 16)
    if (point === 0 || point > 0x10ffff) throw wrong(source, `\\${code} is no character`)
    return String.fromCodePoint(point)
  }
  const char = source.text[source.at++]
  if (char === undefined) throw wrong(source, 'a string without its end')
  return ESCAPES[char] ?? char
}

// ---- types -------------------------------------------------------------------------------------------------------

function typeOf(source: Source, signature: string): DbusType {
  try {
    const [type, second] = parseSignature(signature)
    if (type !== undefined && second === undefined) return type
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    throw wrong(source, error.message)
  }
  throw wrong(source, `${JSON.stringify(signature)} is not one type`)
}

/** The type a value has by itself; in a list the first that says its type speaks for all. */
function signatureOf(source: Source, node: Node): string {
  switch (node.kind) {
    case 'boolean':
      return 'b'
    case 'string':
      return 's'
    case 'number':
      return isWhole(node.text) ? 'i' : 'd'
    case 'variant':
      return 'v'
    case 'typed':
      return node.signature
    case 'tuple':
      return `(${node.items.map((item) => signatureOf(source, item)).join('')})`
    case 'array': {
      const telling = node.items.find(({ kind }) => kind !== 'number') ?? node.items[0]
      if (telling === undefined) throw wrong(source, 'an empty list needs its type, such as @as []')
      return `a${signatureOf(source, telling)}`
    }
    default:
      return node satisfies never
  }
}

function valueOf(source: Source, type: DbusType, node: Node): DbusValue {
  if (node.kind === 'typed') {
    if (!sameType(type, typeOf(source, node.signature))) throw wrong(source, 'types that differ')
    return valueOf(source, type, node.inner)
  }
  if (type.kind === 'basic') return basicOf(source, type.code, node)
  if (type.kind === 'variant' && node.kind === 'variant') {
    const signature = signatureOf(source, node.inner)
    return { signature, value: valueOf(source, typeOf(source, signature), node.inner) }
  }
  if (type.kind === 'array' && node.kind === 'array') {
    return node.items.map((item) => valueOf(source, type.element, item))
  }
  if (type.kind === 'struct' && node.kind === 'tuple' && type.fields.length === node.items.length) {
    return type.fields.map((field, index) => valueOf(source, field, node.items[index] as Node))
  }
  throw wrong(source, 'types that differ')
}

function basicOf(source: Source, code: string, node: Node): DbusValue {
  if (node.kind === 'boolean' && code === 'b') return node.value
  if (node.kind === 'string' && (code === 's' || code === 'o' || code === 'g')) {
    if (code === 'o' && !isObjectPath(node.value)) throw wrong(source, `${node.value} is no object path`)
    if (code === 'g') typesOf(source, node.value)
    return node.value
  }
  if (node.kind !== 'number') throw wrong(source, 'types that differ')
  if (code === 'd') return floating(source, node.text)
  const bounds = BOUNDS[code]
  const value = wholeOf(node.text)
  if (!bounds || value === undefined) throw wrong(source, `${node.text} is no value of type ${code}`)
  if (value < bounds[0] || value > bounds[1]) throw wrong(source, `${node.text} is out of range for type ${code}`)
  return code === 'x' || code === 't' ? value : Number(value)
}

function typesOf(source: Source, signature: string): void {
  if (signature !== '') typeOf(source, `(${signature})`)
}

function floating(source: Source, text: string): number {
  const value = Number(text.replace('inf', 'Infinity').replace('nan', 'NaN'))
  if (Number.isNaN(value) && !text.endsWith('nan')) throw wrong(source, `${text} is no number`)
  return value
}

function isWhole(text: string): boolean {
  return !/^[+-]?(?:inf|nan)|^[+-]?[0-9.]*(?:\.|[eE])/.test(text)
}

/** As strtoll(3) with base 0: a leading 0 is octal, 0x hexadecimal. */
function wholeOf(text: string): bigint | undefined {
  const [, sign = '', digits = ''] = /^([+-]?)(0[xX][0-9A-Fa-f]+|0[0-7]*|[1-9][0-9]*)$/.exec(text) ?? []
  if (digits === '') return undefined
  const octal = /^0[0-7]+$/.test(digits)
  const value = BigInt(octal ? `0o${digits.slice(1)}` : digits)
  return sign === '-' ? -value : value
}

function sameType(one: DbusType, other: DbusType): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
