import type {
  OciCapabilities,
  OciProcess,
  OciRlimit,
  OciScheduler,
  OciUser,
  SchedulerPolicy,
} from '../../model/config.ts'
import { CAPABILITIES } from '../../security/capabilities.ts'
import { RLIMITS } from '../../security/rlimits.ts'
import { cpuList } from './cpu-list.ts'
import { invalid, type Place, under } from './place.ts'
import {
  absolutePath,
  boolean,
  checked,
  integer,
  list,
  mapped,
  object,
  oneOf,
  optional,
  otherwise,
  type Read,
  required,
  text,
  unique,
  unlessEmpty,
  unsigned64,
} from './vocabulary.ts'

/** 2^32-1 means "leave as it is" to the kernel's calls. */
const id = integer({ highest: 2 ** 32 - 2 })

const user: Read<OciUser> = object<OciUser>({
  uid: otherwise(id, 0),
  gid: otherwise(id, 0),
  umask: optional(integer({ highest: 0o777 })),
  additionalGids: optional(list(id)),
})

/** `NAME=value`. The value may be a secret, so no message shows it. */
export const variables: Read<string[]> = list(
  checked(text, (entry, at) => {
    if (entry.indexOf('=') < 1) throw invalid(at, 'not NAME=value')
  }),
)

const capabilityList = list(oneOf(CAPABILITIES, 'capability'))

const capabilities: Read<OciCapabilities> = object<OciCapabilities>({
  bounding: optional(capabilityList),
  effective: optional(capabilityList),
  permitted: optional(capabilityList),
  inheritable: optional(capabilityList),
  ambient: optional(capabilityList),
})

const RLIMIT_NAMES = RLIMITS.map((name) => `RLIMIT_${name.toUpperCase()}`)

/**
 * 2^64-1 is RLIM_INFINITY, which is -1 from here on. Between 2^53 and that the next lower number that a JavaScript
 * number can hold: at most 2047 less, and never what the kernel takes for unlimited.
 */
const rlimitValue: Read<number> = mapped(unsigned64, (value) => {
  if (typeof value === 'number') return value
  if (value === 2n ** 64n - 1n) return -1
  const spare = BigInt(value.toString(2).length - 53)
  return Number((value >> spare) << spare)
})

const rlimit: Read<OciRlimit> = checked(
  object<OciRlimit>({
    type: required(oneOf(RLIMIT_NAMES, 'resource limit')),
    soft: required(rlimitValue),
    hard: required(rlimitValue),
  }),
  ({ soft, hard }, at) => {
    if (hard !== -1 && (soft === -1 || soft > hard)) {
      throw invalid(under(at, 'soft'), `${soft === -1 ? 'unlimited' : soft} is above the hard limit ${hard}`)
    }
  },
)

const POLICIES = ['SCHED_OTHER', 'SCHED_FIFO', 'SCHED_RR', 'SCHED_BATCH', 'SCHED_IDLE', 'SCHED_DEADLINE'] as const
const FLAGS = [
  'SCHED_FLAG_RESET_ON_FORK',
  'SCHED_FLAG_RECLAIM',
  'SCHED_FLAG_DL_OVERRUN',
  'SCHED_FLAG_KEEP_POLICY',
  'SCHED_FLAG_KEEP_PARAMS',
  'SCHED_FLAG_UTIL_CLAMP_MIN',
  'SCHED_FLAG_UTIL_CLAMP_MAX',
] as const

/** The specification has SCHED_ISO, for which the kernel has kept a number and never had code. */
const policy: Read<SchedulerPolicy> = (value, at) => {
  if (value === 'SCHED_ISO') throw invalid(at, 'SCHED_ISO is in no kernel', `one of ${POLICIES.join(', ')}`)
  return oneOf(POLICIES, 'scheduling policy')(value, at)
}

const scheduler: Read<OciScheduler> = checked(
  object<OciScheduler>({
    policy: required(policy),
    nice: optional(integer({ lowest: -20, highest: 19 })),
    priority: optional(integer({ highest: 99 })),
    flags: optional(list(oneOf(FLAGS, 'scheduling flag'))),
    runtime: optional(integer()),
    deadline: optional(integer()),
    period: optional(integer()),
  }),
  checkScheduler,
)

/** What sched_setattr(2) would answer with a bare EINVAL. */
function checkScheduler({ policy: name, priority = 0, ...times }: OciScheduler, at: Place): void {
  const realtime = name === 'SCHED_FIFO' || name === 'SCHED_RR'
  if (realtime && priority === 0) throw invalid(under(at, 'priority'), `${name} needs one from 1 to 99`)
  if (!realtime && priority !== 0) throw invalid(under(at, 'priority'), `${name} has none`)
  const { runtime = 0, deadline = 0, period = 0 } = times
  if (name !== 'SCHED_DEADLINE') {
    for (const key of ['runtime', 'deadline', 'period'] as const) {
      if ((times[key] ?? 0) !== 0) throw invalid(under(at, key), `${name} has none, only SCHED_DEADLINE`)
    }
    return
  }
  if (runtime === 0) throw invalid(under(at, 'runtime'), 'SCHED_DEADLINE needs one')
  if (deadline < runtime) throw invalid(under(at, 'deadline'), `${deadline} is below the runtime ${runtime}`)
  if (period !== 0 && period < deadline) throw invalid(under(at, 'period'), `${period} is below the deadline`)
}

const ioPriority: Read<NonNullable<OciProcess['ioPriority']>> = object<NonNullable<OciProcess['ioPriority']>>({
  class: required(oneOf(['IOPRIO_CLASS_RT', 'IOPRIO_CLASS_BE', 'IOPRIO_CLASS_IDLE'], 'I/O priority class')),
  priority: otherwise(integer({ highest: 7 }), 0),
})

const affinity: Read<NonNullable<OciProcess['execCPUAffinity']>> = object<NonNullable<OciProcess['execCPUAffinity']>>({
  initial: optional(unlessEmpty(cpuList)),
  final: optional(unlessEmpty(cpuList)),
})

/** The kernel counts rows and columns in 16 bits (struct winsize). */
const cells = integer({ highest: 65_535 })

const filledArguments = checked(list(text), (args, at) => {
  if (args.length === 0) throw invalid(at, 'empty: it names no program')
})

const everything: Read<OciProcess> = object<OciProcess>({
  terminal: optional(boolean),
  consoleSize: optional(object({ height: required(cells), width: required(cells) })),
  user: otherwise(user, { uid: 0, gid: 0 }),
  args: required(filledArguments),
  env: optional(variables),
  cwd: required(absolutePath),
  capabilities: optional(capabilities),
  rlimits: optional(
    checked(
      list(rlimit),
      unique(({ type }) => type, 'the resource limit'),
    ),
  ),
  noNewPrivileges: optional(boolean),
  oomScoreAdj: optional(integer({ lowest: -1000, highest: 1000 })),
  apparmorProfile: optional(unlessEmpty(text)),
  selinuxLabel: optional(unlessEmpty(text)),
  scheduler: optional(scheduler),
  ioPriority: optional(ioPriority),
  execCPUAffinity: optional(affinity),
})

/** `process` of config.json (config.md, Process), or a file for `exec --process`. */
export const containerProcess: Read<OciProcess> = mapped(everything, ({ consoleSize, ...rest }) => {
  // Without a terminal the size must be ignored.
  return consoleSize !== undefined && rest.terminal === true ? { ...rest, consoleSize } : rest
})
