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

/** The mount of all layers, and that of memory for what the container writes: neither has a place. */
export const LAYERS: FdSlot = 'fd:lower'
export const SCRATCH: FdSlot = 'fd:scratch'

const IDMAP_HINT = 'the filesystem or kernel cannot shift owners; --userns=host does without'

/** What an overlay is made by, and what has to be done when the child has it. */
export interface OverlaySteps {
  readonly make: readonly Step[]
  readonly leave: readonly Step[]
}

/** Builds the root filesystem as the mount `fd:rootfs`; nothing of it is ever in the host's mount table. */
export function overlaySteps(rootfs: Overlay, context: OverlayContext): OverlaySteps {
  if (takesDetachedLayers(context.kernel)) return { make: detached(rootfs, context), leave: [] }
  return { make: attached(rootfs, context), leave: leavePrivateMounts() }
}

type Overlay = RootfsSource & { kind: 'overlay' }

/** Since Linux 6.15 a layer may be a mount without a place, and all of them are given as descriptors (6.13). */
function takesDetachedLayers(kernel: OverlayContext['kernel']): boolean {
  return kernel.major > 6 || (kernel.major === 6 && kernel.minor >= 15)
}

const MADE_BEFORE = { tolerate: ['EEXIST'], because: 'made at an earlier start' } as const

/** No mount namespace is needed on the way, whose end would wait for all processors (synchronize_rcu) twice. */
function detached(rootfs: Overlay, context: OverlayContext): Step[] {
  const fs: FdSlot = 'fd:overlay'
  const set = (key: string, value: string): Step => ({ op: 'fsconfig', fs, command: FSCONFIG.SET_STRING, key, value })
  const give = (key: string, fd: FdSlot): Step => ({ op: 'fsconfig_fd', fs, key, fd })
  const writable: FdSlot = rootfs.upper === 'tmpfs' ? SCRATCH : 'fd:directory'
  const steps: Step[] = [...(rootfs.upper === 'tmpfs' ? scratchSteps() : []), ...lowerSteps(rootfs)]
  steps.push({ op: 'fsopen', fs, type: 'overlay' }, set('source', 'overlay'))
  for (const [index, layer] of rootfs.layers.toReversed().entries()) {
    const slot: FdSlot = layer === '.' ? LAYERS : `fd:layer${index}`
    if (layer !== '.') steps.push(openDirectory(slot, LAYERS, layer))
    steps.push(give('lowerdir+', slot))
    if (layer !== '.') steps.push({ op: 'close', fd: slot })
  }
  for (const [name, mode] of [
    ['upper', rootfs.mode],
    ['work', 0o700],
  ] as const) {
    steps.push({ op: 'mkdir', dir: writable, path: name, mode, ...MADE_BEFORE })
    if (name === 'work' && rootfs.upper === 'directory') steps.push(tryRoom(writable, name))
    if (name === 'upper') steps.push(ownUpper(writable, name, context))
    steps.push(openDirectory(`fd:${name}`, writable, name), give(`${name}dir`, `fd:${name}`))
  }
  if (rootfs.volatile) steps.push({ op: 'fsconfig', fs, command: FSCONFIG.SET_FLAG, key: 'volatile', value: '' })
  steps.push(
    { op: 'fsconfig', fs, command: FSCONFIG.CMD_CREATE, key: '', value: '', about: ASSEMBLE },
    { op: 'fsmount', mount: 'fd:rootfs', fs, attributes: 0 },
  )
  return steps
}

const ASSEMBLE = 'assemble the overlay of the layers'

function openDirectory(fd: FdSlot, dir: FdSlot, path: string): Step {
  return { op: 'open', fd, dir, path, flags: O.PATH | O.DIRECTORY | O.NOFOLLOW, mode: 0, resolve: 0 }
}

/** Memory for what the container writes, without a place. */
function scratchSteps(): Step[] {
  const about = 'make memory for what the container writes'
  return [
    { op: 'fsopen', fs: 'fd:scratchfs', type: 'tmpfs', about },
    { op: 'fsconfig', fs: 'fd:scratchfs', command: FSCONFIG.CMD_CREATE, key: '', value: '', about },
    { op: 'fsmount', mount: SCRATCH, fs: 'fd:scratchfs', attributes: 0, about },
  ]
}

/** The upper belongs to the container's root and is not id-mapped: an id-mapped upper is read-only (EOVERFLOW). */
function ownUpper(dir: FdSlot | 'cwd', path: string, { rootUid, rootGid }: OverlayContext): Step {
  return { op: 'chown', dir, path, uid: rootUid, gid: rootGid }
}

/**
 * Overlayfs makes this directory itself, and anew if it is there; but where it cannot, the disk being full, it mounts
 * read-only and says so in the kernel's log alone (ovl_make_workdir, fs/overlayfs/super.c).
 */
function tryRoom(dir: FdSlot | 'cwd', work: string): Step {
  return { op: 'mkdir', dir, path: `${work}/work`, mode: 0o700, ...MADE_BEFORE }
}

/** All layers lie in one directory: one id-mapped view of it, the mount `fd:lower`, serves every one of them. */
function lowerSteps(rootfs: Overlay): Step[] {
  const steps: Step[] = [{ op: 'open_tree', fd: LAYERS, dir: 'cwd', path: rootfs.base, flags: OPEN_TREE_CLONE }]
  if (rootfs.idmap) {
    steps.push({
      op: 'mount_setattr',
      mount: LAYERS,
      at: 0,
      set: MOUNT_ATTR.IDMAP,
      clear: 0,
      propagation: 0,
      userns: 'fd:userns',
      about: `shift the owners of ${rootfs.base}`,
      hint: IDMAP_HINT,
    })
  }
  return steps
}

/** Older kernels: every layer has a place, in a private mount namespace of the stage that is left and forgotten. */
function attached(rootfs: Overlay, context: OverlayContext): Step[] {
  const at = rootfs.upper === 'tmpfs' ? 'scratch/' : ''
  const steps: Step[] = [
    ...enterPrivateMounts(),
    // Opened anew: a descriptor from before names the host's copy of the mount, where nothing can be attached (EINVAL).
    { op: 'open', fd: 'fd:own', dir: 'cwd', path: context.directory, flags: O.PATH | O.DIRECTORY, mode: 0, resolve: 0 },
    { op: 'fchdir', dir: 'fd:own' },
    { op: 'mkdir', dir: 'cwd', path: 'lower', mode: 0o700, ...MADE_BEFORE },
  ]
  if (rootfs.upper === 'tmpfs') {
    steps.push(
      { op: 'mkdir', dir: 'cwd', path: 'scratch', mode: 0o700, ...MADE_BEFORE },
      {
        op: 'mount',
        source: 'tscrun',
        target: 'scratch',
        type: 'tmpfs',
        flags: 0,
        data: 'mode=0700',
        about: 'mount memory for what the container writes',
      },
    )
  }
  for (const [name, mode] of [
    ['upper', rootfs.mode],
    ['work', 0o700],
  ] as const) {
    steps.push({ op: 'mkdir', dir: 'cwd', path: `${at}${name}`, mode, ...MADE_BEFORE })
    if (name === 'work' && rootfs.upper === 'directory') steps.push(tryRoom('cwd', name))
  }
  steps.push(ownUpper('cwd', `${at}upper`, context), ...lowerSteps(rootfs))
  steps.push({ op: 'move_mount', mount: LAYERS, dir: 'cwd', path: 'lower' })
  return [...steps, ...oldMount(rootfs, at)]
}

/** mount(2) takes one page of options, so a layer gets a name of one number: 500 of them fit. */
function oldMount(rootfs: Overlay, at: string): Step[] {
  const steps: Step[] = [
    { op: 'mkdir', dir: 'cwd', path: 'l', mode: 0o700, ...MADE_BEFORE },
    { op: 'mkdir', dir: 'cwd', path: 'merged', mode: 0o700, ...MADE_BEFORE },
  ]
  const names = rootfs.layers.toReversed().map((layer, index) => {
    steps.push({ op: 'symlink', target: `../${layerPath(layer)}`, dir: 'cwd', path: `l/${index}`, ...MADE_BEFORE })
    return `l/${index}`
  })
  const data = `lowerdir=${names.join(':')},upperdir=${at}upper,workdir=${at}work${rootfs.volatile ? ',volatile' : ''}`
  steps.push(
    { op: 'mount', source: 'overlay', target: 'merged', type: 'overlay', flags: 0, data, about: ASSEMBLE },
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
function leavePrivateMounts(): Step[] {
  return [{ op: 'setns', namespace: 'fd:hostmounts', type: CLONE.NEWNS, about: 'leave the private mount namespace' }]
}

/**
 * A directory of the host as the root filesystem, without an overlay.
 *
 * @param propagation MS_SLAVE lets in what the host mounts below it later
 */
export function directorySteps(
  rootfs: RootfsSource & { kind: 'directory' },
  propagation: typeof MS.PRIVATE | typeof MS.SLAVE = MS.PRIVATE,
): Step[] {
  const steps: Step[] = [
    { op: 'open_tree', fd: 'fd:rootfs', dir: 'cwd', path: rootfs.path, flags: OPEN_TREE_CLONE | AT.RECURSIVE },
    {
      op: 'mount_setattr',
      mount: 'fd:rootfs',
      at: AT.RECURSIVE,
      set: 0,
      clear: 0,
      propagation,
      userns: 'none',
    },
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
