import type { OciConfig, OciMount } from '../model/config.ts'
import type { LaunchSpec, NetworkLaunch } from '../model/launch.ts'
import { type FdSlot, type FieldKind, MEETING, OPS, type Plan, type Step } from '../model/step.ts'
import type { DevSteps } from '../rootfs/dev.ts'
import type { FileSteps } from '../rootfs/files.ts'
import { LAYERS, SCRATCH } from '../overlayfs/steps.ts'
import { protectSteps } from '../rootfs/protect.ts'
import { SHARED_MEMORY } from '../rootfs/shared-memory.ts'
import type { StdioSteps } from './stdio.ts'

/** Of which a held container has its own, all of them. */
const NAMESPACES = ['user', 'mount', 'pid', 'network', 'ipc', 'uts', 'cgroup'] as const

/**
 * Whether the plan of this container can be begun before it is needed: the first part of it then depends on nothing but
 * the plan itself, and leaves nothing on the disk. So it is for what `run()` of the library starts by default.
 */
export function canBeHeld({ config, rootfs, stdio, files, kernel, ...rest }: LaunchSpec): boolean {
  const { oci, detach, joins, network, health, cgroup } = rest
  if ([oci, detach, joins, health, cgroup?.scope, config.hooks].some((part) => part !== undefined)) return false
  if (network !== undefined && !isPluggedIn(network)) return false
  // Its overlay needs no private mounts of the stage, which would be as old as the stage.
  const recent = kernel.major > 6 || (kernel.major === 6 && kernel.minor >= 15)
  if (!recent || rootfs.kind !== 'overlay' || stdio.kind !== 'direct' || files.length === 0) return false
  const own = NAMESPACES.every((wanted) =>
    config.linux?.namespaces?.some(({ type, path }) => type === wanted && path === undefined),
  )
  return own && KERNELS.every(([place, type]) => isOwn(config, place, type)) && hasPlainMemory(config)
}

/** Its links can be made by anybody who has its addresses, and nothing of the host leads to them. */
function isPluggedIn({ links, cni, firewall, forwards }: NetworkLaunch): boolean {
  if (cni !== undefined || firewall !== undefined || forwards !== undefined) return false
  return links.every(({ driver, onIndex }) => driver === 'bridge' && onIndex !== undefined)
}

/** Whether its root filesystem is partly in the container's directory: without that it can be made before there is one. */
export function needsDirectory(rootfs: LaunchSpec['rootfs']): boolean {
  return rootfs.kind === 'overlay' && rootfs.upper === 'directory'
}

/** What the kernel and the engine fill: assembled before the root filesystem is there. */
const KERNELS = [
  ['/proc', 'proc'],
  ['/dev', 'tmpfs'],
  ['/sys', 'sysfs'],
] as const

/** A filesystem of its own, and nothing of the host is put below it: covers would come before that. */
function isOwn({ mounts = [] }: OciConfig, place: string, wanted: string): boolean {
  const there = mounts.filter(({ destination }) => destination === place)
  const below = mounts.filter(({ destination }) => destination.startsWith(`${place}/`))
  const isBind = ({ type, options = [] }: OciMount): boolean =>
    type === undefined || [type, ...options].some((word) => word === 'bind' || word === 'rbind')
  return there.length === 1 && there[0]?.type === wanted && ![...there, ...below].some(isBind)
}

/** The shared memory that every container has by default, with nothing below it: it serves as the first root. */
function hasPlainMemory({ mounts = [] }: OciConfig): boolean {
  const isIn = ({ destination }: OciMount): boolean => `${destination}/`.startsWith(`${SHARED_MEMORY}/`)
  const [only, ...others] = mounts.filter(isIn)
  return only?.destination === SHARED_MEMORY && only.type === 'tmpfs' && only.source === 'shm' && others.length === 0
}

const isKernels = (path: string): boolean => KERNELS.some(([place]) => path.startsWith(`${place}/`))

/** Steps that a held plan has at other places than an ordinary one. */
export interface Parts {
  readonly directory: Step
  readonly stdio: StdioSteps
  readonly files: Pick<FileSteps, 'parent' | 'attach' | 'clone'>
  /** Child: enter the root filesystem. */
  readonly enter: Step
  readonly dev: Pick<DevSteps, 'make' | 'receive' | 'covers' | 'prepared'>
  readonly delegate: readonly Step[]
  readonly rootfs: { readonly make: readonly Step[] }
  /** Absolute, of the host. */
  readonly attachAt: string
  /** Child: each mount onto its place. */
  readonly placing: readonly Step[]
  readonly sysctls: readonly Step[]
  /** Child: from the last meeting point to the exec. */
  readonly last: readonly Step[]
}

/** Where they stand, in the order of the recipe. */
export interface Way {
  readonly directory: readonly Step[]
  readonly streams: Pick<StdioSteps, 'make' | 'release'>
  readonly hold: readonly Step[]
  readonly dev: Pick<DevSteps, 'make' | 'receive'>
  readonly take: readonly Step[]
  readonly delegate: readonly Step[]
  /** Stage: beside the start of the command. */
  readonly close: readonly Step[]
  /** Child: what is at hand until the root is there. */
  readonly attach: readonly Step[]
  readonly assemble: readonly Step[]
  readonly clone: readonly Step[]
  readonly placing: readonly Step[]
  readonly sysctls: readonly Step[]
  readonly covered: OciConfig
  readonly enter: readonly Step[]
  readonly receive: readonly Step[]
  /** Child: until the stage has done its part, unless it waits for that in `last`. */
  readonly ready: readonly Step[]
  readonly last: readonly Step[]
  readonly late: Pick<Plan, 'late'>
}

const READY: Step = { op: 'wait', point: MEETING.ready }

/** Nothing waits: the streams are there from the beginning, and the child is born with them. */
export function ordinaryWay(config: OciConfig, parts: Parts): Way {
  const { directory, stdio, files, dev, delegate, placing, sysctls, enter, last } = parts
  const none = { hold: [], take: [], close: [], assemble: [], receive: [], late: {} }
  const { attach, clone } = files
  const own = { attach, clone, dev, delegate, placing, sysctls, covered: config, enter: [enter], ready: [READY], last }
  return { ...none, ...own, directory: [directory], streams: stdio }
}

/**
 * What stands before the hold leaves nothing on the disk. Behind it the root filesystem is made, and the child goes as far
 * as to the command itself, while the caller still decides whether this is what it wants, and takes what the container
 * needs on the disk; volumes may be made and filled until `take`.
 */
export function heldWay(spec: LaunchSpec, parts: Parts): Way {
  const { config, rootfs, events, id } = spec
  const { directory, stdio, files, dev, sysctls, enter, last } = parts
  const isNeeded = needsDirectory(rootfs)
  const slotOf = (place: string): FdSlot =>
    dev.prepared.get(place) ?? `fd:mount${config.mounts?.findIndex(({ destination }) => destination === place) ?? 0}`
  const firstRoot = slotOf(SHARED_MEMORY)
  const { early, late, covered } = assembleEarly(config, { placing: parts.placing, slotOf, firstRoot }, dev.covers)
  const hold: Step = { op: 'hold', title: `tscrun: ${events?.name ?? id.slice(0, 12)}`, about: 'wait for the caller' }
  const attach: Step = {
    op: 'move_mount',
    mount: firstRoot,
    dir: 'cwd',
    path: parts.attachAt,
    about: 'attach the first root',
  }
  const leave: Step = { op: 'pivot_root', root: firstRoot, put: '', about: "leave the host's mounts" }
  return {
    directory: [],
    streams: { make: [], release: [] },
    hold: [
      ...dev.make,
      ...parts.delegate,
      ...closeMade([...files.parent, ...dev.make]),
      hold,
      ...(isNeeded ? [directory] : []),
    ],
    delegate: [],
    dev: { make: [], receive: [] },
    // The child is born before the streams are there.
    take: [
      ...stdio.make,
      ...stdio.inherited.map((fd): Step => ({ op: 'send_fd', fd })),
      ...stdio.release,
      ...closeMade(parts.rootfs.make, [LAYERS, SCRATCH]),
      { op: 'take', about: 'wait for the word of the caller' },
      ...(isNeeded ? [] : [directory]),
    ],
    close: [{ op: 'close', fd: LAYERS }],
    // The host's mounts are let go of: nobody shall wait for a filesystem that a waiting process keeps.
    attach: [attach],
    assemble: [
      ...files.clone,
      { op: 'close', fd: 'fd:files' },
      ...dev.receive,
      leave,
      ...sysctls,
      ...early,
      ...last.filter(isAnyTime),
    ],
    clone: [],
    placing: [...late, ...KERNELS.map(([place]): Step => ({ op: 'rmdir', dir: firstRoot, path: place.slice(1) }))],
    sysctls: [],
    covered,
    // Nothing is to be unmounted here, neither by the last descriptor: that would wait for all processors.
    enter: [enter.op === 'pivot_root' ? { ...enter, put: SHARED_MEMORY.slice(1) } : enter],
    receive: stdio.inherited.map((fd): Step => ({ op: 'recv_fd', fd })),
    ready: [],
    last: readyBefore(
      last.filter((step) => !isAnyTime(step)),
      spec.seccomp?.custom === true ? ['seccomp', 'reaper', 'exec'] : ['reaper', 'exec'],
    ),
    late: isNeeded ? {} : { late: SCRATCH },
  }
}

interface Assembly {
  readonly placing: readonly Step[]
  /** The mount of a destination. */
  readonly slotOf: (destination: string) => FdSlot
  readonly firstRoot: FdSlot
}

/**
 * What the child does at its first root, the filesystem that becomes its shared memory: /proc, /dev and /sys with all else
 * below them, and their covers. Each goes to its place with what is on it, and in the end so does the first root.
 */
function assembleEarly(
  config: OciConfig,
  { placing, slotOf, firstRoot }: Assembly,
  covers: FdSlot,
): { readonly early: readonly Step[]; readonly late: readonly Step[]; readonly covered: OciConfig } {
  const early: Step[] = KERNELS.flatMap(([place]): Step[] => [
    { op: 'mkdir', dir: firstRoot, path: place.slice(1), mode: 0o755 },
    { op: 'move_mount', mount: slotOf(place), dir: firstRoot, path: place.slice(1), about: `keep ${place} at hand` },
  ])
  const late: Step[] = []
  let into = late
  for (const step of placing) {
    if (step.op === 'target' && isKernels(step.path)) into = step.path === SHARED_MEMORY ? [] : early
    into.push(into === early && step.op === 'target' ? { ...step, root: firstRoot } : step)
    if (step.op === 'close') into = late
  }
  const linux = config.linux ?? {}
  const only = (wanted: (path: string) => boolean): OciConfig => ({
    ...config,
    linux: {
      ...linux,
      maskedPaths: (linux.maskedPaths ?? []).filter(wanted),
      readonlyPaths: (linux.readonlyPaths ?? []).filter(wanted),
    },
  })
  const covering = protectSteps(only(isKernels), covers).map(
    (step): Step => ('root' in step ? { ...step, root: firstRoot } : step),
  )
  return { early: [...early, ...covering], late, covered: only((path) => !isKernels(path)) }
}

/** Steps that depend on nothing that comes behind the hold, nor does that on them. */
const ANY_TIME: readonly Step['op'][] = ['bounding', 'new_keyring']

function isAnyTime({ op }: Step): boolean {
  return ANY_TIME.includes(op)
}

/** The child waits as late as it can; behind a filter of the user's it might be unable to. */
function readyBefore(last: readonly Step[], ops: readonly Step['op'][]): Step[] {
  const at = last.findIndex(({ op }) => ops.includes(op))
  return [...last.slice(0, at), READY, ...last.slice(at)]
}

/** What these steps have opened is closed where nobody waits: for some of it the kernel waits for all processors. */
function closeMade(steps: readonly Step[], without: readonly FdSlot[] = []): Step[] {
  const made = new Set<FdSlot>()
  for (const step of steps) {
    if (step.op === 'close' && step.fd !== 'cwd' && step.fd !== 'none') made.delete(step.fd)
    const values = step as unknown as Readonly<Record<string, FdSlot>>
    for (const [field, kind] of Object.entries<FieldKind>(OPS[step.op].fields)) {
      const slot = values[field]
      if (kind === 'o' && slot !== undefined) made.add(slot)
    }
  }
  return [...made].filter((fd) => !without.includes(fd)).map((fd) => ({ op: 'close', fd }))
}
