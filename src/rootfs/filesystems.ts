import type { OciMount } from '../model/config.ts'
import { FSCONFIG, MOUNT_ATTR, MS, OPEN_TREE_CLONE } from '../model/linux.ts'
import type { FdSlot, Step } from '../model/step.ts'
import type { ParsedOptions } from './mount-options.ts'

export interface MountContext {
  readonly ownUser: boolean
  readonly joinsUser: boolean
  readonly mounts: 'own' | 'joined' | 'host'
  /** Namespace types that are made for this container. */
  readonly fresh: ReadonlySet<string>
  /** The mount of this destination is prepared elsewhere as this slot and sent first. */
  readonly prepared: ReadonlyMap<string, FdSlot>
  /** A directory of the host where the child may mount for a moment, before the root is there. */
  readonly workAt: string
  /** config.json is a caller's: it is followed to the letter, as runc reads it. Absent: it is our own. */
  readonly literal?: Literal
}

export interface Literal {
  /** MS_* of bind mounts that name none. */
  readonly propagation: number
  /** The label of what is mounted (linux.mountLabel). */
  readonly label?: string
  /**
   * The order of mountinfo: that in which mounts were placed; from Linux 6.8 on that in which they were made, and only from
   * 6.15 on one without a place can be cloned, which makes it anew.
   */
  readonly listed: 'as-placed' | 'as-made-if-placed' | 'as-made'
}

/** Of the host's own namespaces, made by the stage: from a user namespace the child could not. */
export function hostsOwn(type: string, options: ParsedOptions, slot: FdSlot): Step[] {
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
export function joinedOnes(type: string, options: ParsedOptions, slot: FdSlot): Step[] {
  return stageMade(type === 'proc' ? 'fsopen_pid' : 'fsopen', type, options, slot)
}

function stageMade(op: 'fsopen' | 'fsopen_pid', type: string, options: ParsedOptions, slot: FdSlot): Step[] {
  const fs: FdSlot = `${slot}fs`
  return [
    { op, fs, type },
    ...dataSteps(fs, type, options.data, `mount ${type}`),
    { op: 'fsconfig', fs, command: FSCONFIG.CMD_CREATE, key: '', value: '' },
    { op: 'fsmount', mount: slot, fs, attributes: options.set },
  ]
}

/** fsconfig(2) takes texts of up to 255 bytes. */
const LONGEST_VALUE = 255

/** A filesystem of the child's own as the mount `slot`, without a place yet. */
export function freshSteps(
  mount: OciMount,
  type: string,
  options: ParsedOptions,
  slot: FdSlot,
  index: number,
  context: MountContext,
): Step[] {
  const data = withLabel(type, options.data, context)
  // What is put into a read-only one is still to come.
  const attributes =
    context.literal !== undefined && isLate(type, options) ? options.set & ~MOUNT_ATTR.RDONLY : options.set
  const long = data.some(([, value]) => value !== undefined && Buffer.byteLength(value) > LONGEST_VALUE)
  if (type === 'overlay' || long || options.flags !== 0) {
    return byMount(mount, type, { ...options, set: attributes, data }, slot, context.workAt)
  }
  // One after the other: a caller's list may be long.
  const fs: FdSlot = context.literal === undefined ? `fd:fs${index}` : 'fd:fs'
  const about = `mount ${type} on ${mount.destination}`
  const steps: Step[] = [
    { op: 'fsopen', fs, type, about },
    // What /proc/mounts shows in the first column.
    { op: 'fsconfig', fs, command: FSCONFIG.SET_STRING, key: 'source', value: mount.source ?? type, about },
  ]
  steps.push(
    ...dataSteps(fs, type, data, about),
    { op: 'fsconfig', fs, command: FSCONFIG.CMD_CREATE, key: '', value: '', about, ...hintFor(type) },
    { op: 'fsmount', mount: slot, fs, attributes, about, ...hintFor(type) },
  )
  if (context.literal !== undefined) steps.push({ op: 'close', fd: fs })
  return steps
}

function dataSteps(fs: FdSlot, type: string, data: ParsedOptions['data'], about: string): Step[] {
  return data.map(([key, value]): Step => {
    const command = value === undefined ? FSCONFIG.SET_FLAG : FSCONFIG.SET_STRING
    return { op: 'fsconfig', fs, command, key, value: value ?? '', about, hint: `is ${key} an option of ${type}?` }
  })
}

/** The label of SELinux for filesystems that have none of their own (mount(8), `context=`). */
function withLabel(type: string, data: ParsedOptions['data'], { literal }: MountContext): ParsedOptions['data'] {
  if (literal?.label === undefined || !['tmpfs', 'mqueue', 'devpts', 'overlay'].includes(type)) return data
  return [...data, ['context', literal.label]]
}

/** By the older call, whose options are a page: for a moment with a place, then only a descriptor as all others. */
function byMount(mount: OciMount, type: string, options: ParsedOptions, slot: FdSlot, at: string): Step[] {
  const about = `mount ${type} on ${mount.destination}`
  const data = options.data.map(([key, value]) => (value === undefined ? key : `${key}=${value}`)).join(',')
  const { set, clear, flags } = options
  return [
    {
      op: 'mount',
      source: mount.source ?? type,
      target: at,
      type,
      flags,
      data,
      about,
      hint: `are these options of ${type}?`,
    },
    { op: 'open_tree', fd: slot, dir: 'cwd', path: at, flags: OPEN_TREE_CLONE, about },
    { op: 'umount', target: at, about },
    { op: 'mount_setattr', mount: slot, at: 0, set, clear, propagation: MS.PRIVATE, userns: 'none', about },
  ]
}

function hintFor(type: string): { hint?: string } {
  if (type === 'proc' || type === 'sysfs') {
    return {
      hint: `the host hides parts of its own ${type}, as in a container without --privileged; --userns=host may help`,
    }
  }
  return {}
}

/** Read-only when all is in it. */
export function isLate(type: string, options: ParsedOptions): boolean {
  return type === 'tmpfs' && (options.set & MOUNT_ATTR.RDONLY) !== 0
}
