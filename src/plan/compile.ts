import { cgroupSteps } from '../cgroups/steps.ts'
import type { OciConfig } from '../model/config.ts'
import type { LaunchSpec } from '../model/launch.ts'
import { AT, MOUNT_ATTR, MS, O, PR } from '../model/linux.ts'
import { MEETING, type FdSlot, type Plan, type Step } from '../model/step.ts'
import { hostId, rootId, selectNamespaces, type NamespaceSelection } from '../namespaces/select.ts'
import { birthSteps, cloneStep, joinSteps, mappingSteps } from '../namespaces/steps.ts'
import { directorySteps, overlaySteps } from '../overlayfs/steps.ts'
import { devSteps } from '../rootfs/dev.ts'
import { fileSteps } from '../rootfs/files.ts'
import type { Literal } from '../rootfs/filesystems.ts'
import { mountSteps } from '../rootfs/mounts.ts'
import { protectSteps } from '../rootfs/protect.ts'
import { sharedMemorySteps } from '../rootfs/shared-memory.ts'
import { checkSysctls } from '../security/sysctl.ts'
import { detachSteps, eventSteps } from './detach.ts'
import { labelSteps } from './attributes.ts'
import { heldWay, ordinaryWay } from './held.ts'
import { hookSteps, keepOwnNamespaces, listenerText, runsBeforeRoot, startHooks } from './hooks.ts'
import { networkSteps } from './network.ts'
import { outsideSteps } from './outside.ts'
import { LISTENER_SOCKET, preservedSlots, processSteps, workdirSteps } from './process.ts'
import { stdioSteps } from './stdio.ts'

/**
 * Where the root is attached in the child's mount namespace until pivot_root(2): a directory that every host has, that
 * root of a user namespace can reach (the store is closed to it), and that no check for a visible procfs looks at.
 */
const ATTACH_AT = '/dev'

/** In the caller's own mounts nothing of the host may be covered: there the root is attached where it is. */
function attachPlace({ rootfs }: LaunchSpec, { mounts }: NamespaceSelection): string {
  return mounts === 'host' && rootfs.kind === 'directory' ? rootfs.path : ATTACH_AT
}

/** Where the child attaches its root until it is the root: hooks look for it where the bundle has it. */
function rootPlace({ held, rootfs, config }: LaunchSpec, attachAt: string): string {
  if (held === true) return '/'
  return runsBeforeRoot(config.hooks ?? {}) && rootfs.kind === 'directory' ? rootfs.path : attachAt
}

/**
 * The recipe: everything that makes a container, in the order that works. Parent is the stage on the host's side, child
 * is the container's first process; `notify`/`wait` and `send_fd`/`recv_fd` are where they meet.
 * Throws TscrunError INVALID_CONFIG for ids outside the mapping.
 */
export function compile(spec: LaunchSpec): Plan {
  const { config } = spec
  const process = config.process
  if (process === undefined) throw new RangeError('plan: the config has no process')
  const selection = selectNamespaces(config)
  const hostUid = (uid: number): number => hostId(config.linux?.uidMappings, uid) ?? 65534
  const hostGid = (gid: number): number => hostId(config.linux?.gidMappings, gid) ?? 65534
  const root = {
    rootUid: hostUid(rootId(config.linux?.uidMappings)),
    rootGid: hostGid(rootId(config.linux?.gidMappings)),
  }
  const cgroup = cgroupSteps(spec.cgroup, { ...root, delegate: selection.fresh.has('cgroup') })
  const literal = literalMounts(spec)
  const attachAt = attachPlace(spec, selection)
  const ids = { ...root, hostUid, hostGid }
  const coversAt = selection.mounts === 'host' ? undefined : attachAt
  const dev = devSteps(config, { ...ids, ...selection, literal: literal !== undefined, attachAt: coversAt })
  const shm = sharedMemorySteps(spec.joins)
  const mounts = mountSteps(config, {
    ...selection,
    prepared: new Map([...dev.prepared, ...shm.prepared]),
    workAt: attachAt,
    ...(literal === undefined ? {} : { literal }),
  })
  const devptsIndex = config.mounts?.findIndex((mount) => mount.type === 'devpts') ?? -1
  const owner = { uid: process.user.uid, hostUid: hostUid(process.user.uid), hostGid: hostGid(process.user.gid) }
  const devpts: { devpts?: FdSlot } = devptsIndex < 0 ? {} : { devpts: `fd:mount${devptsIndex}` }
  const stdio = stdioSteps(spec, owner, { ...devpts, covers: dev.covers })
  const rootfs =
    spec.rootfs.kind === 'overlay'
      ? overlaySteps(spec.rootfs, { directory: spec.directory, kernel: spec.kernel, ...root })
      : { make: directorySteps(spec.rootfs, literal?.propagation), leave: [] }
  const files = fileSteps(spec.files, { ...root, attachAt })
  // A volume is a clone of the host's own mount, not of the private copy: that one is no peer of it (shared volumes), and
  // has the layers below the store.
  const clones = mounts.parent.some((step) => step.op === 'open_tree')

  const detach = detachSteps(spec)
  const network = networkSteps(spec, procMount(config))
  const hooks = hookSteps(spec, selection)
  const outside = spec.oci === undefined ? { first: [], born: [] } : outsideSteps(spec.id, config, selection)
  const listener = listenerText(spec)
  const directory = openDirectory(spec)
  const rootAt = rootPlace(spec, attachAt)
  const preserved = preservedSlots(spec.oci?.preserveFds ?? 0)
  const sysctls = sysctlSteps(spec, selection)
  const last = processSteps(
    {
      ...spec,
      atStart: startHooks(spec),
      ...(listener === undefined ? {} : { listenerText: listener }),
      groupsMayBeFixed: literal !== undefined && selection.joinsUser,
    },
    process,
  )
  const enter = enterRoot(spec, selection)
  const { delegate } = cgroup
  const placing = mounts.child
  const parts = { directory, stdio, files, dev, delegate, rootfs, attachAt, placing, sysctls, enter, last }
  const way = spec.held === true ? heldWay(spec, parts) : ordinaryWay(config, parts)

  const parent: Step[] = [
    { op: 'umask', mask: 0 },
    ...way.directory,
    ...detach.begin,
    ...eventSteps(spec),
    ...way.streams.make,
    ...cgroup.make,
    ...outside.first,
    ...keepOwnNamespaces(spec, selection),
    ...joinSteps(selection, spec.joins),
    // From here on there are two of us.
    cloneStep(selection, cgroup.make.length === 0 ? 'none' : 'fd:cgroup', spec.oci?.gate === true),
    ...way.streams.release,
    ...cgroup.adopt,
    ...mappingSteps(config, selection),
    ...outside.born,
    ...network.make,
    ...files.parent,
    ...shm.parent,
    ...dev.first,
    ...way.hold,
    // The id-mapped view of the layers needs the child's user namespace, so the tree is made after the clone.
    ...rootfs.make,
    { op: 'send_fd', fd: 'fd:rootfs' },
    ...way.dev.make,
    ...(clones ? rootfs.leave : []),
    ...way.take,
    ...mounts.parent,
    ...stdio.receive,
    // The child has all it needs to go on; what costs time but is needed only before the command runs is done beside it.
    ...cgroup.guard,
    ...way.delegate,
    ...network.publish,
    ...(clones ? [] : rootfs.leave),
    { op: 'notify', point: MEETING.ready },
    ...way.close,
    ...hooks.parent,
    ...leaveToCaller(spec),
  ]
  const child: Step[] = [
    ...leaveCallersSockets(spec),
    ...birthSteps(config, selection, [...(literal === undefined ? [] : [dropGroups()]), ...mounts.first]),
    // The container's own processes may not trace us, nor read our descriptors (CVE-2016-9962).
    { op: 'prctl', option: PR.SET_DUMPABLE, arg2: 0, arg3: 0, arg4: 0, arg5: 0, about: 'become non-dumpable' },
    { op: 'umask', mask: 0 },
    ...labelSteps(process).open,
    ...mounts.early,
    ...files.receive,
    ...way.attach,
    ...shm.receive,
    ...dev.receiveFirst,
    // The files come when the links are there.
    ...(spec.held === true ? network.setUp : []),
    ...way.assemble,
    { op: 'recv_fd', fd: 'fd:rootfs' },
    ...way.receive,
    ...(spec.held === true ? [] : network.setUp),
    { op: 'move_mount', mount: 'fd:rootfs', dir: 'cwd', path: rootAt, about: 'place the root filesystem' },
    ...way.dev.receive,
    ...way.placing,
    ...dev.place,
    ...way.clone,
    ...files.place,
    ...stdio.open,
    ...workdirSteps(process),
    ...way.sysctls,
    // After the sysctls: /proc/sys becomes read-only here.
    ...protectSteps(way.covered, dev.covers),
    ...dev.finish,
    ...mounts.late,
    ...readonlyRoot(spec),
    ...hooks.beforeRoot,
    ...way.enter,
    ...rootPropagation(spec),
    ...(hooks.beforeRoot.length > 0 ? [] : way.ready),
    ...stdio.place,
    ...preserved.map((fd, index): Step => ({ op: 'dup', fd, onto: 3 + index })),
    ...way.last,
  ]
  return {
    parent,
    child,
    teardown: spec.oci?.gate === true ? [] : [...network.unpublish, ...cgroup.remove, ...detach.end],
    pumps: stdio.pumps,
    inherited: [
      ...stdio.inherited,
      ...preserved,
      ...callersSlots(spec),
      ...(listener === undefined ? [] : [LISTENER_SOCKET]),
      ...detach.inherited,
    ],
    ...(spec.cgroup === undefined ? {} : { cgroup: 'fd:cgroup' }),
    ...(selection.joinsUser ? {} : { mountNamespace: 'fd:mntns' }),
    ...(spec.held === true ? { held: true, ...way.late } : {}),
  }
}

/** The container's own directory, which exists. */
function openDirectory({ directory }: LaunchSpec): Step {
  const flags = O.PATH | O.DIRECTORY
  return { op: 'open', fd: 'fd:directory', dir: 'cwd', path: directory, flags, mode: 0, resolve: 0 }
}

/** Sockets of an OCI runtime's caller. */
function callersSlots({ oci }: LaunchSpec): FdSlot[] {
  return [
    ...(oci?.gate === true ? (['fd:gate'] as const) : []),
    ...(oci?.pidfdSocket === true ? (['fd:pidfd-socket'] as const) : []),
  ]
}

/** The stage speaks there; whoever reads to the end must not wait for `start`. */
function leaveCallersSockets({ oci, stdio }: LaunchSpec): Step[] {
  const sockets: FdSlot[] = []
  if (oci?.pidfdSocket === true) sockets.push('fd:pidfd-socket')
  if (stdio.kind === 'console') sockets.push('fd:console-socket')
  return sockets.map((fd) => ({ op: 'close', fd }))
}

/** The stage ends when the first process is at its gate and the caller has written down that it is there. */
function leaveToCaller({ oci }: LaunchSpec): Step[] {
  if (oci === undefined) return []
  const tell: Step[] = oci.pidfdSocket
    ? [
        { op: 'open_pidfd', fd: 'fd:pidfd' },
        { op: 'send_fd_to', socket: 'fd:pidfd-socket', fd: 'fd:pidfd', text: 'pidfd' },
      ]
    : []
  if (!oci.gate) return tell
  return [
    { op: 'wait', point: MEETING.waiting },
    ...tell,
    { op: 'meet_caller', point: MEETING.recorded, about: 'tell that the container is made' },
    { op: 'notify', point: MEETING.recorded },
  ]
}

/** Checked here for every caller: a setting that no namespace of the container keeps would be the host's. */
function sysctlSteps(spec: LaunchSpec, { fresh, joined }: NamespaceSelection): Step[] {
  const own = [...fresh, ...joined.map((namespace) => namespace.type)]
  const writes = checkSysctls(spec.config.linux?.sysctl ?? {}, own)
  const mounted = procMount(spec.config)
  // Any procfs shows the settings of who looks; the host's is in sight until pivot_root(2).
  const proc: FdSlot = mounted ?? 'fd:proc'
  const flags = O.PATH | O.DIRECTORY
  const open: Step[] =
    mounted === undefined && writes.length > 0
      ? [{ op: 'open', fd: proc, dir: 'cwd', path: '/proc', flags, mode: 0, resolve: 0, about: 'find the settings' }]
      : []
  const steps = writes.map(({ key, path, value }): Step => {
    const words = { about: `set sysctl ${key}`, hint: `the kernel refuses ${JSON.stringify(value)} for ${key}` }
    // Root of a user namespace may not write these two files, but may make the calls.
    if (path === 'kernel/hostname') return { op: 'sethostname', name: value, ...words }
    if (path === 'kernel/domainname') return { op: 'setdomainname', name: value, ...words }
    return { op: 'sysctl', proc, path: `sys/${path}`, value, ...words }
  })
  return [...open, ...steps]
}

/** The container's own /proc, if it has all that a procfs has. */
function procMount({ mounts = [] }: OciConfig): FdSlot | undefined {
  const index = mounts.findIndex(
    ({ type, destination, options = [] }) =>
      type === 'proc' &&
      destination === '/proc' &&
      !options.some((option) => /^(r?bind|remount|subset=.*)$/.test(option)),
  )
  return index < 0 ? undefined : `fd:mount${index}`
}

/** A caller's mounts are as config.json has them: with the host's ones in them, unless it says private. */
function literalMounts({
  oci,
  config,
  kernel,
}: LaunchSpec): (Literal & { propagation: typeof MS.PRIVATE | typeof MS.SLAVE }) | undefined {
  if (oci === undefined) return undefined
  const propagation = config.linux?.rootfsPropagation?.replace(/^r/, '') === 'private' ? MS.PRIVATE : MS.SLAVE
  const label = config.linux?.mountLabel
  const since = (minor: number): boolean => kernel.major > 6 || (kernel.major === 6 && kernel.minor >= minor)
  return {
    propagation,
    listed: since(15) ? 'as-made' : since(8) ? 'as-made-if-placed' : 'as-placed',
    ...(label === undefined ? {} : { label }),
  }
}

/** Of root of the host, before a user namespace is joined in which that may not be possible. */
function dropGroups(): Step {
  return { op: 'setgroups', gids: '', about: 'leave the groups of the host' }
}

function enterRoot({ oci }: LaunchSpec, { mounts }: NamespaceSelection): Step {
  const about = 'make the root filesystem the root'
  // pivot_root(2) and a move onto / would take the host's own root away.
  if (mounts === 'host') return { op: 'chroot', root: 'fd:rootfs', about }
  if (oci?.pivot === false) return { op: 'move_root', root: 'fd:rootfs', about }
  return { op: 'pivot_root', root: 'fd:rootfs', put: '', about }
}

const SHARED_ROOTS: Readonly<Record<string, number>> = { shared: MS.SHARED, unbindable: MS.UNBINDABLE }

/**
 * linux.rootfsPropagation, when all is in place: `shared` means with mount namespaces that are made of this one. The host
 * is never among them: the tree was cut off from it first.
 */
function rootPropagation({ oci, config }: LaunchSpec): Step[] {
  const wanted = oci === undefined ? undefined : config.linux?.rootfsPropagation
  const propagation = SHARED_ROOTS[wanted?.replace(/^r/, '') ?? '']
  if (wanted === undefined || propagation === undefined) return []
  const at = wanted.startsWith('r') ? AT.RECURSIVE : 0
  const about = `set the propagation of the root to ${wanted}`
  return [{ op: 'mount_setattr', mount: 'fd:rootfs', at, set: 0, clear: 0, propagation, userns: 'none', about }]
}

function readonlyRoot(spec: LaunchSpec): Step[] {
  if (spec.config.root?.readonly !== true) return []
  return [
    {
      op: 'mount_setattr',
      mount: 'fd:rootfs',
      at: 0,
      set: MOUNT_ATTR.RDONLY,
      clear: 0,
      propagation: 0,
      userns: 'none',
      about: 'make the root filesystem read-only',
    },
  ]
}
