import { TscrunError } from '../model/errors.ts'

/** An object of a document that came from outside: look keys up with the readers below only. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Deepest nesting taken; no image document needs more than a dozen. */
const MAX_DEPTH = 64

/**
 * Parses a JSON document of untrusted origin. Size and nesting are checked before the parser sees it.
 * Throws LIMIT_EXCEEDED or INVALID_IMAGE, worded with `where`.
 */
export function parseJsonObject(bytes: Uint8Array, where: string, maxBytes: number): JsonObject {
  if (bytes.length > maxBytes) {
    throw new TscrunError('LIMIT_EXCEEDED', `${where}: ${bytes.length} bytes, more than the ${maxBytes} that are taken`)
  }
  checkDepth(bytes, where)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) throw invalid(where, 'not valid JSON')
    throw error
  }
  return asObject(value, where)
}

function checkDepth(bytes: Uint8Array, where: string): void {
  let depth = 0
  let inString = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (inString) {
      if (byte === 0x5c) i++
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > MAX_DEPTH)
        throw new TscrunError('LIMIT_EXCEEDED', `${where}: nested deeper than ${MAX_DEPTH} levels`)
    } else if (byte === 0x7d || byte === 0x5d) depth--
  }
}

export function invalid(where: string, reason: string): TscrunError {
  return new TscrunError('INVALID_IMAGE', `${where}: ${reason}`)
}

export function asObject(value: unknown, where: string): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  throw invalid(where, 'not an object')
}

/** The own property only: `__proto__` and `constructor` are keys like others. */
export function get(object: JsonObject, key: string): unknown {
  return Object.hasOwn(object, key) ? (object[key] ?? undefined) : undefined
}

export function optionalString(object: JsonObject, key: string, where: string): string | undefined {
  const value = get(object, key)
  if (value === undefined) return undefined
  if (typeof value !== 'string') throw invalid(where, `${key} is not a string`)
  if (value.includes('\0')) throw invalid(where, `${key} has a NUL byte`)
  return value
}

export function requiredString(object: JsonObject, key: string, where: string): string {
  const value = optionalString(object, key, where)
  if (value === undefined) throw invalid(where, `${key} is missing`)
  return value
}

export function requiredSize(object: JsonObject, key: string, where: string): number {
  const value = get(object, key)
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw invalid(where, `${key} is not a size in bytes`)
}

/** A whole number, not negative; `absent` where there is none. */
export function countOr(object: JsonObject, key: string, absent: number, where: string): number {
  const value = get(object, key)
  if (value === undefined) return absent
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw invalid(where, `${key} is not a whole number from 0 on`)
}

/** At most `max` members; absent is the empty list. */
export function list(object: JsonObject, key: string, where: string, max: number): readonly unknown[] {
  const value = get(object, key)
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalid(where, `${key} is not a list`)
  if (value.length > max) {
    throw new TscrunError('LIMIT_EXCEEDED', `${where}: ${value.length} ${key}, more than the ${max} that are taken`)
  }
  return value
}

export function stringList(object: JsonObject, key: string, where: string, max = 10_000): readonly string[] {
  return list(object, key, where, max).map((item) => {
    if (typeof item !== 'string' || item.includes('\0')) throw invalid(where, `${key} has a member that is not text`)
    return item
  })
}

/** String -> string; a Map, so that no key is special. */
export function stringMap(object: JsonObject, key: string, where: string): ReadonlyMap<string, string> {
  const value = get(object, key)
  const map = new Map<string, string>()
  if (value === undefined) return map
  for (const [name, text] of Object.entries(asObject(value, `${where} ${key}`))) {
    if (typeof text !== 'string') throw invalid(where, `${key} ${JSON.stringify(name.slice(0, 100))} is not a string`)
    map.set(name, text)
  }
  return map
}

/** The keys of an object used as a set (`Volumes`, `ExposedPorts`). */
export function keyList(object: JsonObject, key: string, where: string): readonly string[] {
  const value = get(object, key)
  return value === undefined ? [] : Object.keys(asObject(value, `${where} ${key}`))
}
