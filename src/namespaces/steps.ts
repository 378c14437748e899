import type { NamespaceType, OciConfig } from '../model/config.ts'
import type { JoinedNamespace } from '../model/launch.ts'
import { CLONE, MS, O } from '../model/linux.ts'
import { MEETING, type FdSlot, type Step } from '../model/step.ts'
import { mapLines, NAMESPACE_FLAGS, rootId, type NamespaceSelection } from './select.ts'

/** Cgroup and time namespaces are not made by clone: the first would take the stage's cgroup as its root, the second's offsets must be written before anyone is in it. */
const NOT_BY_CLONE = CLONE.NEWCGROUP | CLONE.NEWTIME

/** Names of namespaces below /proc/PID/ns. */
const FILES = { network: 'net', mount: 'mnt' } as const

/** The stage enters what the container joins, so that its child is born there although it could not enter itself. */
export function joinSteps(selection: NamespaceSelection, joins: readonly JoinedNamespace[] = []): Step[] {
  return selection.joined.flatMap((namespace): Step[] => {
    const other = joins.find(({ type }) => type === namespace.type)
    // The stage stays in the host's user namespace, or it could do nothing more for the container.
    const slot: FdSlot = namespace.type === 'user' ? 'fd:userns' : `fd:join-${namespace.type}`
    const whose = other === undefined ? namespace.path : `of container ${other.name}`
    const about = `join the ${namespace.type} namespace ${whose}`
    const open: Step =
      other === undefined
        ? { op: 'open', fd: slot, dir: 'cwd', path: namespace.path, flags: O.RDONLY, mode: 0, resolve: 0, about }
        : { op: 'open_container', fd: slot, state: other.state, file: namespaceFile(namespace.type), about }
    if (namespace.type === 'user') return [open]
    if (namespace.type === 'mount') return [open]
    if (namespace.type === 'cgroup' && entersCgroups(selection)) return [open]
    return [
      open,
      {
        op: 'setns',
        namespace: slot,
        type: NAMESPACE_FLAGS[namespace.type],
        about,
        ...(other === undefined ? { hint: `is ${namespace.path} a ${namespace.type} namespace?` } : {}),
      },
    ]
  })
}

/**
 * The child enters a cgroup namespace itself: with the hierarchy mounted nsdelegate nobody in one can make a process in a
 * cgroup outside of it (cgroup_procs_write_permission in kernel/cgroup/cgroup.c). In a new user namespace it may not.
 */
function entersCgroups({ joined, fresh }: NamespaceSelection): boolean {
  return joined.some(({ type }) => type === 'cgroup') && !fresh.has('user')
}

export function namespaceFile(type: NamespaceType): string {
  return `ns/${type in FILES ? FILES[type as keyof typeof FILES] : type}`
}

/** @param siblings the child is no child of the stage's but of its caller's (CLONE_PARENT) */
export function cloneStep(selection: NamespaceSelection, cgroup: FdSlot | 'none', siblings = false): Step {
  let flags = (selection.mounts === 'own' ? CLONE.NEWNS : 0) | (siblings ? CLONE.PARENT : 0)
  // In a joined user namespace the others must be made from within, to belong to it; a pid namespace needs a clone.
  for (const type of selection.fresh) {
    if (type !== 'mount' && (!selection.joinsUser || type === 'pid')) flags |= NAMESPACE_FLAGS[type]
  }
  return {
    op: 'clone',
    flags: flags & ~NOT_BY_CLONE,
    cgroup,
    about: 'make the namespaces and the first process',
    ...(selection.ownUser
      ? { hint: 'user namespaces may be switched off here: `tscrun doctor` tells; --userns=host does without' }
      : {}),
  }
}

/** What the stage does for its newborn child, before anything is mounted with its ids. */
export function mappingSteps(config: OciConfig, selection: NamespaceSelection): Step[] {
  const steps: Step[] = []
  if (selection.fresh.has('user')) {
    steps.push(
      { op: 'write_proc', file: 'uid_map', bytes: mapLines(config.linux?.uidMappings ?? []) },
      { op: 'write_proc', file: 'gid_map', bytes: mapLines(config.linux?.gidMappings ?? []) },
      { op: 'open_proc', fd: 'fd:userns', file: 'ns/user' },
    )
  }
  const score = config.process?.oomScoreAdj
  // Written here: in the child the right to lower it is lost with the user namespace.
  if (score !== undefined) steps.push({ op: 'write_proc', file: 'oom_score_adj', bytes: String(score) })
  if (!selection.joinsUser) steps.push({ op: 'open_proc', fd: 'fd:mntns', file: 'ns/mnt' })
  steps.push({ op: 'notify', point: MEETING.mapped })
  return steps
}

/**
 * The first steps of the newborn: its own session, then root in its user namespace.
 *
 * @param asHostRoot what must be done before a user namespace is joined, while this still is root of the host
 */
export function birthSteps(config: OciConfig, selection: NamespaceSelection, asHostRoot: readonly Step[]): Step[] {
  const steps: Step[] = [{ op: 'setsid' }, { op: 'wait', point: MEETING.mapped }, ...mountNamespaceSteps(selection)]
  if (entersCgroups(selection)) {
    const hint = 'is it the path of a cgroup namespace?'
    steps.push({
      op: 'setns',
      namespace: 'fd:join-cgroup',
      type: CLONE.NEWCGROUP,
      about: 'join the cgroup namespace',
      hint,
    })
  }
  if (selection.joinsUser) {
    let flags: number = selection.mounts === 'own' ? CLONE.NEWNS : 0
    for (const type of ['network', 'ipc', 'uts'] as const) if (selection.fresh.has(type)) flags |= NAMESPACE_FLAGS[type]
    steps.push(
      ...asHostRoot,
      { op: 'setns', namespace: 'fd:userns', type: CLONE.NEWUSER, about: 'join the user namespace' },
      { op: 'unshare', flags, about: 'make the namespaces that belong to it' },
    )
  }
  if (selection.fresh.has('time')) steps.push(...timeSteps(config))
  if (selection.ownUser) {
    const [uid, gid] = [rootId(config.linux?.uidMappings), rootId(config.linux?.gidMappings)]
    steps.push({ op: 'set_ids', uid, gid, about: 'become root of the user namespace' })
  }
  // Made here, inside the container's cgroup, so that this cgroup is what it sees as `/`.
  if (selection.fresh.has('cgroup'))
    steps.push({ op: 'unshare', flags: CLONE.NEWCGROUP, about: 'make the cgroup namespace' })
  if (selection.fresh.has('network')) steps.push({ op: 'loopback_up', about: 'bring up lo' })
  if (config.hostname !== undefined && selection.fresh.has('uts'))
    steps.push({ op: 'sethostname', name: config.hostname })
  if (config.domainname !== undefined && selection.fresh.has('uts')) {
    steps.push({ op: 'setdomainname', name: config.domainname })
  }
  return steps
}

function mountNamespaceSteps(selection: NamespaceSelection): Step[] {
  if (selection.mounts === 'joined') {
    return [{ op: 'setns', namespace: 'fd:join-mount', type: CLONE.NEWNS, about: 'join the mount namespace' }]
  }
  if (selection.mounts === 'host' || selection.ownUser) return []
  // A copy made within one user namespace has the host's mounts as its peers: what is mounted here would be there, too.
  return [
    {
      op: 'mount',
      source: 'none',
      target: '/',
      type: '',
      flags: MS.REC | MS.SLAVE,
      data: '',
      about: "keep the container's mounts from the host",
    },
  ]
}

/** time_namespaces(7): the offsets are fixed when the first process enters. */
function timeSteps(config: OciConfig): Step[] {
  const lines = Object.entries(config.linux?.timeOffsets ?? {})
    .map(([clock, offset]) => `${clock} ${offset.secs ?? 0} ${offset.nanosecs ?? 0}\n`)
    .join('')
  const steps: Step[] = [{ op: 'unshare', flags: CLONE.NEWTIME, about: 'make the time namespace' }]
  if (lines !== '') {
    steps.push({ op: 'write_file', dir: 'cwd', path: '/proc/self/timens_offsets', bytes: lines })
  }
  steps.push(
    {
      op: 'open',
      fd: 'fd:timens',
      dir: 'cwd',
      path: '/proc/self/ns/time_for_children',
      flags: O.RDONLY,
      mode: 0,
      resolve: 0,
    },
    { op: 'setns', namespace: 'fd:timens', type: CLONE.NEWTIME, about: 'enter the time namespace' },
  )
  return steps
}
