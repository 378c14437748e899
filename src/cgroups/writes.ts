import { TscrunError } from '../model/errors.ts'

/** One write(2) into a file of a container's cgroup (cgroup v2), made before the container starts. */
export interface CgroupWrite {
  /** The controller the file belongs to, e.g. `memory`; `cgroup` for the files every cgroup has. */
  readonly controller: string
  /** File name in the cgroup's directory, e.g. `memory.max`. */
  readonly file: string
  readonly value: string
  /** Written instead where `file` does not exist. */
  readonly orElse?: { readonly file: string; readonly value: string }
  /** Why a kernel without the file (ENOENT) is no failure. */
  readonly optional?: string
}

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
