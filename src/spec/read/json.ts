import { invalid, type Place, shown } from './place.ts'

/**
 * A value of a JSON text (RFC 8259). Objects are maps, so that no key is special; whole numbers beyond 2^53-1, which a
 * JavaScript number would round, are bigints.
 */
export type Json = null | boolean | number | bigint | string | readonly Json[] | JsonObject

export type JsonObject = ReadonlyMap<string, Json>

/**
 * Characters. A program's arguments and environment may have 6 MiB (execve(2)), and there are two thousand system calls
 * to name: far more than that is no configuration, and reading it would only fill the memory.
 */
const MAX_LENGTH = 16 * 2 ** 20
/** The deepest value that means something, an argument of a seccomp rule, lies 7 deep; what is ignored may lie deeper. */
const MAX_DEPTH = 64
const MAX_VALUES = 1_000_000
/** 2^64 has 20 digits. */
const MAX_DIGITS = 40

interface Reader {
  readonly text: string
  readonly document: Place
  /** Index of the next character. */
  at: number
  /** Values read so far. */
  values: number
}

/**
 * The value that `text` writes. Throws INVALID_CONFIG with line and column (both from 1) for what is no JSON, for a key
 * that an object has twice (readers disagree about which one counts), and beyond the limits above.
 */
export function parseJson(text: string, document: Place): Json {
  if (text.length > MAX_LENGTH) {
    throw invalid(document, `${text.length} characters, more than the ${MAX_LENGTH} that are read`)
  }
  const reader: Reader = { text, document, at: 0, values: 0 }
  skipSpace(reader)
  const value = readValue(reader, 0)
  if (reader.at < text.length) throw syntax(reader, 'something follows after the end')
  return value
}

/** Reads one value and the space behind it. */
function readValue(reader: Reader, depth: number): Json {
  if (depth > MAX_DEPTH) throw wrong(reader, `nested deeper than ${MAX_DEPTH} levels`)
  reader.values += 1
  if (reader.values > MAX_VALUES) throw wrong(reader, `more than ${MAX_VALUES} values`)
  let value: Json
  switch (reader.text[reader.at]) {
    case '{':
      value = readObject(reader, depth)
      break
    case '[':
      value = readList(reader, depth)
      break
    case '"':
      value = readText(reader)
      break
    default:
      value = readWord(reader)
  }
  skipSpace(reader)
  return value
}

function readObject(reader: Reader, depth: number): JsonObject {
  const object = new Map<string, Json>()
  next(reader)
  if (taken(reader, '}')) return object
  for (;;) {
    const start = reader.at
    if (reader.text[start] !== '"') throw syntax(reader, 'a name in double quotes is expected')
    const key = readText(reader)
    if (object.has(key)) throw wrong({ ...reader, at: start }, `the name ${shown(key)} is there twice`)
    skipSpace(reader)
    if (reader.text[reader.at] !== ':') throw syntax(reader, 'a colon is expected')
    next(reader)
    object.set(key, readValue(reader, depth + 1))
    if (taken(reader, '}')) return object
    if (reader.text[reader.at] !== ',') throw syntax(reader, 'a comma or the end of the object is expected')
    next(reader)
  }
}

function readList(reader: Reader, depth: number): Json[] {
  const list: Json[] = []
  next(reader)
  if (taken(reader, ']')) return list
  for (;;) {
    list.push(readValue(reader, depth + 1))
    if (taken(reader, ']')) return list
    if (reader.text[reader.at] !== ',') throw syntax(reader, 'a comma or the end of the list is expected')
    next(reader)
  }
}

/** Takes the closing bracket, and leaves the space behind it to the caller. */
function taken(reader: Reader, bracket: string): boolean {
  if (reader.text[reader.at] !== bracket) return false
  reader.at += 1
  return true
}

function readText(reader: Reader): string {
  const start = reader.at + 1
  let end = reader.text.indexOf('"', start)
  while (end >= 0 && isEscaped(reader.text, end)) end = reader.text.indexOf('"', end + 1)
  if (end < 0) throw syntax(reader, 'this text has no end')
  const raw = reader.text.slice(start, end)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (!/[\\\u0000-\u001f]/.test(raw)) {
    reader.at = end + 1
    return raw
  }
  try {
    const value = JSON.parse(`"${raw}"`) as string
    reader.at = end + 1
    return value
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw syntax(reader, 'this text holds a line break, another control character, or an unknown escape')
  }
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0
  while (text[at - 1 - backslashes] === '\\') backslashes += 1
  return backslashes % 2 === 1
}

const WORD = /[^ \t\n\r,:"[\]{}]*/y
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/

function readWord(reader: Reader): null | boolean | number | bigint {
  WORD.lastIndex = reader.at
  const word = WORD.exec(reader.text)?.[0] ?? ''
  const value = wordValue(reader, word)
  reader.at += word.length
  return value
}

function wordValue(reader: Reader, word: string): null | boolean | number | bigint {
  switch (word) {
    case 'null':
      return null
    case 'true':
      return true
    case 'false':
      return false
    case '':
      throw syntax(reader, reader.at < reader.text.length ? 'a value is expected' : 'it ends too early')
    default:
  }
  if (!NUMBER.test(word)) throw syntax(reader, `${shown(word)} is no value`)
  if (word.length > MAX_DIGITS) throw wrong(reader, `a number of ${word.length} characters`)
  const number = Number(word)
  if (Number.isSafeInteger(number)) return number === 0 ? 0 : number
  if (/^-?[0-9]+$/.test(word)) return BigInt(word)
  return Number.isInteger(number) ? BigInt(number) : number
}

/** Passes one character and the space behind it. */
function next(reader: Reader): void {
  reader.at += 1
  skipSpace(reader)
}

function skipSpace(reader: Reader): void {
  const { text } = reader
  let { at } = reader
  for (;;) {
    const code = text.charCodeAt(at)
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) break
    at += 1
  }
  reader.at = at
}

function syntax(reader: Reader, reason: string): Error {
  return wrong(reader, reason, 'not JSON, ')
}

function wrong({ text, document, at }: Reader, reason: string, what = ''): Error {
  const before = text.slice(0, at)
  const line = before.split('\n').length
  const column = at - before.lastIndexOf('\n')
  return invalid(document, `${what}line ${line}, column ${column}: ${reason}`)
}
