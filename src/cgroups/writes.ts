import { TscrunError } from '../model/errors.ts'

export type { CgroupWrite } from '../model/launch.ts'

/** `max`, as the files spell "no limit", for -1; else the number. */
export function limitText(value: number): string {
  return value === -1 ? 'max' : String(value)
}

/**
 * `value` if it is a whole number from `lowest` to `highest`, or -1 where `unlimited` is allowed.
 * Throws INVALID_CONFIG naming `what`.
 */
export function checkedNumber(
  what: string,
  value: number,
  { lowest = 0, highest = Number.MAX_SAFE_INTEGER, unlimited = false } = {},
): number {
  if (unlimited && value === -1) return value
  if (!Number.isSafeInteger(value) || value < lowest || value > highest) {
    const range = highest === Number.MAX_SAFE_INTEGER ? `${lowest} or more` : `${lowest} to ${highest}`
    throw invalidLimit(what, `${value} is not a whole number of ${range}${unlimited ? ', nor -1 for unlimited' : ''}`)
  }
  return value
}

export function invalidLimit(what: string, reason: string, hint?: string): TscrunError {
  const details = hint === undefined ? { subject: what } : { subject: what, hint }
  return new TscrunError('INVALID_CONFIG', `${what}: ${reason}`, details)
}

/** `8:16`. */
export function deviceText(device: { readonly major: number; readonly minor: number }): string {
  const limits = { highest: 2 ** 20 - 1 }
  return `${checkedNumber('block device', device.major, { highest: 2 ** 12 - 1 })}:${checkedNumber('block device', device.minor, limits)}`
}
