import { cpusetWrites, cpuWrites } from '../../cgroups/cpu.ts'
import { hugetlbWrites } from '../../cgroups/hugetlb.ts'
import { ioWrites } from '../../cgroups/io.ts'
import { memoryWrites } from '../../cgroups/memory.ts'
import { pidsWrites } from '../../cgroups/pids.ts'
import { rdmaWrites } from '../../cgroups/rdma.ts'
import { unifiedWrites } from '../../cgroups/unified.ts'
import type { OciResources, ThrottleDevice } from '../../model/config.ts'
import { deviceRules, MAX_MAJOR, MAX_MINOR } from './devices.ts'
import { invalid, type Place, under } from './place.ts'
import {
  asked,
  boolean,
  checked,
  dictionary,
  integer,
  type Bounds,
  list,
  mapped,
  object,
  optional,
  type Read,
  required,
  signed64,
  text,
  unlessEmpty,
  unsigned64,
} from './vocabulary.ts'

/** Beyond this a number is no limit to any machine, and JavaScript's numbers lose their last digits. */
const VAST = Number.MAX_SAFE_INTEGER

/** Bytes, microseconds or processes, -1 for unlimited; what is vast is unlimited (2^63-4096 is how cgroup v1 spells it). */
const limit: Read<number> = mapped(signed64, (value, at) => {
  if (value < -1) throw invalid(at, `${value} is neither a limit nor -1 for unlimited`)
  return value > VAST ? -1 : Number(value)
})

/** For what has no word for unlimited: a vast number stands for any larger one. */
const amount: Read<number> = mapped(unsigned64, (value) => (value > VAST ? VAST : Number(value)))

/** Bytes or operations a second, 0 for unlimited. */
const rate: Read<number> = mapped(unsigned64, (value) => (value > VAST ? 0 : Number(value)))

/** A setting that only cgroup v1 has: what asks for nothing passes, the rest cannot be honoured. */
function onlyV1(read: Read<unknown>, ...nothing: unknown[]): Read<void> {
  return (value, at) => {
    if (nothing.includes(read(value, at))) return
    throw invalid(at, 'only cgroup v1 has this', 'leave it out; tscrun works with cgroup v2')
  }
}

type Memory = NonNullable<OciResources['memory']>
const memory: Read<Memory> = object<Memory>(
  {
    limit: optional(limit),
    reservation: optional(limit),
    swap: optional(limit),
    checkBeforeUpdate: optional(boolean),
  },
  {
    kernel: onlyV1(limit, 0, -1),
    kernelTCP: onlyV1(limit, 0, -1),
    swappiness: onlyV1(unsigned64),
    disableOOMKiller: onlyV1(boolean, false),
    useHierarchy: onlyV1(boolean, true),
  },
)

type Cpu = NonNullable<OciResources['cpu']>
const cpu: Read<Cpu> = object<Cpu>(
  {
    shares: optional(amount),
    quota: optional(limit),
    burst: optional(amount),
    period: optional(amount),
    cpus: optional(unlessEmpty(text)),
    mems: optional(unlessEmpty(text)),
    idle: optional(integer({ highest: 1 })),
  },
  { realtimeRuntime: onlyV1(signed64, 0), realtimePeriod: onlyV1(unsigned64, 0) },
)

const uint16: Bounds = { highest: 65_535 }
const major = integer({ highest: MAX_MAJOR })
const minor = integer({ highest: MAX_MINOR })

type BlockIo = NonNullable<OciResources['blockIO']>
type WeightDevice = NonNullable<BlockIo['weightDevice']>[number]
const weightDevice: Read<WeightDevice> = object<WeightDevice>(
  { major: required(major), minor: required(minor), weight: optional(integer(uint16)) },
  { leafWeight: onlyV1(integer(uint16), 0) },
)
const throttled = list(object<ThrottleDevice>({ major: required(major), minor: required(minor), rate: required(rate) }))
const blockIO: Read<BlockIo> = object<BlockIo>(
  {
    weight: optional(integer(uint16)),
    weightDevice: optional(list(weightDevice)),
    throttleReadBpsDevice: optional(throttled),
    throttleWriteBpsDevice: optional(throttled),
    throttleReadIOPSDevice: optional(throttled),
    throttleWriteIOPSDevice: optional(throttled),
  },
  { leafWeight: onlyV1(integer(uint16), 0) },
)

const hugepages = object<NonNullable<OciResources['hugepageLimits']>[number]>({
  pageSize: required(text),
  limit: required(amount),
})

const uint32 = integer({ highest: 2 ** 32 - 1 })
const rdma = checked(
  object<NonNullable<OciResources['rdma']>[string]>({ hcaHandles: optional(uint32), hcaObjects: optional(uint32) }),
  ({ hcaHandles, hcaObjects }, at) => {
    if (hcaHandles === undefined && hcaObjects === undefined) throw invalid(at, 'neither hcaHandles nor hcaObjects')
  },
)

/** net_cls and net_prio have no successor in cgroup v2. */
const network: Read<void> = (value, at) => {
  object({}, { classID: onlyV1(uint32, 0), priorities: noPriorities })(value, at)
}
const noPriorities: Read<void> = (value, at) => {
  const priority = object({ name: required(text), priority: required(uint32) })
  if (list(priority)(value, at).length > 0) onlyV1(() => undefined, null)(value, at)
}

/** Since 1.3 the limit may be absent. */
const pids: Read<OciResources['pids']> = mapped(
  object<{ readonly limit?: number }>({ limit: optional(limit) }),
  (read) => (read.limit === undefined ? undefined : { limit: read.limit }),
)

/** `linux.resources` (config-linux.md, Control groups), or what `update` is given. */
export const resources: Read<OciResources> = object<OciResources>(
  {
    devices: optional(deviceRules),
    memory: optional(memory),
    cpu: optional(cpu),
    pids: optional(pids),
    blockIO: optional(blockIO),
    hugepageLimits: optional(list(hugepages)),
    rdma: optional(dictionary(rdma)),
    unified: optional(dictionary(text)),
  },
  { network },
)

/**
 * What no kernel would take, as the code that will write the limits says it. For a container that is made; an update
 * may leave out what is set already.
 */
export function checkResources(limits: OciResources, at: Place): void {
  const part = <T>(key: keyof OciResources, value: T | undefined, writes: (value: T) => unknown): void => {
    if (value !== undefined) asked(under(at, key), () => writes(value), `${key} `)
  }
  part('memory', limits.memory, (value) => memoryWrites(value, 0))
  part('cpu', limits.cpu, (value) => [cpusetWrites(value), cpuWrites(value)])
  part('pids', limits.pids, pidsWrites)
  part('blockIO', limits.blockIO, ioWrites)
  part('hugepageLimits', limits.hugepageLimits, hugetlbWrites)
  part('rdma', limits.rdma, rdmaWrites)
  part('unified', limits.unified, unifiedWrites)
}
