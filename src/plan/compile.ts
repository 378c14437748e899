import { cgroupSteps } from '../cgroups/steps.ts'
import type { LaunchSpec } from '../model/launch.ts'
import { MOUNT_ATTR, O, PR } from '../model/linux.ts'
import { MEETING, type FdSlot, type Plan, type Step } from '../model/step.ts'
import { hostId, selectNamespaces, type NamespaceSelection } from '../namespaces/select.ts'
import { birthSteps, cloneStep, joinSteps, mappingSteps } from '../namespaces/steps.ts'
import { directorySteps, overlaySteps } from '../overlayfs/steps.ts'
import { devSteps } from '../rootfs/dev.ts'
import { fileSteps } from '../rootfs/files.ts'
import { mountSteps } from '../rootfs/mounts.ts'
import { protectSteps, removeEmptyDirectory } from '../rootfs/protect.ts'
import { checkSysctls } from '../security/sysctl.ts'
import { preservedSlots, processSteps, workdirSteps } from './process.ts'
import { stdioSteps } from './stdio.ts'

/**
 * Where the root is attached in the child's mount namespace until pivot_root(2): a directory that every host has, that
 * root of a user namespace can reach (the store is closed to it), and that no check for a visible procfs looks at.
 */
const ATTACH_AT = '/dev'

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
  const root = { rootUid: hostUid(0), rootGid: hostGid(0) }
  const cgroup = cgroupSteps(spec.cgroup, { ...root, delegate: selection.fresh.has('cgroup') })
  const devMount = config.mounts?.find((mount) => mount.destination === '/dev' && mount.type === 'tmpfs')
  const prepared = new Map<string, FdSlot>(devMount === undefined ? [] : [['/dev', 'fd:dev']])
  const mounts = mountSteps(config, { ...selection, prepared })
  const devptsIndex = config.mounts?.findIndex((mount) => mount.type === 'devpts') ?? -1
  const owner = { uid: process.user.uid, hostUid: hostUid(process.user.uid), hostGid: hostGid(process.user.gid) }
  const stdio = stdioSteps(spec, owner, devptsIndex < 0 ? undefined : `fd:mount${devptsIndex}`)
  const rootfs =
    spec.rootfs.kind === 'overlay'
      ? overlaySteps(spec.rootfs, { directory: spec.directory, kernel: spec.kernel, ...root })
      : { make: directorySteps(spec.rootfs), leave: [] }
  const files = fileSteps(spec.files, { ...root, attachAt: ATTACH_AT })
  // A volume is a clone of the host's own mount, not of the private copy: that one is no peer of it (shared volumes), and
  // has the layers below the store.
  const clones = mounts.parent.some((step) => step.op === 'open_tree')

  const preserved = preservedSlots(spec.oci?.preserveFds ?? 0)

  const parent: Step[] = [
    { op: 'umask', mask: 0 },
    {
      op: 'open',
      fd: 'fd:directory',
      dir: 'cwd',
      path: spec.directory,
      flags: O.PATH | O.DIRECTORY,
      mode: 0,
      resolve: 0,
    },
    ...stdio.make,
    ...cgroup.make,
    ...joinSteps(selection),
    // From here on there are two of us.
    cloneStep(selection, cgroup.make.length === 0 ? 'none' : 'fd:cgroup', spec.oci?.gate === true),
    ...stdio.release,
    ...cgroup.adopt,
    ...mappingSteps(config, selection),
    ...files.parent,
    // The id-mapped view of the layers needs the child's user namespace, so the tree is made after the clone.
    ...rootfs.make,
    { op: 'send_fd', fd: 'fd:rootfs' },
    ...(devMount === undefined ? [] : devSteps(config, devMount.options ?? [], { ...root, hostUid, hostGid })),
    ...(devMount === undefined ? [] : [{ op: 'send_fd', fd: 'fd:dev' } as const]),
    ...(clones ? rootfs.leave : []),
    ...mounts.parent,
    ...stdio.receive,
    // The child has all it needs to go on; what costs time but is needed only before the command runs is done beside it.
    ...cgroup.guard,
    ...(clones ? [] : rootfs.leave),
    { op: 'notify', point: MEETING.ready },
    ...leaveToCaller(spec),
  ]
  const child: Step[] = [
    ...birthSteps(config, selection, mounts.first),
    // The container's own processes may not trace us, nor read our descriptors (CVE-2016-9962).
    { op: 'prctl', option: PR.SET_DUMPABLE, arg2: 0, arg3: 0, arg4: 0, arg5: 0, about: 'become non-dumpable' },
    { op: 'umask', mask: 0 },
    ...mounts.early,
    ...files.receive,
    { op: 'recv_fd', fd: 'fd:rootfs' },
    { op: 'move_mount', mount: 'fd:rootfs', dir: 'cwd', path: ATTACH_AT, about: 'place the root filesystem' },
    ...(devMount === undefined ? [] : [{ op: 'recv_fd', fd: 'fd:dev' } as const]),
    ...mounts.child,
    ...files.place,
    ...stdio.open,
    ...workdirSteps(process),
    ...sysctlSteps(spec, selection),
    // After the sysctls: /proc/sys becomes read-only here.
    ...protectSteps(config),
    ...(devMount === undefined ? [] : removeEmptyDirectory()),
    ...readonlyRoot(spec),
    { op: 'pivot_root', root: 'fd:rootfs', about: 'make the root filesystem the root' },
    { op: 'wait', point: MEETING.ready },
    ...stdio.place,
    ...preserved.map((fd, index): Step => ({ op: 'dup', fd, onto: 3 + index })),
    ...processSteps(spec, process),
  ]
  return {
    parent,
    child,
    teardown: spec.oci?.gate === true ? [] : cgroup.remove,
    pumps: stdio.pumps,
    inherited: [...stdio.inherited, ...preserved, ...callersSlots(spec)],
    ...(spec.cgroup === undefined ? {} : { cgroup: 'fd:cgroup' }),
    ...(selection.joinsUser ? {} : { mountNamespace: 'fd:mntns' }),
  }
}

/** Sockets of an OCI runtime's caller. */
function callersSlots({ oci }: LaunchSpec): FdSlot[] {
  return [
    ...(oci?.gate === true ? (['fd:gate'] as const) : []),
    ...(oci?.pidfdSocket === true ? (['fd:pidfd-socket'] as const) : []),
  ]
}

/** The stage ends when the first process is at its gate and the caller has written down that it is there. */
function leaveToCaller({ oci }: LaunchSpec): Step[] {
  if (oci?.gate !== true) return []
  return [
    { op: 'wait', point: MEETING.waiting },
    ...(oci.pidfdSocket
      ? ([
          { op: 'open_pidfd', fd: 'fd:pidfd' },
          { op: 'send_fd_to', socket: 'fd:pidfd-socket', fd: 'fd:pidfd', text: 'pidfd' },
        ] as const)
      : []),
    { op: 'meet_caller', point: MEETING.recorded, about: 'tell that the container is made' },
    { op: 'notify', point: MEETING.recorded },
  ]
}

/** Checked here for every caller: a setting that no namespace of the container keeps would be the host's. */
function sysctlSteps(spec: LaunchSpec, { fresh, joined }: NamespaceSelection): Step[] {
  const index = spec.config.mounts?.findIndex((mount) => mount.type === 'proc') ?? -1
  const own = [...fresh, ...joined.map((namespace) => namespace.type)]
  return checkSysctls(spec.config.linux?.sysctl ?? {}, own).map(({ key, path, value }): Step => {
    const words = { about: `set sysctl ${key}`, hint: `the kernel refuses ${JSON.stringify(value)} for ${key}` }
    // Root of a user namespace may not write these two files, but may make the calls.
    if (path === 'kernel/hostname') return { op: 'sethostname', name: value, ...words }
    if (path === 'kernel/domainname') return { op: 'setdomainname', name: value, ...words }
    return { op: 'sysctl', proc: `fd:mount${index}`, path: `sys/${path}`, value, ...words }
  })
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
