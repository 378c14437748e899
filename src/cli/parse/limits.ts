import type { DeviceRate, LimitOptions, UlimitOption } from '../../model/run-options.ts'
import { RLIMITS } from '../../security/rlimits.ts'
import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { parseDecimal, parseInteger, parseSize } from './numbers.ts'

/** Below this no process can start: its page tables and stacks alone are charged more. */
const SMALLEST_MEMORY = 512 * 1024
/** CFS bandwidth: kernel/sched/core.c, 1 ms to 1 s for the period and at least 1 ms for the quota. */
const PERIOD = { min: 1000, max: 1_000_000 }
/** More than any kernel can be built for (NR_CPUS); keeps a hostile list from becoming a large one (CVE-2018-20699). */
const LARGEST_CPU = 8191

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** All the cgroup flags. Throws USAGE with the flag, its value and the reason. */
export function parseLimits(flags: FlagValues): LimitOptions {
  const limits: Mutable<LimitOptions> = {}
  memoryLimits(flags, limits)
  cpuLimits(flags, limits)
  for (const [flag, key] of [
    ['cpuset-cpus', 'cpusetCpus'],
    ['cpuset-mems', 'cpusetMems'],
  ] as const) {
    const text = flags.text(flag)
    if (text) limits[key] = parseCpuList(flag, text)
  }
  const pids = flags.text('pids-limit')
  // docker takes 0 for unlimited too.
  if (pids !== undefined) limits.pidsLimit = parseInteger('pids-limit', pids, { min: -1, max: 4_194_304 }) || -1
  const weight = flags.text('blkio-weight')
  if (weight !== undefined && weight !== '0')
    limits.blkioWeight = parseInteger('blkio-weight', weight, { min: 10, max: 1000 })
  for (const [flag, key, bytes] of [
    ['device-read-bps', 'deviceReadBps', true],
    ['device-write-bps', 'deviceWriteBps', true],
    ['device-read-iops', 'deviceReadIops', false],
    ['device-write-iops', 'deviceWriteIops', false],
  ] as const) {
    if (flags.has(flag)) limits[key] = flags.list(flag).map((text) => parseDeviceRate(flag, text, bytes))
  }
  if (flags.has('cgroup-conf')) limits.cgroupConf = parseCgroupConf(flags.list('cgroup-conf'))
  return limits
}

function memoryLimits(flags: FlagValues, limits: Mutable<LimitOptions>): void {
  const size = (flag: string): number | undefined => {
    const text = flags.text(flag)
    return text === undefined || text === '' ? undefined : parseSize(flag, text) || undefined
  }
  const memory = size('memory')
  const memoryText = flags.text('memory') ?? ''
  if (memory !== undefined && memory < SMALLEST_MEMORY) {
    const hint = /^[0-9.]+$/.test(memoryText) ? `bytes without a suffix; did you mean ${memoryText}m?` : 'try 16m'
    throw badFlag('memory', memoryText, 'too little for a process to start', hint)
  }
  const reservation = size('memory-reservation')
  if (memory !== undefined && reservation !== undefined && reservation > memory) {
    throw badFlag('memory-reservation', flags.text('memory-reservation') ?? '', `more than --memory ${memoryText}`)
  }
  const swapText = flags.text('memory-swap')
  const swap = swapText === '-1' ? -1 : size('memory-swap')
  if (swap !== undefined && swap !== -1) {
    if (memory === undefined)
      throw badFlag('memory-swap', swapText ?? '', 'needs --memory too', 'it is the sum of memory and swap')
    if (swap < memory) {
      throw badFlag(
        'memory-swap',
        swapText ?? '',
        `less than --memory ${memoryText}`,
        'it is the sum of memory and swap',
      )
    }
  }
  if (memory !== undefined) limits.memory = memory
  if (reservation !== undefined) limits.memoryReservation = reservation
  if (swap !== undefined) limits.memorySwap = swap
}

function cpuLimits(flags: FlagValues, limits: Mutable<LimitOptions>): void {
  const cpus = flags.text('cpus')
  const period = flags.text('cpu-period')
  const quota = flags.text('cpu-quota')
  const shares = flags.text('cpu-shares')
  if (cpus !== undefined) {
    const value = parseDecimal('cpus', cpus)
    // The quota of the default 100 ms period must reach 1 ms.
    if (value !== 0 && value < 0.01) throw badFlag('cpus', cpus, 'less than 0.01')
    const other = period !== undefined ? 'cpu-period' : quota !== undefined ? 'cpu-quota' : undefined
    if (other !== undefined) throw badFlag('cpus', cpus, `does not go together with --${other}`, 'they say the same')
    if (value !== 0) limits.cpus = value
  }
  if (period !== undefined && period !== '0') limits.cpuPeriod = parseInteger('cpu-period', period, PERIOD)
  if (quota !== undefined && quota !== '0') {
    limits.cpuQuota =
      quota === '-1' ? -1 : parseInteger('cpu-quota', quota, { min: 1000, max: Number.MAX_SAFE_INTEGER })
  }
  if (shares !== undefined && shares !== '0')
    limits.cpuShares = parseInteger('cpu-shares', shares, { min: 2, max: 262_144 })
}

/** `0-3,7` as the kernel's cpuset files take it (cgroup-v2.rst, cpuset.cpus). Throws USAGE. */
export function parseCpuList(flag: string, text: string): string {
  for (const part of text.split(',')) {
    const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(part)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (match === null) throw badFlag(flag, text, 'not a list of numbers', 'e.g. 0-3,7')
    if (first > last) throw badFlag(flag, text, `${part} runs backwards`)
    if (last > LARGEST_CPU) throw badFlag(flag, text, `${last} is more than ${LARGEST_CPU}`)
  }
  return text
}

/** `/dev/vda:1mb`. Throws USAGE. */
export function parseDeviceRate(flag: string, text: string, bytes: boolean): DeviceRate {
  const colon = text.lastIndexOf(':')
  const path = text.slice(0, Math.max(colon, 0))
  if (!path.startsWith('/dev/')) {
    throw badFlag(flag, text, 'not a device under /dev and a rate', `e.g. /dev/vda:${bytes ? '1mb' : '1000'}`)
  }
  const rateText = text.slice(colon + 1)
  const rate = bytes
    ? parseSize(flag, rateText, text)
    : parseInteger(flag, rateText, { min: 1, max: Number.MAX_SAFE_INTEGER, within: text })
  if (rate < 1) throw badFlag(flag, text, 'the rate must be more than 0')
  return { path, rate }
}

/** `memory.high=64M`: a file of the container's own cgroup, never a path. Throws USAGE. */
export function parseCgroupConf(values: readonly string[]): Record<string, string> {
  const conf: Record<string, string> = {}
  for (const text of values) {
    const equals = text.indexOf('=')
    const file = text.slice(0, Math.max(equals, 0))
    // A dot inside keeps `..` and `__proto__` out along with everything else that is no controller file.
    if (!/^[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_-]+)+$/.test(file)) {
      throw badFlag('cgroup-conf', text, 'not FILE=VALUE with a cgroup v2 file', 'e.g. memory.high=64M')
    }
    conf[file] = text.slice(equals + 1)
  }
  return conf
}

/** `nofile=1024:2048`, `core=-1`, `nproc=unlimited` (setrlimit(2)). Throws USAGE. */
export function parseUlimit(text: string): UlimitOption {
  const bad = (reason: string, hint?: string) => badFlag('ulimit', text, reason, hint)
  const equals = text.indexOf('=')
  if (equals < 0) throw bad('not NAME=SOFT[:HARD]', 'e.g. nofile=1024:2048')
  const name = text
    .slice(0, equals)
    .toLowerCase()
    .replace(/^rlimit_/, '')
  if (!RLIMITS.includes(name)) throw bad(`no limit has the name ${JSON.stringify(name)}`, `one of ${RLIMITS.join(' ')}`)
  const parts = text.slice(equals + 1).split(':')
  if (parts.length > 2) throw bad('not NAME=SOFT[:HARD]', 'e.g. nofile=1024:2048')
  const [soft, hard] = parts.map((part) => {
    if (part === 'unlimited' || part === '-1') return -1
    const value = /^[0-9]+$/.test(part) ? Number(part) : Number.NaN
    if (!Number.isSafeInteger(value)) throw bad(`${JSON.stringify(part)} is not a number`, 'or -1, or unlimited')
    return value
  })
  const limit = { name, soft: soft ?? 0, hard: hard ?? soft ?? 0 }
  if (limit.hard !== -1 && (limit.soft === -1 || limit.soft > limit.hard))
    throw bad('the soft limit is above the hard one')
  return limit
}
