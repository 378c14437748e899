import type { OciResources } from '../model/config.ts'
import { type CgroupWrite, checkedNumber, invalidLimit } from './writes.ts'

type Cpu = NonNullable<OciResources['cpu']>

/** Microseconds: what the kernel starts every cgroup with. */
const DEFAULT_PERIOD = 100_000
/** Bounds of kernel/sched/core.c (min_cfs_quota_period, max_cfs_quota_period). */
const MIN_PERIOD = 1000
const MAX_PERIOD = 1_000_000

/**
 * Writes for processor limits: `quota` of every `period` and `burst` beyond it in microseconds (quota -1 or 0 is no
 * limit), `shares` in cgroup v1's 2 to 262144 (0 not set), `idle` 1 for SCHED_IDLE.
 */
export function cpuWrites({ shares = 0, quota = 0, burst, period = 0, idle }: Cpu): CgroupWrite[] {
  const writes: CgroupWrite[] = []
  if (idle !== undefined) {
    writes.push({ controller: 'cpu', file: 'cpu.idle', value: String(checkedNumber('cpu idle', idle, { highest: 1 })) })
  }
  // An idle group has no weight: the kernel answers EINVAL.
  if (shares !== 0 && idle !== 1) {
    writes.push({ controller: 'cpu', file: 'cpu.weight', value: String(weightOfShares(shares)) })
  }
  if (quota !== 0 || period !== 0) {
    writes.push({ controller: 'cpu', file: 'cpu.max', value: bandwidth(quota, period) })
  }
  if (burst !== undefined) {
    checkedNumber('cpu burst', burst, { highest: Math.max(0, quota) })
    writes.push({ controller: 'cpu', file: 'cpu.max.burst', value: String(burst) })
  }
  return writes
}

function bandwidth(quota: number, period: number): string {
  if (period !== 0) checkedNumber('cpu period', period, { lowest: MIN_PERIOD, highest: MAX_PERIOD })
  if (quota !== 0) checkedNumber('cpu quota', quota, { lowest: MIN_PERIOD, unlimited: true })
  return `${quota > 0 ? quota : 'max'} ${period === 0 ? DEFAULT_PERIOD : period}`
}

/**
 * cpu.weight (1 to 10000) for cgroup v1 shares (2 to 262144): 10^((l^2 + 125 l)/612 - 7/34) with l = log2(shares),
 * rounded up. It maps both ends and both defaults onto each other (1024 to 100); the straight line that runc before
 * 1.3.2 and crun before 1.23 drew gave the default container 39, less than half of what processes outside have.
 */
export function weightOfShares(shares: number): number {
  checkedNumber('cpu shares', shares)
  if (shares <= 2) return 1
  if (shares >= 262_144) return 10_000
  const log = Math.log2(shares)
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))
}

/** Writes for the processors and memory nodes a container may use, as lists such as `0-3,7`. */
export function cpusetWrites({ cpus, mems }: Cpu): CgroupWrite[] {
  const writes: CgroupWrite[] = []
  for (const [file, list] of [
    ['cpuset.cpus', cpus],
    ['cpuset.mems', mems],
  ] as const) {
    if (list !== undefined && list !== '') writes.push({ controller: 'cpuset', file, value: checkedList(file, list) })
  }
  return writes
}

/** Numbers above this name no processor of any kernel (CONFIG_NR_CPUS); refused before anyone counts to them. */
const MAX_CPU = 8191

function checkedList(file: string, list: string): string {
  for (const part of list.split(',')) {
    const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(part)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (!match || first > last || last > MAX_CPU) {
      throw invalidLimit(file, `${JSON.stringify(list)} is no list of numbers`, 'such as 0-3,7')
    }
  }
  return list
}
