import type { OciConfig } from '../model/config.ts'
import type { LaunchSpec } from '../model/launch.ts'
import { type FdSlot, type FieldKind, OPS, type Step } from '../model/step.ts'
import type { StdioSteps } from './stdio.ts'

/** Of which a held container has its own, all of them. */
const NAMESPACES = ['user', 'mount', 'pid', 'network', 'ipc', 'uts', 'cgroup'] as const

/**
 * Whether the plan of this container can be begun before it is needed: the first part of it then depends on nothing but
 * the plan itself, and leaves nothing on the disk. So it is for what `run()` of the library starts by default.
 */
export function canBeHeld({ config, rootfs, stdio, files, kernel, ...rest }: LaunchSpec): boolean {
  const { oci, detach, joins, network, health, cgroup } = rest
  if ([oci, detach, joins, network, health, cgroup?.scope, config.hooks].some((part) => part !== undefined))
    return false
  // Its overlay needs no private mounts of the stage, which would be as old as the stage.
  const recent = kernel.major > 6 || (kernel.major === 6 && kernel.minor >= 15)
  if (!recent || rootfs.kind !== 'overlay' || stdio.kind !== 'direct' || files.length === 0) return false
  const own = NAMESPACES.every((wanted) =>
    config.linux?.namespaces?.some(({ type, path }) => type === wanted && path === undefined),
  )
  return own && hasOwn(config, '/dev', 'tmpfs') && hasOwn(config, '/proc', 'proc')
}

function hasOwn({ mounts = [] }: OciConfig, place: string, wanted: string): boolean {
  const there = mounts.filter(({ destination }) => destination === place)
  return there.length === 1 && there[0]?.type === wanted && there[0].options?.includes('bind') !== true
}

/** Where the stage waits for its caller. */
export function holdStep(title: string): Step {
  return { op: 'hold', title, about: 'wait for the caller' }
}

/** Where it gets the descriptors of its caller: all else is done by then. */
export const TAKE: Step = { op: 'take', about: 'take the streams of the caller' }

/** What these steps have opened is closed beside the child's work: some of it takes a while, and nobody shall wait for that. */
export function closeMade(steps: readonly Step[]): Step[] {
  const made = new Set<FdSlot>()
  for (const step of steps) {
    const values = step as unknown as Readonly<Record<string, FdSlot>>
    for (const [field, kind] of Object.entries<FieldKind>(OPS[step.op].fields)) {
      const slot = values[field]
      if (kind === 'o' && slot !== undefined) made.add(slot)
    }
  }
  return [...made].map((fd) => ({ op: 'close', fd }))
}

/** The child is born before the streams are there. */
export function handedStreams({ inherited }: Pick<StdioSteps, 'inherited'>): {
  readonly parent: readonly Step[]
  readonly child: readonly Step[]
} {
  return {
    parent: inherited.map((fd): Step => ({ op: 'send_fd', fd })),
    child: inherited.map((fd): Step => ({ op: 'recv_fd', fd })),
  }
}

/** The filesystem of /etc/hosts and its kin is the root until that of the container is there. */
export function leaveHostsMounts(): Step {
  return { op: 'pivot_root', root: 'fd:files', about: "leave the host's mounts" }
}
