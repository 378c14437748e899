import type { OciConfig, OciMemoryPolicy, OciProcess, OciScheduler } from '../model/config.ts'
import type { FdSlot, Step } from '../model/step.ts'

/** Numbers of sched_setattr(2), ioprio_set(2), set_mempolicy(2), personality(2). */
const POLICIES = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
} as const satisfies Record<OciScheduler['policy'], number>

const SCHEDULER_FLAGS = {
  SCHED_FLAG_RESET_ON_FORK: 0x01,
  SCHED_FLAG_RECLAIM: 0x02,
  SCHED_FLAG_DL_OVERRUN: 0x04,
  SCHED_FLAG_KEEP_POLICY: 0x08,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
} as const

const IO_CLASSES = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 } as const
const IO_CLASS_SHIFT = 13

const MEMORY_MODES = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
} as const satisfies Record<OciMemoryPolicy['mode'], number>

const MEMORY_FLAGS = {
  MPOL_F_NUMA_BALANCING: 1 << 13,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_STATIC_NODES: 1 << 15,
} as const

const DOMAINS = { LINUX: 0, LINUX32: 8 } as const

/** How a process is scheduled, and where its memory lies: while it still has the rights of root. */
export function attributeSteps({ scheduler, ioPriority }: OciProcess, linux: OciConfig['linux'] = {}): Step[] {
  const steps: Step[] = []
  const { memoryPolicy, personality } = linux
  if (scheduler !== undefined) steps.push(schedulerStep(scheduler))
  if (ioPriority !== undefined) {
    steps.push({
      op: 'io_priority',
      value: (IO_CLASSES[ioPriority.class] << IO_CLASS_SHIFT) | ioPriority.priority,
      about: `set the I/O priority ${ioPriority.class} ${ioPriority.priority}`,
      hint: 'the real-time class needs CAP_SYS_NICE on the host',
    })
  }
  if (memoryPolicy !== undefined) {
    const { mode, nodes, flags = [] } = memoryPolicy
    steps.push({
      op: 'memory_policy',
      mode: flags.reduce((all, flag) => all | MEMORY_FLAGS[flag], MEMORY_MODES[mode] as number),
      nodes: bitMask(nodes ?? ''),
      about: `set the memory policy ${mode} ${nodes ?? ''}`.trimEnd(),
      hint: 'are these nodes of this machine, and may the container use them?',
    })
  }
  if (personality !== undefined) {
    const { domain } = personality
    steps.push({ op: 'personality', domain: DOMAINS[domain], about: `set the personality ${domain}` })
  }
  return steps
}

function schedulerStep({ policy, flags = [], nice = 0, priority = 0, ...times }: OciScheduler): Step {
  return {
    op: 'scheduler',
    policy: POLICIES[policy],
    flags: flags.reduce<number>((all, flag) => all | SCHEDULER_FLAGS[flag], 0),
    // A register of 32 bits: the kernel reads it as signed.
    nice: nice >>> 0,
    priority,
    runtime: times.runtime ?? 0,
    deadline: times.deadline ?? 0,
    period: times.period ?? 0,
    about: `set the scheduling policy ${policy}`,
    hint: 'real-time policies need CAP_SYS_NICE on the host, and a deadline its share of every processor',
  }
}

/** `0-3,7` as the kernel's bit masks have it: words of 64 bits, the lowest first. */
export function bitMask(list: string): Uint8Array {
  const numbers = list
    .split(',')
    .filter((range) => range.trim() !== '')
    .flatMap((range) => {
      const [first = 0, last = first] = range.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, index) => first + index)
    })
  const bytes = new Uint8Array(Math.ceil((Math.max(-1, ...numbers) + 1) / 64) * 8)
  for (const number of numbers) bytes[number >> 3] = (bytes[number >> 3] ?? 0) | (1 << (number & 7))
  return bytes
}

/** AppArmor's profile and SELinux's label of the command; the file is opened while /proc is the host's. */
export function labelSteps({ apparmorProfile, selinuxLabel }: OciProcess): {
  readonly open: Step[]
  readonly set: Step[]
} {
  const labels: [slot: FdSlot, file: string, text: string, about: string][] = []
  if (apparmorProfile !== undefined && apparmorProfile !== UNCONFINED) {
    const about = `set the AppArmor profile ${apparmorProfile}`
    labels.push(['fd:apparmor', 'attr/apparmor/exec', `exec ${apparmorProfile}`, about])
  }
  if (selinuxLabel !== undefined) {
    labels.push(['fd:selinux', 'attr/exec', selinuxLabel, `set the SELinux label ${selinuxLabel}`])
  }
  return {
    open: labels.map(([fd, file, , about]): Step => ({ op: 'open_self', fd, file, about })),
    set: labels.map(([fd, , bytes, about]): Step => ({ op: 'write_fd', fd, bytes, about, hint: 'is it loaded?' })),
  }
}

/** What AppArmor calls having no profile: a host without it has nothing else. */
const UNCONFINED = 'unconfined'
