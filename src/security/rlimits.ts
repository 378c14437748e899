import { closest } from '../model/closest.ts'
import type { OciRlimit } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'

/** Resource limits by number (asm-generic/resource.h, the same on x86-64 and arm64), lower case as `--ulimit` takes them. */
export const RLIMITS: readonly string[] = [
  'cpu',
  'fsize',
  'data',
  'stack',
  'core',
  'rss',
  'nproc',
  'nofile',
  'memlock',
  'as',
  'locks',
  'sigpending',
  'msgqueue',
  'nice',
  'rtprio',
  'rttime',
]

const PREFIX = 'RLIMIT_'

/** The number of `nofile` or `RLIMIT_NOFILE`. Throws INVALID_CONFIG with a suggestion for any other name. */
export function rlimitNumber(name: string): number {
  const plain = (name.toUpperCase().startsWith(PREFIX) ? name.slice(PREFIX.length) : name).toLowerCase()
  const number = RLIMITS.indexOf(plain)
  if (number >= 0) return number
  const near = closest(plain, RLIMITS)
  throw new TscrunError('INVALID_CONFIG', `ulimit ${JSON.stringify(name)}: no such resource limit`, {
    subject: name,
    hint: near === undefined ? `one of ${RLIMITS.join(', ')}` : `did you mean ${near}`,
  })
}

/**
 * A limit in the runtime configuration's form (`RLIMIT_NOFILE`); -1 stays the mark of unlimited.
 * Throws INVALID_CONFIG for an unknown name, a value that is no whole number, or soft above hard.
 */
export function ociRlimit(name: string, soft: number, hard: number): OciRlimit {
  const type = `${PREFIX}${RLIMITS[rlimitNumber(name)]?.toUpperCase()}`
  const softValue = rlimitValue(name, soft)
  if (softValue > rlimitValue(name, hard)) {
    throw new TscrunError('INVALID_CONFIG', `ulimit ${name}: the soft limit ${soft} is above the hard limit ${hard}`, {
      subject: name,
    })
  }
  return { type, soft, hard }
}

/** The 64-bit value prlimit64 takes: -1 and anything from 2^64-1 up (how JSON shows it) are RLIM_INFINITY. */
export function rlimitValue(name: string, value: number): bigint {
  const infinity = 2n ** 64n - 1n
  if (value === -1) return infinity
  if (!Number.isInteger(value) || value < 0) {
    throw new TscrunError('INVALID_CONFIG', `ulimit ${name}: ${value} is no limit`, {
      subject: name,
      hint: 'a whole number, or -1 for unlimited',
    })
  }
  const exact = BigInt(value)
  return exact > infinity ? infinity : exact
}
