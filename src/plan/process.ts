import type { OciConfig, OciProcess, OciRlimit } from '../model/config.ts'
import type { LaunchSpec } from '../model/launch.ts'
import { PR } from '../model/linux.ts'
import { MEETING, TARGET, type FdSlot, type Step } from '../model/step.ts'
import { capabilityMask } from '../security/capabilities.ts'
import { rlimitNumber, rlimitValue } from '../security/rlimits.ts'
import { attributeSteps, labelSteps } from './attributes.ts'
import { takeTerminal } from './stdio.ts'

/** The directory the command starts in is made if it is missing, below the root's descriptor (CVE-2026-55686). */
export function workdirSteps(process: OciProcess): Step[] {
  if (process.cwd === '/') return []
  return [
    {
      op: 'target',
      fd: 'fd:cwd',
      root: 'fd:rootfs',
      path: process.cwd,
      kind: TARGET.directory,
      mode: 0o755,
      like: 'none',
      tolerate: ['EROFS'],
      because: 'a read-only root has it or chdir says so',
      about: `prepare the working directory ${process.cwd}`,
    },
  ]
}

/** What beside the process itself decides about its steps: for a first process the `LaunchSpec`, else an `ExecSpec`. */
export interface ProcessSurroundings extends Pick<LaunchSpec, 'seccomp' | 'init' | 'stdio'> {
  readonly oci?: Pick<NonNullable<LaunchSpec['oci']>, 'gate' | 'preserveFds' | 'keyring'>
  /** Without a gate: nobody supervises it, it lives on without us. */
  readonly detached?: boolean
  /** What of config.json is the process's own although it is not under `process`. */
  readonly config?: Pick<OciConfig, 'linux'>
  /** A user namespace of somebody else's may not let its processes change their groups (user_namespaces(7)). */
  readonly groupsMayBeFixed?: boolean
  /** Right before the command, with the rights of root: hooks. */
  readonly atStart?: readonly Step[]
  /** What goes with the seccomp listener to its socket. */
  readonly listenerText?: string
}

/**
 * From root of the container to the user's command: each step gives something up, and the order is what makes the next
 * one still possible.
 */
export function processSteps(spec: ProcessSurroundings, process: OciProcess): Step[] {
  const limits = process.rlimits ?? []
  // Behind the gate descriptors are still needed.
  const isLate = ({ type }: OciRlimit): boolean => spec.oci?.gate === true && type === 'RLIMIT_NOFILE'
  const steps: Step[] = limits.filter((limit) => !isLate(limit)).map(limitStep)
  steps.push(...attributeSteps(process, spec.config?.linux))
  // A session keyring of its own: the host's keys are not reachable by inheritance (keyctl_join_session_keyring(3)).
  if (spec.oci?.keyring !== false)
    steps.push({ op: 'new_keyring', tolerate: ['ENOSYS', 'EPERM'], because: 'no keyrings here, so none to inherit' })
  steps.push({
    op: 'chdir',
    path: process.cwd,
    about: `enter the working directory ${process.cwd}`,
    hint: 'it must be a directory that the user may enter',
  })
  steps.push({ op: 'close_fds', from: 3 + (spec.oci?.preserveFds ?? 0) })
  const setEnv: Step = { op: 'set_env', env: process.env ?? [] }
  // An engine has put it there. The filter may refuse what it takes to look it up, so that comes first.
  const homeless = spec.oci !== undefined && process.env?.some((entry) => entry.startsWith('HOME=')) !== true
  if (homeless) steps.push(setEnv, { op: 'set_home', uid: process.user.uid })
  steps.push(...gateSteps(spec, process), ...(spec.atStart ?? []), ...limits.filter(isLate).map(limitStep))
  steps.push(...labelSteps(process).set)
  // Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go; with it, the filter is loaded last.
  const late = process.noNewPrivileges === true
  if (!late) steps.push(...seccompSteps(spec))
  const monitored = spec.oci?.gate !== true && spec.detached !== true
  steps.push(...identitySteps(process, monitored, spec.groupsMayBeFixed === true))
  if (late)
    steps.push({
      op: 'prctl',
      option: PR.SET_NO_NEW_PRIVS,
      arg2: 1,
      arg3: 0,
      arg4: 0,
      arg5: 0,
      about: 'set no_new_privs',
    })
  if (late) steps.push(...seccompSteps(spec))
  if (spec.init) {
    steps.push({ op: 'reaper', about: 'stay as process 1 (--init)' })
    if (spec.stdio.kind === 'terminal') steps.push(takeTerminal())
  }
  if (!homeless) steps.push(setEnv)
  steps.push({ op: 'exec', command: process.args[0] ?? '', args: process.args, path: searchPath(process.env ?? []) })
  return steps
}

function limitStep(limit: OciRlimit): Step {
  return {
    op: 'rlimit',
    resource: rlimitNumber(limit.type),
    soft: rlimitValue(limit.type, limit.soft),
    hard: rlimitValue(limit.type, limit.hard),
    about: `set ${limit.type}`,
    hint: 'a hard limit can only be lowered without CAP_SYS_RESOURCE',
  }
}

/** What an OCI runtime's `create` waits for: a command that can be run, and a first process at its gate. */
function gateSteps(spec: ProcessSurroundings, process: OciProcess): Step[] {
  if (spec.oci?.gate !== true) return []
  const command = process.args[0] ?? ''
  return [
    { op: 'find_program', command, path: searchPath(process.env ?? []) },
    { op: 'notify', point: MEETING.waiting },
    { op: 'wait', point: MEETING.recorded },
    { op: 'gate', listener: 'fd:gate', about: 'wait for `start`' },
  ]
}

/** Groups before gid before uid (each needs the rights the next one drops); capabilities around them. */
function identitySteps(process: OciProcess, monitored: boolean, groupsMayBeFixed: boolean): Step[] {
  const { uid, gid, additionalGids = [], umask = 0o022 } = process.user
  const caps = process.capabilities ?? {}
  const mask = (names: readonly string[] | undefined): bigint => capabilityMask(names ?? [])
  // The primary group is always among the supplementary ones (CVE-2022-2989: negative group permissions).
  const gids = [...new Set([gid, ...additionalGids])]
  const steps: Step[] = [
    { op: 'umask', mask: umask },
    { op: 'bounding', keep: mask(caps.bounding) },
    {
      op: 'setgroups',
      gids: groupBytes(gids),
      ...(groupsMayBeFixed && additionalGids.length === 0
        ? ({
            tolerate: ['EPERM'],
            because: 'the joined user namespace forbids it, and no groups were taken into it',
          } as const)
        : {}),
    },
    {
      op: 'prctl',
      option: PR.SET_KEEPCAPS,
      arg2: 1,
      arg3: 0,
      arg4: 0,
      arg5: 0,
      about: 'keep capabilities over the change of user',
    },
    {
      op: 'set_ids',
      uid,
      gid,
      about: `become user ${uid}:${gid}`,
      hint: 'is this id inside the range of the user namespace?',
    },
    {
      op: 'capset',
      effective: mask(caps.effective),
      permitted: mask(caps.permitted),
      inheritable: mask(caps.inheritable),
    },
    // One that is not inheritable cannot be ambient (capabilities(7)); `runc spec` itself writes such configs.
    { op: 'ambient', raise: mask(caps.ambient) & mask(caps.inheritable) & mask(caps.permitted) },
    { op: 'prctl', option: PR.SET_KEEPCAPS, arg2: 0, arg3: 0, arg4: 0, arg5: 0, about: 'no longer keep capabilities' },
  ]
  if (monitored) {
    // A change of ids cleared it: the container dies with whoever supervises it.
    steps.push({
      op: 'prctl',
      option: PR.SET_PDEATHSIG,
      arg2: 9,
      arg3: 0,
      arg4: 0,
      arg5: 0,
      about: 'die with the monitor',
    })
  }
  return steps
}

function seccompSteps(spec: ProcessSurroundings): Step[] {
  if (spec.seccomp === undefined) return []
  const { flags, program } = spec.seccomp
  const about = 'load the seccomp filter'
  const hint = 'this kernel may lack seccomp: `tscrun doctor` tells; --security-opt seccomp=unconfined does without'
  if (spec.listenerText === undefined) return [{ op: 'seccomp', flags, program, about, hint }]
  return [
    {
      op: 'seccomp_notify',
      // There is one thread; the one that hands the listener over must stay outside.
      flags: flags & ~TSYNC,
      program,
      socket: LISTENER_SOCKET,
      text: spec.listenerText,
      about: `${about} and send its listener`,
      hint: 'does somebody still listen at linux.seccomp.listenerPath?',
    },
  ]
}

/** SECCOMP_FILTER_FLAG_TSYNC and TSYNC_ESRCH. */
const TSYNC = 0x11

/** Filled by the caller: a connection to linux.seccomp.listenerPath. */
export const LISTENER_SOCKET: FdSlot = 'fd:seccomp-socket'

/** Descriptors of the caller that the command was promised, at the numbers they have there. */
export function preservedSlots(count: number): FdSlot[] {
  return Array.from({ length: count }, (_, index): FdSlot => `fd:preserved${index}`)
}

function groupBytes(gids: readonly number[]): Buffer {
  const bytes = Buffer.alloc(gids.length * 4)
  gids.forEach((gid, index) => bytes.writeUInt32LE(gid, index * 4))
  return bytes
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

function searchPath(env: readonly string[]): string {
  const entry = env.findLast((item) => item.startsWith('PATH='))
  return entry === undefined ? DEFAULT_PATH : entry.slice('PATH='.length)
}
