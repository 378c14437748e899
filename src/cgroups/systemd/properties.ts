import type { OciResources } from '../../model/config.ts'
import { DEFAULT_DEVICE_RULES } from '../devices.ts'
import { resourceWrites } from '../resources.ts'
import type { CgroupWrite } from '../writes.ts'
import { deviceProperties } from './devices.ts'
import type { DbusVariant } from './signature.ts'

/** A property of a unit as systemd's D-Bus interface takes it. */
export interface Property {
  readonly name: string
  readonly value: DbusVariant
}

/** Versions of systemd that brought a property (their NEWS). */
const SINCE = { period: 242, cpuset: 244, idle: 252, oomPolicy: 253, zswap: 253 } as const

/** How systemd writes "no limit" and "no quota". */
const INFINITY = 2n ** 64n - 1n
/** CPUQuota is kept in whole percents of a second's processor time, in microseconds. */
const PERCENT = 10_000n

const MEMORY: Readonly<Record<string, string>> = {
  'memory.max': 'MemoryMax',
  'memory.low': 'MemoryLow',
  'memory.high': 'MemoryHigh',
  'memory.min': 'MemoryMin',
  'memory.swap.max': 'MemorySwapMax',
}

const RATES: Readonly<Record<string, string>> = {
  rbps: 'IOReadBandwidthMax',
  wbps: 'IOWriteBandwidthMax',
  riops: 'IOReadIOPSMax',
  wiops: 'IOWriteIOPSMax',
}

/**
 * What a systemd of `version` can know of a container's limits, so that it writes the same into the cgroup again when it
 * reloads. It is made from `resourceWrites`, which are to be written afterwards all the same: systemd has no word for
 * some files, rounds quotas up to a percent, and knows devices only as a list of what is allowed (DEFAULT_DEVICE_RULES
 * come after those of `resources`, as they do in the container's own filter).
 * Throws INVALID_CONFIG as `resourceWrites` does.
 */
export function unitProperties(resources: OciResources, version: number): Property[] {
  const writes = resourceWrites(resources, { minimumMemory: 0 })
  const found = new Map<string, Property>()
  for (const property of writes.flatMap((write) => propertiesOf(write, version))) {
    const before = found.get(property.name)
    found.set(property.name, before && isList(property) ? joined(before, property) : property)
  }
  const { devices } = resources
  return [...found.values(), ...(devices ? deviceProperties([...devices, ...DEFAULT_DEVICE_RULES]) : [])]
}

function propertiesOf(write: CgroupWrite, version: number): Property[] {
  const { file, value } = write.orElse ?? write
  const limit = MEMORY[file]
  if (limit !== undefined) return number(limit, value)
  switch (file) {
    case 'memory.zswap.max':
      return version >= SINCE.zswap ? number('MemoryZSwapMax', value) : []
    case 'memory.oom.group':
      return version >= SINCE.oomPolicy ? oomPolicy(value) : []
    case 'pids.max':
      return number('TasksMax', value)
    case 'cpu.weight':
      return number('CPUWeight', value)
    case 'cpu.idle':
      // The weight that is none; there is no way to say 0, which is what a new cgroup has.
      return version >= SINCE.idle && value.trim() === '1' ? number('CPUWeight', '0') : []
    case 'cpu.max':
      return bandwidth(value, version)
    case 'cpuset.cpus':
      return version >= SINCE.cpuset ? cpuset('AllowedCPUs', value) : []
    case 'cpuset.mems':
      return version >= SINCE.cpuset ? cpuset('AllowedMemoryNodes', value) : []
    case 'io.weight':
      return ioWeight(value)
    case 'io.max':
      return ioRates(value)
    default:
      return []
  }
}

/** A file's value that is one number, or `max`; other text is left to the kernel, which will refuse it. */
function number(name: string, text: string): Property[] {
  const value = numberIn(text.trim())
  return value === undefined ? [] : [{ name, value: { signature: 't', value } }]
}

function numberIn(text: string): bigint | undefined {
  if (text === 'max') return INFINITY
  const value = /^[0-9]{1,20}$/.test(text) ? BigInt(text) : INFINITY
  return value < INFINITY ? value : undefined
}

/** `max 100000`, `50000 100000`, or without a period. */
function bandwidth(text: string, version: number): Property[] {
  const [quotaText = '', periodText = '100000'] = text.trim().split(/\s+/)
  const [quota, period] = [numberIn(quotaText), numberIn(periodText)]
  if (quota === undefined || period === undefined || period === 0n || period === INFINITY) return []
  // Rounded up, since a reload of systemd would cut the fraction off: never less than was asked for.
  const share = quota === INFINITY ? INFINITY : ((quota * 1_000_000n) / period + PERCENT - 1n) / PERCENT
  return [
    ...(version >= SINCE.period ? number('CPUQuotaPeriodUSec', String(period)) : []),
    { name: 'CPUQuotaPerSecUSec', value: { signature: 't', value: quota === INFINITY ? INFINITY : share * PERCENT } },
  ]
}

function oomPolicy(text: string): Property[] {
  const policy = { '0': 'continue', '1': 'kill' }[text.trim()]
  return policy === undefined ? [] : [{ name: 'OOMPolicy', value: { signature: 's', value: policy } }]
}

/** `0-3,7` as a bit for each number, the lowest first. */
function cpuset(name: string, list: string): Property[] {
  const bits: number[] = []
  for (const part of list.trim().split(',')) {
    const [, first = '', last = first] = /^([0-9]{1,4})(?:-([0-9]{1,4}))?$/.exec(part) ?? []
    if (first === '') return []
    for (let bit = Number(first); bit <= Number(last); bit++) {
      bits[bit >> 3] = (bits[bit >> 3] ?? 0) | (1 << (bit & 7))
    }
  }
  return [{ name, value: { signature: 'ay', value: Uint8Array.from(bits, (byte: number | undefined) => byte ?? 0) } }]
}

/** `default 100`, `8:0 200`, or `100` for the default. */
function ioWeight(text: string): Property[] {
  const [first = '', second] = text.trim().split(/\s+/)
  if (second === undefined || first === 'default') return number('IOWeight', second ?? first)
  const weight = numberIn(second)
  return weight === undefined ? [] : blockDevice('IODeviceWeight', first, weight)
}

/** `8:0 rbps=1048576 wiops=max`. */
function ioRates(text: string): Property[] {
  const [device = '', ...words] = text.trim().split(/\s+/)
  return words.flatMap((word) => {
    const [key = '', rateText = ''] = word.split('=')
    const [name, rate] = [RATES[key], numberIn(rateText)]
    return name === undefined || rate === undefined ? [] : blockDevice(name, device, rate)
  })
}

function blockDevice(name: string, device: string, value: bigint): Property[] {
  if (!/^[0-9]+:[0-9]+$/.test(device)) return []
  return [{ name, value: { signature: 'a(st)', value: [[`/dev/block/${device}`, value]] } }]
}

function isList({ value }: Property): boolean {
  return value.signature === 'a(st)'
}

function joined(first: Property, second: Property): Property {
  const values = [first, second].flatMap(({ value }) => value.value as readonly (readonly [string, bigint])[])
  return { name: first.name, value: { signature: 'a(st)', value: [...new Map(values)] } }
}
