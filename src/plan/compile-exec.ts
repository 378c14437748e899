import type { IdMapping, NamespaceType, OciConfig, OciProcess } from '../model/config.ts'
import type { LaunchSpec, Stdio } from '../model/launch.ts'
import { CLONE, O, PR, RESOLVE } from '../model/linux.ts'
import { MEETING, type FdSlot, type Plan, type Step } from '../model/step.ts'
import { hostId, NAMESPACE_FLAGS } from '../namespaces/select.ts'
import { bitMask, labelSteps } from './attributes.ts'
import { type WatchedExec, watchedExecSteps } from './detach.ts'
import { LISTENER_SOCKET, preservedSlots, processSteps } from './process.ts'
import { consoleSocket, ptySteps, stdioSteps, type StdioSteps } from './stdio.ts'

/** One more process in a container that is there: who it is, and what of the container it joins. */
export interface ExecSpec {
  readonly process: OciProcess
  /** Those in which the container's first process is not with us. */
  readonly namespaces: ReadonlySet<NamespaceType>
  /** Of the container's user namespace; empty without one. */
  readonly uidMappings: readonly IdMapping[]
  readonly gidMappings: readonly IdMapping[]
  /** Absolute directory of the cgroup it is born into. */
  readonly cgroup?: string
  /** In that one and no other; else, where it takes no processes, in that of the container's first process. */
  readonly cgroupIsChosen?: boolean
  readonly stdio: Stdio
  readonly seccomp?: LaunchSpec['seccomp']
  /** Told with the filter's listener to the agent whose socket fills `fd:seccomp-socket`. */
  readonly listenerText?: string
  /** What of config.json confines each process although it is not under `process`. */
  readonly linux?: Pick<NonNullable<OciConfig['linux']>, 'personality' | 'memoryPolicy'>
  /** `fd:root` is the root of the container's first process, which shares our mount namespace. */
  readonly chroot?: boolean
  /** Without a monitor: it becomes the caller's child, and lives on when the caller has gone. */
  readonly detached: boolean
  /** With a monitor of its own, which lives on when the caller has gone. */
  readonly watched?: WatchedExec
  /** Descriptors 3, 4, ... of the caller that the command keeps. */
  readonly preserveFds: number
  /** A session keyring of its own. */
  readonly keyring: boolean
  /** Send its pidfd to a socket of the caller. */
  readonly pidfdSocket: boolean
}

/** Filled by the caller: the root directory of that process. */
const ROOT: FdSlot = 'fd:root'
/** Filled by the caller: a pidfd of the container's first process, which names its namespaces. */
const TARGET: FdSlot = 'fd:target'

/**
 * The recipe of `exec`. The stage stays on the host's side but for the pid namespace, which only a newborn can be in; the
 * child joins everything else. What confines the container confines it too, by the same steps.
 * Throws TscrunError INVALID_CONFIG for a process that no kernel would take.
 */
export function compileExec(spec: ExecSpec): Plan {
  const { process } = spec
  const ownUser = spec.namespaces.has('user')
  const owner = {
    uid: process.user.uid,
    hostUid: hostId(ownUser ? spec.uidMappings : [], process.user.uid) ?? 65534,
    hostGid: hostId(ownUser ? spec.gidMappings : [], process.user.gid) ?? 65534,
  }
  const stdio = execStdio(spec, owner)
  const preserved = preservedSlots(spec.preserveFds)
  const labels = labelSteps(process)
  const { initial, final } = process.execCPUAffinity ?? {}
  const parent: Step[] = [
    ...(spec.watched === undefined ? [] : watchedExecSteps(spec.watched)),
    ...affinitySteps(initial, 'before it joins the container'),
    ...stdio.make,
    ...cgroupSteps(spec),
    ...(spec.namespaces.has('pid') ? [enterPids()] : []),
    cloneStep(spec),
    ...stdio.release,
    ...oomSteps(process),
    { op: 'notify', point: MEETING.mapped },
    ...stdio.receive,
    ...(spec.pidfdSocket ? pidfdSteps() : []),
    { op: 'notify', point: MEETING.ready },
  ]
  const child: Step[] = [
    { op: 'setsid' },
    { op: 'wait', point: MEETING.mapped },
    // Before it is where the container's own processes could trace it and open its descriptors (CVE-2016-9962).
    { op: 'prctl', option: PR.SET_DUMPABLE, arg2: 0, arg3: 0, arg4: 0, arg5: 0, about: 'become non-dumpable' },
    ...labels.open,
    ...affinitySteps(final, 'of the command'),
    { op: 'join', process: TARGET, flags: joinedFlags(spec.namespaces), about: 'join the namespaces of the container' },
    ...(spec.chroot === true
      ? [{ op: 'chroot', root: ROOT, about: 'enter the root filesystem of the container' } as const satisfies Step]
      : []),
    ...(ownUser
      ? [{ op: 'set_ids', uid: 0, gid: 0, about: 'become root of the user namespace' } as const satisfies Step]
      : []),
    ...stdio.open,
    { op: 'wait', point: MEETING.ready },
    ...stdio.place,
    ...preserved.map((fd, index): Step => ({ op: 'dup', fd, onto: 3 + index })),
    ...processSteps(
      {
        stdio: spec.stdio,
        init: false,
        detached: spec.detached,
        oci: { gate: false, preserveFds: spec.preserveFds, keyring: spec.keyring },
        ...(spec.linux === undefined ? {} : { config: { linux: spec.linux } }),
        ...(spec.seccomp === undefined ? {} : { seccomp: spec.seccomp }),
        ...(spec.listenerText === undefined ? {} : { listenerText: spec.listenerText }),
      },
      process,
    ),
  ]
  return {
    parent,
    child,
    teardown: [],
    pumps: stdio.pumps,
    inherited: [
      TARGET,
      ...stdio.inherited,
      ...preserved,
      ...(spec.pidfdSocket ? (['fd:pidfd-socket'] as const) : []),
      ...(spec.chroot === true ? [ROOT] : []),
      ...(spec.listenerText === undefined ? [] : [LISTENER_SOCKET]),
    ],
  }
}

function cgroupSteps({ cgroup }: ExecSpec): Step[] {
  if (cgroup === undefined) return []
  const flags = O.DIRECTORY | O.NOFOLLOW
  return [
    {
      op: 'open',
      fd: 'fd:cgroup',
      dir: 'cwd',
      path: cgroup,
      flags,
      mode: 0,
      resolve: 0,
      about: `open the cgroup ${cgroup}`,
    },
  ]
}

/** The container may have divided its cgroup ("no internal processes", cgroups(7)): then beside its first process. */
function cloneStep({ cgroup, cgroupIsChosen, detached }: ExecSpec): Step {
  const flags = detached ? CLONE.PARENT : 0
  const about = 'make the process'
  if (cgroup === undefined) return { op: 'clone', flags, cgroup: 'none', about }
  if (cgroupIsChosen === true) return { op: 'clone', flags, cgroup: 'fd:cgroup', about }
  return { op: 'clone_beside', flags, cgroup: 'fd:cgroup', process: TARGET, about }
}

function affinitySteps(cpus: string | undefined, when: string): Step[] {
  if (cpus === undefined || cpus === '') return []
  return [{ op: 'cpu_affinity', cpus: bitMask(cpus), about: `run on the processors ${cpus} ${when}` }]
}

function enterPids(): Step {
  return {
    op: 'setns',
    namespace: TARGET,
    type: CLONE.NEWPID,
    about: 'join the pid namespace of the container',
    hint: 'has its first process just ended?',
  }
}

function pidfdSteps(): Step[] {
  return [
    { op: 'open_pidfd', fd: 'fd:pidfd' },
    { op: 'send_fd_to', socket: 'fd:pidfd-socket', fd: 'fd:pidfd', text: 'pidfd' },
  ]
}

function oomSteps({ oomScoreAdj }: OciProcess): Step[] {
  return oomScoreAdj === undefined ? [] : [{ op: 'write_proc', file: 'oom_score_adj', bytes: String(oomScoreAdj) }]
}

/** All but the pid namespace, which is the stage's to join. */
function joinedFlags(namespaces: ReadonlySet<NamespaceType>): number {
  let flags = 0
  for (const type of namespaces) if (type !== 'pid') flags |= NAMESPACE_FLAGS[type]
  return flags
}

/** Of the container's own /dev/pts: a pty of the host's would name a file that is not there. */
function execStdio(spec: ExecSpec, owner: { uid: number; hostUid: number; hostGid: number }): StdioSteps {
  if (spec.stdio.kind !== 'terminal' && spec.stdio.kind !== 'console') {
    return stdioSteps({ stdio: spec.stdio, init: false }, owner, {})
  }
  const find: Step = {
    op: 'open',
    fd: 'fd:devpts',
    dir: 'cwd',
    path: '/dev/pts',
    flags: O.PATH | O.DIRECTORY,
    mode: 0,
    resolve: RESOLVE.NO_SYMLINKS,
    about: 'find /dev/pts of the container',
    hint: 'a terminal needs a devpts mount in the container',
  }
  const interactive = spec.stdio.kind === 'terminal' && spec.stdio.interactive
  const steps = ptySteps({ find: [find], devpts: 'fd:devpts' }, { interactive, init: false }, owner)
  return spec.stdio.kind === 'terminal' ? steps : consoleSocket(steps)
}
