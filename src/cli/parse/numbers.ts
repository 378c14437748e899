import { parseBytes } from '../../model/units.ts'
import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'

export interface IntegerRange {
  readonly min: number
  readonly max: number
  /** The whole value of the flag, for the message, where the number is a part of it. */
  readonly within?: string
}

/** A decimal whole number in a range, both ends included. Throws USAGE. */
export function parseInteger(flag: string, text: string, range: IntegerRange): number {
  const { min, max, within = text } = range
  const value = /^[+-]?[0-9]+$/.test(text) ? Number(text) : Number.NaN
  const named = within === text ? '' : `${JSON.stringify(text)} is `
  if (!Number.isSafeInteger(value)) throw badFlag(flag, within, `${named}not a whole number`)
  if (value >= min && value <= max) return value
  const wanted = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `${min} to ${max}`
  throw badFlag(flag, within, `${named}out of range, must be ${wanted}`)
}

/** Bytes in docker's notation; `within` is the whole value, where the size is a part of it. Throws USAGE. */
export function parseSize(flag: string, text: string, within = text): number {
  const bytes = parseBytes(text)
  if (bytes !== undefined) return bytes
  const named = within === text ? '' : `${JSON.stringify(text)} is `
  throw badFlag(flag, within, `${named}not a size`, 'a number with b, k, m or g, e.g. 64m')
}

/** `--max-unpack-size` as an option of the verbs that take images in. Throws USAGE. */
export function parseUnpackLimit(flags: FlagValues): { readonly maxUnpackSize?: number } {
  const text = flags.text('max-unpack-size') ?? ''
  return text === '' ? {} : { maxUnpackSize: parseSize('max-unpack-size', text) }
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
