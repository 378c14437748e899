import { closeSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { removeCgroup } from '../cgroups/remove.ts'
import type { OciProcess } from '../model/config.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { LaunchSpec } from '../model/launch.ts'
import { MEETING, type FdSlot, type Plan } from '../model/step.ts'
import { compile } from '../plan/compile.ts'
import { LISTENER_SOCKET } from '../plan/process.ts'
import { connectUnix, listenUnix } from '../syscall/socket.ts'
import { closeFd } from '../syscall/process.ts'
import { type Bundle, launchSpec, readBundle, streamsToGive } from './bundle.ts'
import { withActivation } from './activation.ts'
import { briefOf } from './brief.ts'
import { type CgroupDriver, enterScope, placeCgroup } from './cgroup.ts'
import { checkConsoleSocket } from './console-socket.ts'
import { claimContainer, type ContainerState, removeContainerDirectory, writeWhole } from './container.ts'
import { followStage } from './follow.ts'
import { hostMountAt, removeHostMount } from './host-mounts.ts'
import { removeResctrlGroup, resctrlGroup } from './resctrl.ts'
import type { StartedProcess, StepEvent } from './launch.ts'

export interface CreateOptions {
  /** Directory of the containers. */
  readonly root: string
  readonly id: string
  readonly bundle: string
  readonly pidFile?: string
  readonly consoleSocket?: string
  readonly pidfdSocket?: string
  readonly preserveFds: number
  readonly pivot: boolean
  readonly keyring: boolean
  /** Who makes the cgroup. */
  readonly cgroups: CgroupDriver
  /** Another name than config.json. */
  readonly configFile?: string
  readonly onStep?: (plan: Plan, event: StepEvent) => void
}

/**
 * `create`: everything up to the command, which waits for `start`. The first process is left as a child of this process.
 * Throws TscrunError; then nothing is left.
 */
export async function createContainer(options: CreateOptions): Promise<StartedProcess> {
  const bundle = withActivation(readBundle(options.bundle, options.configFile))
  checkConsoleSocket(bundle.config.process, options.consoleSocket, true)
  const { paths, lock } = claimContainer(options.root, options.id)
  const fds = new Map<FdSlot, number>()
  let spec: LaunchSpec | undefined
  let state: ContainerState | undefined
  try {
    spec = await completeSpec(options, bundle, { directory: paths.directory, gate: true })
    const plan = compile(spec)
    state = newState(options, bundle, spec)
    writeWhole(paths.config, bundle.text)
    writeWhole(paths.remaining, remainingSteps(plan))
    writeWhole(paths.state, JSON.stringify(state))
    openCallersFds(options, paths.gate, fds)
    openListener(plan, bundle, fds)
    return await followStage(plan, {
      title: `tscrun-runtime: ${options.id}`,
      fds,
      ...(bundle.config.process === undefined ? {} : { workdir: bundle.config.process.cwd }),
      ...(options.onStep === undefined ? {} : { onStep: (event: StepEvent) => options.onStep?.(plan, event) }),
      onMeeting: async (point, started) => {
        if (point === MEETING.cloned) return enterScope(options.id, bundle.config, started.pid)
        if (point !== MEETING.recorded) throw new RangeError(`no meeting ${point}`)
        const made = { ...(state as ContainerState), ...started }
        writeWhole(paths.state, JSON.stringify(made))
        const brief = briefOf(made, bundle.config)
        if (brief !== undefined) writeWhole(paths.brief, brief)
        if (options.pidFile !== undefined) writeWhole(options.pidFile, String(started.pid))
      },
    })
  } catch (error) {
    // Another create was quicker: the scope of this name, with its cgroup, is that one's.
    const taken = error instanceof TscrunError && error.code === 'NAME_IN_USE'
    if (spec?.cgroup !== undefined && !taken) await removeCgroup(join(spec.cgroup.parent, spec.cgroup.name))
    if (state?.hostMount !== undefined) removeHostMount(state.hostMount)
    if (state?.resctrl !== undefined) removeResctrlGroup(state.resctrl)
    removeContainerDirectory(paths)
    if (state !== undefined) await afterStop(bundle, state)
    throw error
  } finally {
    for (const [slot, fd] of fds) if (!KEPT.has(slot)) closeFd(fd)
    closeSync(lock)
  }
}

/** Its mounts are made among the host's own. */
function isOnHost({ config }: Bundle): boolean {
  return config.linux?.namespaces?.some(({ type }) => type === 'mount') !== true
}

/** What failed is over, and its hooks are told (runtime.md, Lifecycle); the failure itself is what the caller hears. */
async function afterStop(bundle: Bundle, state: ContainerState): Promise<void> {
  if ((bundle.config.hooks?.poststop ?? []).length === 0) return
  const { runHooks } = await import('./hooks.ts')
  await runHooks('poststop', bundle.text, { ...state, status: 'stopped', pid: 0 })
}

/** Ours, not opened for the container. */
const KEPT: ReadonlySet<FdSlot> = new Set(['fd:stdin', 'fd:stdout', 'fd:stderr'])

/** How a container comes to be: without a gate it runs at once, under a monitor and on the caller's own terminal. */
export interface Birth {
  readonly directory: string
  readonly gate: boolean
}

export async function completeSpec(
  options: CreateOptions,
  bundle: Bundle,
  { directory, gate }: Birth,
): Promise<LaunchSpec> {
  const spec = launchSpec(options.id, directory, bundle, stdioOf(bundle.config.process, gate), {
    gate,
    preserveFds: options.preserveFds,
    pivot: options.pivot,
    keyring: options.keyring,
    pidfdSocket: options.pidfdSocket !== undefined,
  })
  const cgroup = await placeCgroup(options.id, bundle.config, options.cgroups)
  return cgroup === undefined ? spec : { ...spec, cgroup }
}

function stdioOf(process: OciProcess | undefined, gate: boolean): LaunchSpec['stdio'] {
  if (process?.terminal !== true) return { kind: 'inherited', give: streamsToGive() }
  const { consoleSize } = process
  const size = consoleSize === undefined ? {} : { rows: consoleSize.height, columns: consoleSize.width }
  return gate ? { kind: 'console', ...size } : { kind: 'terminal', interactive: true, ...size }
}

export function newState(
  options: Pick<CreateOptions, 'id' | 'keyring'>,
  bundle: Bundle,
  spec: LaunchSpec,
): ContainerState {
  const group = resctrlGroup(options.id, bundle.config)
  return {
    version: 1,
    ociVersion: bundle.config.ociVersion,
    id: options.id,
    bundle: bundle.path,
    rootfs: bundle.rootfs,
    createdMs: Date.now(),
    owner: ownerName(),
    annotations: bundle.config.annotations ?? {},
    ...(group === undefined ? {} : { resctrl: group }),
    ...(isOnHost(bundle) ? { hostMount: hostMountAt(bundle.rootfs) } : {}),
    ...(spec.cgroup === undefined ? {} : { cgroup: join(spec.cgroup.parent, spec.cgroup.name) }),
    ...(spec.cgroup?.scope === undefined ? {} : { unit: spec.cgroup.scope }),
    ...(options.keyring ? {} : { keyring: false }),
  }
}

/** Not everyone has an entry in passwd. */
function ownerName(): string {
  try {
    return userInfo().username
  } catch (error) {
    if (errnoOf(error) !== 'ERR_SYSTEM_ERROR') throw error
    return String(process.geteuid?.() ?? '')
  }
}

/** What the first process does after `start`, as far as the words of a failure need it. */
function remainingSteps(plan: Plan): string {
  const from = plan.child.findIndex((step) => step.op === 'gate')
  const plain = (_: string, value: unknown): unknown =>
    value instanceof Uint8Array ? '' : typeof value === 'bigint' ? value.toString() : value
  return JSON.stringify({ from, steps: plan.child.slice(from) }, plain)
}

/** Throws SyscallError naming the socket of the seccomp agent if nobody listens there. */
export function openListener(plan: Plan, { config }: Bundle, fds: Map<FdSlot, number>): void {
  const path = config.linux?.seccomp?.listenerPath
  if (path === undefined || !plan.inherited.includes(LISTENER_SOCKET)) return
  fds.set(LISTENER_SOCKET, connectUnix(path, 'stream'))
}

/** The descriptors of the plan's inherited slots. Throws SyscallError naming the socket that nobody listens on. */
function openCallersFds(options: CreateOptions, gate: string, fds: Map<FdSlot, number>): void {
  fds.set('fd:stdin', 0).set('fd:stdout', 1).set('fd:stderr', 2)
  if (options.consoleSocket !== undefined) {
    fds.set('fd:console-socket', connectUnix(options.consoleSocket, 'stream'))
  }
  if (options.pidfdSocket !== undefined) fds.set('fd:pidfd-socket', connectUnix(options.pidfdSocket, 'stream'))
  for (let index = 0; index < options.preserveFds; index++) fds.set(`fd:preserved${index}`, 3 + index)
  fds.set('fd:gate', listenUnix(gate, 'seqpacket'))
}
