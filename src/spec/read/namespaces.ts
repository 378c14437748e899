import type { IdMapping, NamespaceType, OciLinux, OciNamespace } from '../../model/config.ts'
import { invalid, shown, suggestion, under } from './place.ts'
import {
  absolutePath,
  checked,
  dictionary,
  integer,
  list,
  mapped,
  object,
  oneOf,
  optional,
  type Read,
  required,
  signed64,
  unique,
  unlessEmpty,
} from './vocabulary.ts'

export const NAMESPACE_TYPES = [
  'cgroup',
  'ipc',
  'mount',
  'network',
  'pid',
  'time',
  'user',
  'uts',
] as const satisfies readonly NamespaceType[]

const namespace: Read<OciNamespace> = object<OciNamespace>({
  type: required(oneOf<NamespaceType>(NAMESPACE_TYPES, 'namespace type')),
  path: optional(unlessEmpty(absolutePath)),
})

/** `linux.namespaces` (config-linux.md, Namespaces). */
export const namespaces: Read<OciNamespace[]> = checked(
  list(namespace),
  unique(({ type }) => type, 'the namespace'),
)

const mapping: Read<IdMapping> = checked(
  object<IdMapping>({
    containerID: required(integer({ highest: 2 ** 32 - 2 })),
    hostID: required(integer({ highest: 2 ** 32 - 2 })),
    size: required(integer({ lowest: 1, highest: 2 ** 32 - 1 })),
  }),
  ({ containerID, hostID, size }, at) => {
    // The last id, 2^32-1, stands for none.
    if (Math.max(containerID, hostID) + size > 2 ** 32 - 1) {
      throw invalid(under(at, 'size'), `${size} goes beyond the last id, ${2 ** 32 - 2}`)
    }
  },
)

/** UID_GID_MAP_MAX_EXTENTS since Linux 4.15. */
const MAX_MAPPINGS = 340

/** Id mappings of a user namespace or a mount, as the kernel would take them (user_namespaces(7)). */
export const mappings: Read<IdMapping[]> = checked(list(mapping), (all, at) => {
  if (all.length > MAX_MAPPINGS) throw invalid(at, `${all.length} ranges, the kernel takes ${MAX_MAPPINGS}`)
  for (const key of ['containerID', 'hostID'] as const) {
    const sorted = all.map((range, index) => ({ start: range[key], end: range[key] + range.size, index }))
    sorted.sort((one, other) => one.start - other.start)
    for (const [position, range] of sorted.entries()) {
      const before = sorted[position - 1]
      if (before !== undefined && before.end > range.start) {
        throw invalid(under(under(at, range.index), key), `${range.start} is in the range of [${before.index}] already`)
      }
    }
  }
})

const CLOCKS: readonly string[] = ['boottime', 'monotonic']

type TimeOffsets = NonNullable<OciLinux['timeOffsets']>

/** KTIME_SEC_MAX / 2: the kernel takes offsets of 146 years (time_namespaces(7)). */
const MAX_SECONDS = Math.floor(Number(2n ** 63n / 1_000_000_000n) / 2)

const seconds: Read<number> = mapped(signed64, (value, at) => {
  if (value < -MAX_SECONDS || value > MAX_SECONDS) throw invalid(at, `${value} seconds are more than the kernel takes`)
  return Number(value)
})

const offset = object<TimeOffsets[string]>({
  secs: optional(seconds),
  nanosecs: optional(integer({ highest: 999_999_999 })),
})

/** `linux.timeOffsets` (config-linux.md, Offset for Time Namespace). */
export const timeOffsets: Read<TimeOffsets> = dictionary(offset, (clock, at) => {
  if (CLOCKS.includes(clock)) return
  throw invalid(at, `the time namespace has no clock ${shown(clock)}`, suggestion(clock, CLOCKS))
})
