import type { OciConfig, OciMount } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'
import { AT, MOUNT_ATTR, MS, O, OPEN_TREE_CLONE, RESOLVE } from '../model/linux.ts'
import { TARGET, type FdSlot, type Step } from '../model/step.ts'
import { bindSteps, sourceSteps } from './bind.ts'
import { freshSteps, hostsOwn, isLate, joinedOnes, type MountContext, type Literal } from './filesystems.ts'
import { parseMountOptions, type ParsedOptions } from './mount-options.ts'

/** The two sides of a container's mounts: what the stage must prepare, in the order the child receives it. */
export interface MountSteps {
  readonly parent: readonly Step[]
  /** Child, before it joins a user namespace: a procfs of a pid namespace that belongs to the host's. */
  readonly first: readonly Step[]
  /** Child, while the stage still builds the root: filesystems that need nothing of it. */
  readonly early: readonly Step[]
  /** Child, once the root is there. */
  readonly child: readonly Step[]
  /** Child, when nothing more is put into them: what is read-only from here on. */
  readonly late: readonly Step[]
}

/** Kernel filesystems that a user namespace may mount only with the namespace that they show. */
const SHOWS = { proc: 'pid', sysfs: 'network', mqueue: 'ipc', cgroup2: 'cgroup' } as const

/** Every mount of the config, in its order (config.md: "MUST mount entries in the listed order"). */
export function mountSteps(config: OciConfig, context: MountContext): MountSteps {
  const steps = { parent: [], first: [], early: [], child: [], late: [] } as { [list in keyof MountSteps]: Step[] }
  for (const [index, mount] of (config.mounts ?? []).entries()) {
    const made = context.prepared.get(mount.destination)
    const type = fsTypeOf(mount)
    const options = parseMountOptions(mount.options ?? [])
    if (options.remount) {
      steps.child.push(...remountSteps(mount, options, index))
      continue
    }
    const slot: FdSlot = made ?? `fd:mount${index}`
    const toChild = { op: 'send_fd', fd: slot } as const
    if (made !== undefined) {
      // Prepared by the stage and already received.
    } else if (type === 'bind') {
      const opened = childBinds(mount, options, context)
      const bind = bindSteps(mount, options, { slot, index, propagation: context.literal?.propagation, opened })
      if (opened) {
        steps.early.push(...sourceSteps(mount, slot))
        steps.child.push(...bind)
      } else {
        steps.parent.push(
          ...bind,
          toChild,
          ...(context.literal === undefined ? [] : [{ op: 'close', fd: slot } as const]),
        )
        steps.child.push({ op: 'recv_fd', fd: slot })
      }
    } else if (mustBeHosts(type, context)) {
      const joined =
        config.linux?.namespaces?.some((namespace) => namespace.type === SHOWS[type as keyof typeof SHOWS]) === true
      steps.parent.push(...(joined ? joinedOnes(type, options, slot) : hostsOwn(type, options, slot)), toChild)
      steps.child.push({ op: 'recv_fd', fd: slot })
    } else {
      const list = context.joinsUser && type === 'proc' ? steps.first : steps.early
      list.push(...freshSteps(mount, type, options, slot, index, context))
    }
    if (context.literal !== undefined && type !== 'bind' && !mustBeHosts(type, context)) {
      steps.child.push(...inOrder(mount, options, slot, context.literal))
    }
    if (context.literal !== undefined && type === 'tmpfs' && made === undefined)
      steps.child.push(...contentSteps(mount, options, slot))
    const target: FdSlot = context.literal === undefined ? `fd:target${index}` : 'fd:target'
    const again = type === 'bind' ? isFromStage(mount, options, context) : isMadeAgain(options, context)
    const kept = type !== 'bind'
    steps.child.push(...placeSteps(mount, type, { slot, target, again, kept }))
    if (context.literal !== undefined && type !== 'bind') {
      steps.child.push(...propagationSteps(mount, options, slot))
      if (isLate(type, options)) steps.late.push(...readonlySteps(mount, slot))
    }
    // Those of the kernel are used once more, for settings and terminals.
    const done = type === 'bind' || (type === 'tmpfs' && made === undefined && !isLate(type, options))
    if (context.literal !== undefined && done) steps.child.push({ op: 'close', fd: slot })
  }
  return steps
}

function fsTypeOf(mount: OciMount): string {
  const options = mount.options ?? []
  if (options.includes('bind') || options.includes('rbind')) return 'bind'
  // config.json says `cgroup` for either version; here it is always v2.
  return mount.type === 'cgroup' ? 'cgroup2' : (mount.type ?? 'bind')
}

/** Mounting /proc of the host's pid namespace from an own user namespace is EPERM: the host's is handed in. */
function mustBeHosts(type: string, context: MountContext): boolean {
  if (!context.ownUser || !Object.hasOwn(SHOWS, type)) return false
  return !context.fresh.has(SHOWS[type as keyof typeof SHOWS])
}

/**
 * The child can bind what it sees as the host does, in the order of the list: with the host's own rights, from its own copy
 * of the host's mounts. A mount that stays a peer of the host's must be made of the host's itself, and id mappings are
 * made by who sees every process in /proc.
 */
function childBinds({ uidMappings = [] }: OciMount, options: ParsedOptions, context: MountContext): boolean {
  const { literal, ownUser, mounts } = context
  const simple = options.propagation !== MS.SHARED && options.idmap === 'none' && uidMappings.length === 0
  return literal !== undefined && !ownUser && mounts === 'own' && simple
}

/** Made by the stage of the host's own mounts, before the list has come to it. */
function isFromStage(mount: OciMount, options: ParsedOptions, context: MountContext): boolean {
  const { literal, ownUser, mounts } = context
  if (literal === undefined || ownUser || mounts !== 'own') return false
  return !childBinds(mount, options, context) && options.propagation !== MS.UNBINDABLE
}

/** Linux 6.8 to 6.14 clone only what has a place: as `inOrder`, but there. */
function isMadeAgain({ propagation }: ParsedOptions, { literal }: MountContext): boolean {
  return literal?.listed === 'as-made-if-placed' && propagation !== MS.UNBINDABLE
}

/**
 * Since Linux 6.8 mountinfo lists mounts in the order in which they were made, and config.md wants that of the list: what
 * was made beforehand is made again as a clone of itself, which is cheap.
 */
function inOrder({ destination }: OciMount, { propagation }: ParsedOptions, slot: FdSlot, literal: Literal): Step[] {
  if (literal.listed !== 'as-made' || propagation === MS.UNBINDABLE) return []
  const flags = OPEN_TREE_CLONE | AT.EMPTY_PATH
  return [{ op: 'open_tree', fd: slot, dir: slot, path: '', flags, about: `mount ${destination} in its turn` }]
}

/** What a tmpfs covers: its mode is kept where no option names one, its content where that is asked for. */
function contentSteps(mount: OciMount, options: ParsedOptions, slot: FdSlot): Step[] {
  const steps: Step[] = []
  const root: FdSlot = 'fd:rootfs'
  const path = mount.destination
  if (options.copyUp) {
    const hint = 'is the filesystem large enough for what lies there?'
    steps.push({ op: 'copy_up', root, path, into: slot, about: `copy what ${path} covers`, hint })
  } else if (!options.data.some(([key]) => key === 'mode')) {
    steps.push({ op: 'copy_mode', root, path, to: slot, about: `give ${path} the mode of what it covers` })
  }
  return steps
}

interface Placement {
  readonly slot: FdSlot
  readonly target: FdSlot
  /** A mount of another namespace can be cloned only where it has a place: then the clone is what stays. */
  readonly again: boolean
  /** It is used later on. */
  readonly kept: boolean
}

/**
 * /proc, /sys and /dev must be what they seem: a link there would move the mount (CVE-2023-27561, CVE-2025-31133).
 */
function placeSteps(mount: OciMount, type: string, { slot, target, again, kept }: Placement): Step[] {
  const strict = type === 'proc' || type === 'sysfs' || mount.destination === '/dev'
  const about = `place ${mount.destination}`
  const place: Step = { op: 'move_mount', mount: slot, dir: target, path: '', about }
  const clone: FdSlot = 'fd:clone'
  const flags = OPEN_TREE_CLONE | AT.EMPTY_PATH | AT.RECURSIVE
  return [
    {
      op: 'target',
      fd: target,
      root: 'fd:rootfs',
      path: mount.destination,
      kind: strict ? TARGET.plainDirectory : type === 'bind' ? TARGET.same : TARGET.directory,
      mode: 0o755,
      like: slot,
      about: `prepare the mount point ${mount.destination}`,
      hint: strict
        ? `${mount.destination} of this image is not a plain directory`
        : 'a directory is mounted on a directory, a file on a file',
    },
    place,
    ...(again
      ? ([
          { op: 'open_tree', fd: clone, dir: slot, path: '', flags, about: `mount ${mount.destination} in its turn` },
          { op: 'detach_mount', mount: slot, about },
          { ...place, mount: clone },
          ...(kept
            ? ([{ op: 'open_tree', fd: slot, dir: clone, path: '', flags: AT.EMPTY_PATH, about }] as const)
            : []),
          { op: 'close', fd: clone },
        ] as const)
      : []),
    { op: 'close', fd: target },
  ]
}

function propagationSteps(mount: OciMount, { propagation }: ParsedOptions, slot: FdSlot): Step[] {
  // Nobody else has a peer of a new mount.
  if (propagation === 0 || propagation === MS.PRIVATE || propagation === MS.SLAVE) return []
  const about = `set the propagation of ${mount.destination}`
  return [{ op: 'mount_setattr', mount: slot, at: 0, set: 0, clear: 0, propagation, userns: 'none', about }]
}

function readonlySteps(mount: OciMount, slot: FdSlot): Step[] {
  const about = `make ${mount.destination} read-only`
  return [
    {
      op: 'mount_setattr',
      mount: slot,
      at: 0,
      set: MOUNT_ATTR.RDONLY,
      clear: 0,
      propagation: 0,
      userns: 'none',
      about,
    },
  ]
}

/** New options for what is mounted there already, by an earlier entry or below a recursive bind. */
function remountSteps(mount: OciMount, options: ParsedOptions, index: number): Step[] {
  const unknown = options.data[0]
  if (unknown !== undefined || options.flags !== 0) {
    throw new TscrunError(
      'INVALID_CONFIG',
      `config.json: mounts[${index}].options: ${JSON.stringify(unknown?.[0] ?? 'iversion, acl')} cannot be changed by remount`,
      { subject: `mounts[${index}].options`, hint: 'give the option to the entry that mounts it' },
    )
  }
  const slot: FdSlot = `fd:mount${index}`
  const about = `change the options of ${mount.destination}`
  const { set, clear, propagation } = options
  return [
    {
      op: 'open',
      fd: slot,
      dir: 'fd:rootfs',
      path: mount.destination,
      flags: O.PATH,
      mode: 0,
      resolve: RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS,
      about,
    },
    { op: 'mount_setattr', mount: slot, at: 0, set, clear, propagation, userns: 'none', about, hint: 'is it a mount?' },
  ]
}
