import type { RootfsSource } from '../model/launch.ts'
import { AT, CLONE, FSCONFIG, MOUNT_ATTR, MS, O, OPEN_TREE_CLONE } from '../model/linux.ts'
import type { FdSlot, Step } from '../model/step.ts'

export interface OverlayContext {
  /** The container's own directory: `lower`, `upper`, `work` are made in it. */
  readonly directory: string
  /** Host ids of the container's root. */
  readonly rootUid: number
  readonly rootGid: number
  readonly kernel: { readonly major: number; readonly minor: number }
}

const IDMAP_HINT = 'the filesystem or kernel cannot shift owners; --userns=host does without'

/**
 * Builds the root filesystem as the mount `fd:rootfs`, inside the stage's private mount namespace, which is left and
 * forgotten at the end: nothing of this is ever in the host's mount table.
 */
export function overlaySteps(rootfs: RootfsSource & { kind: 'overlay' }, context: OverlayContext): Step[] {
  const { rootUid, rootGid } = context
  const inMemory = rootfs.upper === 'tmpfs'
  const at = inMemory ? 'scratch/' : ''
  const steps: Step[] = [
    ...enterPrivateMounts(),
    // Opened anew: a descriptor from before names the host's copy of the mount, where nothing can be attached (EINVAL).
    { op: 'open', fd: 'fd:own', dir: 'cwd', path: context.directory, flags: O.PATH | O.DIRECTORY, mode: 0, resolve: 0 },
    { op: 'fchdir', dir: 'fd:own' },
    { op: 'mkdir', dir: 'cwd', path: 'lower', mode: 0o700, tolerate: ['EEXIST'], because: 'made at an earlier start' },
  ]
  if (inMemory) {
    steps.push(
      { op: 'mkdir', dir: 'cwd', path: 'scratch', mode: 0o700, tolerate: ['EEXIST'], because: 'made at an earlier start' },
      { op: 'mount', source: 'tscrun', target: 'scratch', type: 'tmpfs', flags: 0, data: 'mode=0700', about: 'mount memory for what the container writes' },
    )
  }
  for (const [name, mode] of [['upper', rootfs.mode], ['work', 0o700]] as const) {
    steps.push({ op: 'mkdir', dir: 'cwd', path: `${at}${name}`, mode, tolerate: ['EEXIST'], because: 'made at an earlier start' })
  }
  // The upper belongs to the container's root and is not id-mapped: an id-mapped upper is read-only (EOVERFLOW).
  steps.push({ op: 'chown', dir: 'cwd', path: `${at}upper`, uid: rootUid, gid: rootGid })
  steps.push(...lowerSteps(rootfs))
  steps.push(...(hasLowerdirPlus(context.kernel) ? newMount(rootfs, at) : oldMount(rootfs, at)))
  return steps
}

/** All layers lie in one directory: one id-mapped view of it serves every one of them. */
function lowerSteps(rootfs: RootfsSource & { kind: 'overlay' }): Step[] {
  const steps: Step[] = [{ op: 'open_tree', fd: 'fd:lower', dir: 'cwd', path: rootfs.base, flags: OPEN_TREE_CLONE }]
  if (rootfs.idmap) {
    steps.push({
      op: 'mount_setattr',
      mount: 'fd:lower',
      at: 0,
      set: MOUNT_ATTR.IDMAP,
      clear: 0,
      propagation: 0,
      userns: 'fd:userns',
      about: `shift the owners of ${rootfs.base}`,
      hint: IDMAP_HINT,
    })
  }
  // Before Linux 6.15 overlay refuses a layer that is not attached anywhere.
  steps.push({ op: 'move_mount', mount: 'fd:lower', dir: 'cwd', path: 'lower' })
  return steps
}

/** `lowerdir+` came with Linux 6.8 (6.7 lacked the fixes for it): no length limit, no escaping. */
function hasLowerdirPlus(kernel: OverlayContext['kernel']): boolean {
  return kernel.major > 6 || (kernel.major === 6 && kernel.minor >= 8)
}

function newMount(rootfs: RootfsSource & { kind: 'overlay' }, at: string): Step[] {
  const set = (key: string, value: string): Step => ({ op: 'fsconfig', fs: 'fd:overlay', command: FSCONFIG.SET_STRING, key, value })
  const steps: Step[] = [{ op: 'fsopen', fs: 'fd:overlay', type: 'overlay' }, set('source', 'overlay')]
  for (const layer of rootfs.layers.toReversed()) steps.push(set('lowerdir+', layerPath(layer)))
  steps.push(set('upperdir', `${at}upper`), set('workdir', `${at}work`))
  if (rootfs.volatile) steps.push({ op: 'fsconfig', fs: 'fd:overlay', command: FSCONFIG.SET_FLAG, key: 'volatile', value: '' })
  steps.push(
    { op: 'fsconfig', fs: 'fd:overlay', command: FSCONFIG.CMD_CREATE, key: '', value: '', about: 'assemble the overlay of the layers' },
    { op: 'fsmount', mount: 'fd:rootfs', fs: 'fd:overlay', attributes: 0 },
  )
  return steps
}

/** mount(2) takes one page of options, so a layer gets a name of one number: 500 of them fit. */
function oldMount(rootfs: RootfsSource & { kind: 'overlay' }, at: string): Step[] {
  const tolerate = { tolerate: ['EEXIST'], because: 'made at an earlier start' } as const
  const steps: Step[] = [
    { op: 'mkdir', dir: 'cwd', path: 'l', mode: 0o700, ...tolerate },
    { op: 'mkdir', dir: 'cwd', path: 'merged', mode: 0o700, ...tolerate },
  ]
  const names = rootfs.layers.toReversed().map((layer, index) => {
    steps.push({ op: 'symlink', target: `../${layerPath(layer)}`, dir: 'cwd', path: `l/${index}`, ...tolerate })
    return `l/${index}`
  })
  const data = `lowerdir=${names.join(':')},upperdir=${at}upper,workdir=${at}work${rootfs.volatile ? ',volatile' : ''}`
  steps.push(
    { op: 'mount', source: 'overlay', target: 'merged', type: 'overlay', flags: 0, data, about: 'assemble the overlay of the layers' },
    { op: 'open_tree', fd: 'fd:rootfs', dir: 'cwd', path: 'merged', flags: OPEN_TREE_CLONE },
  )
  return steps
}

function layerPath(layer: string): string {
  return layer === '.' ? 'lower' : `lower/${layer}`
}

function enterPrivateMounts(): Step[] {
  return [
    { op: 'open', fd: 'fd:hostmounts', dir: 'cwd', path: '/proc/self/ns/mnt', flags: O.RDONLY, mode: 0, resolve: 0 },
    { op: 'unshare', flags: CLONE.NEWNS, about: 'make a private mount namespace for the layers' },
    // Slave, not private: a disk that the host unmounts meanwhile is not held here.
    { op: 'mount', source: 'none', target: '/', type: '', flags: MS.REC | MS.SLAVE, data: '' },
  ]
}

/** Back to the host's mounts; the private ones end, the finished tree lives on as a descriptor. */
export function leavePrivateMounts(): Step[] {
  return [{ op: 'setns', namespace: 'fd:hostmounts', type: CLONE.NEWNS, about: 'leave the private mount namespace' }]
}

/** A directory of the host as the root filesystem, without an overlay. */
export function directorySteps(rootfs: RootfsSource & { kind: 'directory' }): Step[] {
  const steps: Step[] = [
    { op: 'open_tree', fd: 'fd:rootfs', dir: 'cwd', path: rootfs.path, flags: OPEN_TREE_CLONE | AT.RECURSIVE },
    { op: 'mount_setattr', mount: 'fd:rootfs', at: AT.RECURSIVE, set: 0, clear: 0, propagation: MS.PRIVATE, userns: 'none' },
  ]
  if (rootfs.idmap) {
    const slot: FdSlot = 'fd:userns'
    steps.push({
      op: 'mount_setattr',
      mount: 'fd:rootfs',
      at: AT.RECURSIVE,
      set: MOUNT_ATTR.IDMAP,
      clear: 0,
      propagation: 0,
      userns: slot,
      about: `shift the owners of ${rootfs.path}`,
      hint: IDMAP_HINT,
    })
  }
  return steps
}
