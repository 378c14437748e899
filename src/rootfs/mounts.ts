import type { OciConfig, OciMount } from '../model/config.ts'
import { AT, FSCONFIG, MOUNT_ATTR, MS, OPEN_TREE_CLONE } from '../model/linux.ts'
import { TARGET, type FdSlot, type Step } from '../model/step.ts'
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
}

/** Kernel filesystems that a user namespace may mount only with the namespace that they show. */
const SHOWS = { proc: 'pid', sysfs: 'network', mqueue: 'ipc', cgroup2: 'cgroup' } as const

export interface MountContext {
  readonly ownUser: boolean
  readonly joinsUser: boolean
  /** Namespace types that are made for this container. */
  readonly fresh: ReadonlySet<string>
  /** The mount of this destination is prepared elsewhere as this slot and sent first. */
  readonly prepared: ReadonlyMap<string, FdSlot>
}

/** Every mount of the config, in its order (config.md: "MUST mount entries in the listed order"). */
export function mountSteps(config: OciConfig, context: MountContext): MountSteps {
  const parent: Step[] = []
  const first: Step[] = []
  const early: Step[] = []
  const child: Step[] = []
  for (const [index, mount] of (config.mounts ?? []).entries()) {
    const made = context.prepared.get(mount.destination)
    const type = fsTypeOf(mount)
    const options = parseMountOptions(mount.options ?? [])
    const slot: FdSlot = made ?? `fd:mount${index}`
    if (made !== undefined) {
      // Prepared by the stage and already received.
    } else if (type === 'bind') {
      parent.push(...bindSteps(mount, options, slot), { op: 'send_fd', fd: slot })
      child.push({ op: 'recv_fd', fd: slot })
    } else if (mustBeHosts(type, context)) {
      const joined =
        config.linux?.namespaces?.some((namespace) => namespace.type === SHOWS[type as keyof typeof SHOWS]) === true
      parent.push(...(joined ? joinedOnes(type, options, slot) : hostsOwn(type, options, slot)), {
        op: 'send_fd',
        fd: slot,
      })
      child.push({ op: 'recv_fd', fd: slot })
    } else {
      const list = context.joinsUser && type === 'proc' ? first : early
      list.push(...freshSteps(mount, type, options, slot, index))
    }
    child.push(...placeSteps(mount, type, slot, index))
  }
  return { parent, first, early, child }
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

function hostsOwn(type: string, options: ParsedOptions, slot: FdSlot): Step[] {
  if (type === 'sysfs') {
    // The tree the host sees, without what lies below: a fresh one would show the stage's own network.
    return [
      { op: 'open_tree', fd: slot, dir: 'cwd', path: '/sys', flags: OPEN_TREE_CLONE },
      { op: 'mount_setattr', mount: slot, at: 0, set: options.set, clear: 0, propagation: MS.PRIVATE, userns: 'none' },
    ]
  }
  return stageMade('fsopen', type, options, slot)
}

/** What the stage opens shows the namespace it has entered; of a pid namespace only its children are (setns(2)). */
function joinedOnes(type: string, options: ParsedOptions, slot: FdSlot): Step[] {
  return stageMade(type === 'proc' ? 'fsopen_pid' : 'fsopen', type, options, slot)
}

function stageMade(op: 'fsopen' | 'fsopen_pid', type: string, options: ParsedOptions, slot: FdSlot): Step[] {
  const fs: FdSlot = `${slot}fs`
  return [
    { op, fs, type },
    { op: 'fsconfig', fs, command: FSCONFIG.CMD_CREATE, key: '', value: '' },
    { op: 'fsmount', mount: slot, fs, attributes: options.set },
  ]
}

function bindSteps(mount: OciMount, options: ParsedOptions, slot: FdSlot): Step[] {
  const source = mount.source ?? ''
  const recursive = options.recursive ? AT.RECURSIVE : 0
  const steps: Step[] = [
    {
      op: 'open_tree',
      fd: slot,
      dir: source.startsWith('/') ? 'cwd' : 'fd:directory',
      path: source,
      flags: OPEN_TREE_CLONE | recursive,
      about: `open ${source} for ${mount.destination}`,
    },
    // A clone of a shared mount is shared too: what the container mounts must not reach the host unasked.
    {
      op: 'mount_setattr',
      mount: slot,
      at: recursive,
      set: options.set,
      clear: options.clear,
      propagation: options.propagation || MS.PRIVATE,
      userns: 'none',
      about: `set the options of ${mount.destination}`,
    },
  ]
  if (options.idmap) {
    steps.push({
      op: 'mount_setattr',
      mount: slot,
      at: recursive,
      set: MOUNT_ATTR.IDMAP,
      clear: 0,
      propagation: 0,
      userns: 'fd:userns',
      about: `shift the owners of ${source}`,
      hint: 'its filesystem cannot be id-mapped: use --userns=host, or a directory on ext4, xfs, btrfs',
    })
  }
  return steps
}

function freshSteps(mount: OciMount, type: string, options: ParsedOptions, slot: FdSlot, index: number): Step[] {
  const fs: FdSlot = `fd:fs${index}`
  const about = `mount ${type} on ${mount.destination}`
  const steps: Step[] = [
    { op: 'fsopen', fs, type, about },
    // What /proc/mounts shows in the first column.
    { op: 'fsconfig', fs, command: FSCONFIG.SET_STRING, key: 'source', value: mount.source ?? type, about },
  ]
  for (const [key, value] of options.data) {
    const command = value === undefined ? FSCONFIG.SET_FLAG : FSCONFIG.SET_STRING
    steps.push({ op: 'fsconfig', fs, command, key, value: value ?? '', about, hint: `is ${key} an option of ${type}?` })
  }
  steps.push(
    { op: 'fsconfig', fs, command: FSCONFIG.CMD_CREATE, key: '', value: '', about, ...hintFor(type) },
    { op: 'fsmount', mount: slot, fs, attributes: options.set, about, ...hintFor(type) },
  )
  return steps
}

function hintFor(type: string): { hint?: string } {
  if (type === 'proc' || type === 'sysfs') {
    return {
      hint: `the host hides parts of its own ${type}, as in a container without --privileged; --userns=host may help`,
    }
  }
  return {}
}

/** /proc, /sys and /dev must be what they seem: a link there would move the mount (CVE-2023-27561, CVE-2025-31133). */
function placeSteps(mount: OciMount, type: string, slot: FdSlot, index: number): Step[] {
  const target: FdSlot = `fd:target${index}`
  const strict = type === 'proc' || type === 'sysfs' || mount.destination === '/dev'
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
    { op: 'move_mount', mount: slot, dir: target, path: '', about: `place ${mount.destination}` },
    { op: 'close', fd: target },
  ]
}
