import { constants, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { OciConfig, OciProcess } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'
import type { Stdio } from '../model/launch.ts'
import type { FdSlot, Plan } from '../model/step.ts'
import { compileExec, type ExecSpec } from '../plan/compile-exec.ts'
import { inheritedFds } from '../plan/inherited.ts'
import { listenerText } from '../plan/hooks.ts'
import { LISTENER_SOCKET } from '../plan/process.ts'
import { compileSeccomp } from '../security/seccomp/compile.ts'
import { readConfig } from '../spec/read-config.ts'
import { closeFd, openProcess, reapStrays } from '../syscall/process.ts'
import { connectUnix } from '../syscall/socket.ts'
import { streamsToGive, withCallersLimit } from './bundle.ts'
import { containerPaths, type ContainerState, readState, statusOf, writeWhole } from './container.ts'
import { checkConsoleSocket } from './console-socket.ts'
import { followStage } from './follow.ts'
import { hostFacts } from './host.ts'
import { namespacesToJoin } from './join.ts'
import { type ContainerExit, launch, type Launched, type StepEvent } from './launch.ts'

export interface ExecOptions {
  readonly root: string
  readonly id: string
  /** What is run, made from the container's own config.json. */
  readonly process: (config: OciConfig) => OciProcess
  /** Do not wait for its end. */
  readonly detach: boolean
  readonly pidFile?: string
  readonly consoleSocket?: string
  readonly pidfdSocket?: string
  readonly preserveFds: number
  readonly ignorePaused: boolean
  /** Of the cgroups below the container's own: born into that one. */
  readonly cgroup?: string
  readonly onStep?: (plan: Plan, event: StepEvent) => void
  /** Called as soon as it can be signalled: only where it is not detached. */
  readonly onLaunched?: (launched: Launched) => void
}

/**
 * `exec`: one more process in a container. Answers how it ended, undefined for a detached one, which then is a child of
 * whoever adopts ours. Throws CONTAINER_STATE, or what kept the command from running.
 */
export async function execInContainer(options: ExecOptions): Promise<ContainerExit | undefined> {
  const state = readState(options.root, options.id)
  const pid = requireRunning(options, state)
  const config = readConfig(readFileSync(containerPaths(options.root, options.id).config, 'utf8'))
  const process = withCallersLimit(options.process(config))
  checkConsoleSocket(process, options.consoleSocket, options.detach)
  const fds = new Map<FdSlot, number>()
  try {
    fds.set('fd:target', openProcess(pid.pid, pid.startTime, `container ${options.id}: its first process has ended`))
    openCallersFds(options, fds)
    const spec = execSpec(options, state, { config, process, pid: pid.pid })
    openContainersFds(spec, { config, process, pid: pid.pid }, fds)
    return await runPlan(compileExec(spec), options, { fds, workdir: process.cwd })
  } finally {
    for (const [slot, fd] of fds) if (OPENED.has(slot)) closeFd(fd)
  }
}

/** The others are the caller's own. */
const OPENED: ReadonlySet<FdSlot> = new Set([
  'fd:target',
  'fd:root',
  'fd:console-socket',
  'fd:pidfd-socket',
  LISTENER_SOCKET,
])

function requireRunning(options: ExecOptions, state: ContainerState): { pid: number; startTime: number } {
  const status = statusOf(options.root, state)
  if (!('pid' in status)) {
    throw new TscrunError('CONTAINER_STATE', `cannot exec in a ${status.status} container: ${options.id}`, {
      subject: options.id,
    })
  }
  if (status.status === 'paused' && !options.ignorePaused) {
    throw new TscrunError('CONTAINER_STATE', `cannot exec in a paused container: ${options.id}`, {
      subject: options.id,
      hint: '`resume` it first, or use --ignore-paused: then it runs after the next `resume`',
    })
  }
  return status
}

function openCallersFds(options: ExecOptions, fds: Map<FdSlot, number>): void {
  if (options.consoleSocket !== undefined) {
    fds.set('fd:console-socket', connectUnix(options.consoleSocket, 'stream'))
  }
  if (options.pidfdSocket !== undefined) fds.set('fd:pidfd-socket', connectUnix(options.pidfdSocket, 'stream'))
  fds.set('fd:stdin', 0).set('fd:stdout', 1).set('fd:stderr', 2)
  fds.set('fd:in', 0).set('fd:out', 1).set('fd:err', 2)
  for (let index = 0; index < options.preserveFds; index++) fds.set(`fd:preserved${index}`, 3 + index)
}

interface Target {
  readonly config: OciConfig
  readonly process: OciProcess
  readonly pid: number
}

/** The pidfd is open: as long as it is not told to have ended, this pid is the container's. */
function openContainersFds(spec: ExecSpec, { config, pid }: Target, fds: Map<FdSlot, number>): void {
  if (spec.chroot === true) fds.set('fd:root', openSync(`/proc/${pid}/root`, constants.O_DIRECTORY | O_PATH))
  const { listenerPath } = config.linux?.seccomp ?? {}
  if (spec.listenerText !== undefined && listenerPath !== undefined) {
    fds.set(LISTENER_SOCKET, connectUnix(listenerPath, 'stream'))
  }
}

const O_PATH = 0o10000000

function execSpec(options: ExecOptions, state: ContainerState, { config, process, pid }: Target): ExecSpec {
  const profile = config.linux?.seccomp
  const seccomp =
    profile === undefined ? undefined : compileSeccomp(profile, hostFacts().arch === 'arm64' ? 'arm64' : 'x64')
  const namespaces = namespacesToJoin(pid)
  const told = { id: options.id, config, oci: { bundle: state.bundle } }
  const text = listenerText(seccomp === undefined ? told : { ...told, seccomp })
  const cgroup = options.cgroup === undefined ? state.cgroup : chosenCgroup(state, options.cgroup)
  return {
    process,
    namespaces,
    chroot: !namespaces.has('mount'),
    uidMappings: config.linux?.uidMappings ?? [],
    gidMappings: config.linux?.gidMappings ?? [],
    stdio: stdioOf(options, process),
    detached: options.detach,
    preserveFds: options.preserveFds,
    keyring: state.keyring !== false,
    pidfdSocket: options.pidfdSocket !== undefined,
    ...(cgroup === undefined ? {} : { cgroup, cgroupIsChosen: options.cgroup !== undefined }),
    ...(seccomp === undefined ? {} : { seccomp }),
    ...(text === undefined ? {} : { listenerText: text }),
    ...(config.linux === undefined ? {} : { linux: config.linux }),
  }
}

function stdioOf(options: ExecOptions, process: OciProcess): Stdio {
  if (process.terminal !== true) return { kind: 'inherited', give: streamsToGive() }
  const { consoleSize } = process
  const size = consoleSize === undefined ? {} : { rows: consoleSize.height, columns: consoleSize.width }
  if (options.consoleSocket !== undefined) return { kind: 'console', ...size }
  return { kind: 'terminal', interactive: true, ...size }
}

/** `--cgroup PATH`: below the container's own; the kernel is given no way out of it. */
function chosenCgroup(state: ContainerState, path: string): string {
  if (state.cgroup === undefined) {
    throw new TscrunError('HOST_UNSUPPORTED', `--cgroup ${path}: container ${state.id} has no cgroup of its own`, {
      subject: '--cgroup',
    })
  }
  // join() takes `..` as text.
  return join(state.cgroup, join('/', path))
}

interface Running {
  readonly fds: ReadonlyMap<FdSlot, number>
  readonly workdir: string
}

async function runPlan(
  plan: Plan,
  options: ExecOptions,
  { fds, workdir }: Running,
): Promise<ContainerExit | undefined> {
  const title = `tscrun-runtime: exec ${options.id}`
  const onStep = options.onStep === undefined ? {} : { onStep: (event: StepEvent) => options.onStep?.(plan, event) }
  if (options.detach) {
    try {
      const { pid } = await followStage(plan, { title, fds, workdir, untilExec: true, ...onStep })
      if (options.pidFile !== undefined) writeWhole(options.pidFile, String(pid))
    } catch (error) {
      // What never became the command is not for whoever adopts our children.
      reapStrays()
      throw error
    }
    return undefined
  }
  const launched = launch(plan, { title, fds: inheritedFds(plan, fds), workdir, ...onStep })
  options.onLaunched?.(launched)
  try {
    const { pid } = await launched.started
    if (options.pidFile !== undefined) writeWhole(options.pidFile, String(pid))
    return await launched.exited
  } finally {
    await launched.released
  }
}
