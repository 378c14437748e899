import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../model/errors.ts'

/** Use and limit of one resource, in bytes; `limit` 2^64-1 where there is none, as callers of runc know it. */
export interface UsageStats {
  readonly limit: number | bigint
  readonly usage: number
  readonly max?: number
  readonly failcnt: number
}

export interface BlkioEntry {
  readonly major: number
  readonly minor: number
  readonly op: string
  readonly value: number
}

/** What cgroup v2 tells of a container, in the shape of runc's `events` (types.go, Stats). Times in nanoseconds. */
export interface CgroupStats {
  readonly cpu: {
    readonly usage: { readonly total: number; readonly kernel: number; readonly user: number }
    readonly throttling: {
      readonly periods?: number
      readonly throttledPeriods?: number
      readonly throttledTime?: number
    }
  }
  readonly memory: {
    readonly cache?: number
    readonly usage: UsageStats
    readonly swap: UsageStats
    readonly kernel: UsageStats
    readonly kernelTCP: UsageStats
    readonly raw?: Readonly<Record<string, number>>
  }
  readonly pids: { readonly current?: number; readonly limit?: number }
  readonly blkio: {
    readonly ioServiceBytesRecursive?: readonly BlkioEntry[]
    readonly ioServicedRecursive?: readonly BlkioEntry[]
  }
  readonly hugetlb: Readonly<Record<string, UsageStats>>
}

const UNLIMITED = 2n ** 64n - 1n
const NANOSECONDS = 1000

/** Reads the statistics of a cgroup (cgroup-v2.rst). What a controller that is not there would tell is 0 or absent. */
export function readStats(directory: string): CgroupStats {
  const read = (file: string): string => readFile(join(directory, file))
  const cpu = keyed(read('cpu.stat'))
  const time = (name: string): number => (cpu[name] ?? 0) * NANOSECONDS
  const pids = { current: read('pids.current'), limit: read('pids.max') }
  return {
    cpu: {
      usage: { total: time('usage_usec'), kernel: time('system_usec'), user: time('user_usec') },
      throttling:
        cpu['nr_periods'] === undefined
          ? {}
          : {
              periods: cpu['nr_periods'],
              throttledPeriods: cpu['nr_throttled'] ?? 0,
              throttledTime: time('throttled_usec'),
            },
    },
    memory: memoryStats(read),
    pids: pids.current === '' ? {} : { current: Number(pids.current), limit: Number(limitOf(pids.limit, 0n)) },
    blkio: ioStats(read('io.stat')),
    hugetlb: hugetlbStats(directory, read),
  }
}

function memoryStats(read: (file: string) => string): CgroupStats['memory'] {
  const raw = keyed(read('memory.stat'))
  const events = keyed(read('memory.events'))
  const none: UsageStats = { limit: 0, usage: 0, failcnt: 0 }
  const usage = usageOf(read('memory.current'), read('memory.max'), read('memory.peak'), events['max'] ?? 0)
  return {
    ...(raw['file'] === undefined ? {} : { cache: raw['file'] }),
    usage,
    // Both together, as the limits of config.json count them.
    swap: addUsage(usage, usageOf(read('memory.swap.current'), read('memory.swap.max'), read('memory.swap.peak'), 0)),
    kernel: none,
    kernelTCP: none,
    ...(Object.keys(raw).length === 0 ? {} : { raw }),
  }
}

function usageOf(current: string, limit: string, peak: string, failcnt: number): UsageStats {
  return {
    limit: limitOf(limit, UNLIMITED),
    usage: Number(current),
    ...(peak === '' ? {} : { max: Number(peak) }),
    failcnt,
  }
}

function addUsage(memory: UsageStats, swap: UsageStats): UsageStats {
  const open = memory.limit === UNLIMITED || swap.limit === UNLIMITED
  return {
    limit: open ? UNLIMITED : Number(memory.limit) + Number(swap.limit),
    usage: memory.usage + swap.usage,
    failcnt: 0,
  }
}

function limitOf(text: string, unlimited: bigint): number | bigint {
  if (text === 'max') return unlimited
  return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text)
}

/** `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`. */
function ioStats(text: string): CgroupStats['blkio'] {
  const entries = (names: Readonly<Record<string, string>>): BlkioEntry[] =>
    lines(text).flatMap((line) => {
      const [device = '', ...words] = line.split(' ')
      const [major = 0, minor = 0] = device.split(':').map(Number)
      return words.flatMap((word) => {
        const [key = '', value] = word.split('=')
        const op = names[key]
        return op === undefined ? [] : [{ major, minor, op, value: Number(value) }]
      })
    })
  if (text === '') return {}
  return {
    ioServiceBytesRecursive: entries({ rbytes: 'Read', wbytes: 'Write', dbytes: 'Discard' }),
    ioServicedRecursive: entries({ rios: 'Read', wios: 'Write', dios: 'Discard' }),
  }
}

/** By page size, such as `2MB`. */
function hugetlbStats(directory: string, read: (file: string) => string): Record<string, UsageStats> {
  const sizes = names(directory).flatMap((name) => /^hugetlb\.(.+)\.current$/.exec(name)?.[1] ?? [])
  return Object.fromEntries(
    sizes.map((size) => {
      const { max: failcnt = 0 } = keyed(read(`hugetlb.${size}.events`))
      return [size, usageOf(read(`hugetlb.${size}.current`), read(`hugetlb.${size}.max`), '', failcnt)]
    }),
  )
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

/** Numbers by name, of a flat keyed file. */
function keyed(text: string): Readonly<Record<string, number>> {
  const pairs = lines(text).map((line) => {
    const [name = '', value] = line.split(' ')
    return [name, Number(value)] as const
  })
  return Object.fromEntries(pairs)
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}

/** Empty where the controller, or the cgroup, is not there. */
function readFile(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch (error) {
    const errno = errnoOf(error)
    // EOPNOTSUPP: a threaded cgroup has no memory of its own.
    if (errno === 'ENOENT' || errno === 'ENODEV' || errno === 'EOPNOTSUPP' || errno === 'ENOTSUP') return ''
    throw error
  }
}
