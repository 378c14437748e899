import { parseBytes } from '../../model/units.ts'
import { badFlag } from '../errors.ts'

/** A decimal whole number in a range, both ends included. Throws USAGE. */
export function parseInteger(
  flag: string,
  text: string,
  range: { readonly min: number; readonly max: number },
): number {
  const value = /^[+-]?[0-9]+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw badFlag(flag, text, 'not a whole number')
  if (value >= range.min && value <= range.max) return value
  const wanted = range.max === Number.MAX_SAFE_INTEGER ? `at least ${range.min}` : `${range.min} to ${range.max}`
  throw badFlag(flag, text, `out of range, must be ${wanted}`)
}

/** Bytes in docker's notation. Throws USAGE. */
export function parseSize(flag: string, text: string): number {
  const bytes = parseBytes(text)
  if (bytes === undefined) throw badFlag(flag, text, 'not a size', 'a number with b, k, m or g, e.g. 64m')
  return bytes
}

/** A positive decimal number such as `0.5`. Throws USAGE. */
export function parseDecimal(flag: string, text: string): number {
  const value = /^\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(value) || value > 1e6) throw badFlag(flag, text, 'not a number', 'e.g. 0.5')
  return value
}

/** A file mode written in octal, up to 07777. Undefined where it is none. */
export function parseOctal(text: string): number | undefined {
  return /^[0-7]{1,5}$/.test(text) && Number.parseInt(text, 8) <= 0o7777 ? Number.parseInt(text, 8) : undefined
}
