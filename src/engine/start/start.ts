import { existsSync, writeFileSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { HealthCheck } from '../../model/health.ts'
import { SIGKILL } from '../../model/kernel-names.ts'
import type { FdSlot, Plan } from '../../model/step.ts'
import type { LaunchSpec } from '../../model/launch.ts'
import type { NetworkConnection } from '../../model/network.ts'
import type { DetachedOptions, NetworkOption, RunOptions, VolumeMount } from '../../model/run-options.ts'
import type { Called } from '../../network/names.ts'
import { compile } from '../../plan/compile.ts'
import { encodePlan } from '../../plan/encode.ts'
import { canBeHeld, needsDirectory } from '../../plan/held.ts'
import { describeStep } from '../../plan/words.ts'
import { type ContainerExit, launch, type Launched, type LaunchOptions } from '../../runtime/launch.ts'
import type { MadeBy } from '../api.ts'
import { placeCgroup, withLoadedFilter } from './cgroup.ts'
import { type Claims, connected, keptClaims, takeClaims } from './claims.ts'
import {
  createContainerDirectory,
  deleteContainer,
  deleteFiles,
  forgetRun,
  type HeldContainer,
  noteExit,
  writeLiveState,
  writeRecord,
} from '../state/containers.ts'
import { eventLaunch } from '../events/launch.ts'
import type { EnginePaths } from '../paths.ts'
import { nextTurn } from '../../syscall/pause.ts'
import { planFor, type ProvenTemplate } from '../prepared/plan-cache.ts'
import { exposedPorts } from '../networks/exposed.ts'
import type { PreparedContainer } from './prepare.ts'
import type { ContainerRecord, ExitRecord } from '../state/record.ts'
import type { Foreseen } from '../prepared/foresee.ts'
import { justLook, type Look } from './look.ts'
import { afterMonitor } from './after-monitor.ts'
import { storedLaunch } from './stored-launch.ts'
import { type KeptMount } from '../volumes/users.ts'

export interface StartOptions {
  readonly run: RunOptions & Pick<DetachedOptions, 'log'> & { readonly madeBy?: MadeBy }
  readonly stdio: LaunchSpec['stdio']
  /** Descriptors for the plan's inherited slots. */
  readonly fds: readonly number[]
  /** Write the id here, refusing a file that exists. */
  readonly cidfile?: string
  readonly onDebug?: (line: string) => void
  /** Told what was changed on the host for it. */
  readonly tell?: (line: string) => void
  /** The event loop turns once between planning and starting: for a process that has other things to do. */
  readonly shareLoop?: boolean
  /** Ends the filling of a volume. */
  readonly signal?: AbortSignal
  /** The next one like this may be begun before it is wanted. */
  readonly ahead?: AheadStarts
}

/** Starts that are begun before anybody wants them (prepared/ahead.ts). */
export interface AheadStarts {
  /** Its addresses, where something has been begun for this very request. */
  readonly connections?: readonly NetworkConnection[]
  /** The container's directory is there, and its lock held: what has been begun for it goes on. */
  wanted(): void
  /** What this one was going to be, if it has become just that. */
  readonly foreseen?: Foreseen
  /** Notes what the start is decided from. */
  readonly look: Look
  /** For the launch of a container: what has been begun for it, and what becomes of its stage. */
  launch(
    prepared: PreparedContainer,
    made: MadeStart,
    run: StartOptions['run'],
  ): Promise<Pick<LaunchOptions, 'ahead' | 'onLost' | 'onReleased'>>
  /** Ends what has not come to a launch. */
  dismiss(): Promise<void>
}

/** A container that is being started or runs. */
export interface RunningHandle {
  readonly id: string
  readonly made: MadeStart
  /** As it was asked for, or decided. */
  readonly network: NetworkOption
  /** The plan as the stage has read it. */
  readonly bytes: () => Buffer
  readonly launched: Launched
  /** Resolves when it has ended and everything that has to go is gone. Rejects where it could not be started. */
  readonly ended: Promise<ContainerExit>
}

/** What a container is started by, once its range of ids is known. */
export interface MadeStart {
  readonly plan: Plan
  /** As the stage reads it, where it is known already. */
  readonly bytes?: () => Buffer
  readonly template?: ProvenTemplate
  /** Its root filesystem needs nothing of the container's directory. */
  readonly scratch: boolean
  readonly record: ContainerRecord
  /** Of the plan's slot `fd:devices`, where it has one. */
  readonly program?: number
  /** In the container, for the words of a failed exec. */
  readonly workdir: string
}

/** Config, cgroup, plan and record of a container; the cgroup that all of them lie in is made where it is missing. */
export async function makeStart(
  paths: EnginePaths,
  prepared: PreparedContainer,
  options: Pick<StartOptions, 'run' | 'stdio' | 'shareLoop' | 'tell'> & { readonly held?: boolean },
  claims: Claims,
  look = justLook,
): Promise<MadeStart> {
  const spec = prepared.spec({ stdio: options.stdio, ...claims })
  const placed = placeCgroup(prepared.id, spec.config, { look })
  // A process that starts one container only gains nothing by loading its filter.
  const loaded = placed === undefined || options.shareLoop !== true ? { placement: placed } : withLoadedFilter(placed)
  const { placement: cgroup, program } = { program: undefined, ...loaded }
  const placedSpec: LaunchSpec = {
    ...spec,
    // A program has a clock of its own for its runs.
    ...(options.run.timeoutMs === undefined || options.shareLoop === true
      ? {}
      : { timeLimitMs: options.run.timeoutMs }),
    ...(cgroup === undefined ? {} : { cgroup }),
    ...(await connected(paths, calledOf(prepared, spec), claims.connected, { tell: options.tell, look })),
  }
  const record = {
    ...recordOf(prepared, options.run, placedSpec, claims),
    launch: storedLaunch(spec, options.run, prepared),
  }
  const complete = await withHealth(paths, record, placedSpec, prepared.health)
  const told = { ...complete, events: eventLaunch(paths, record, true) }
  const whole: LaunchSpec = options.held === true && canBeHeld(told) ? { ...told, held: true } : told
  const plan = (): Plan => inheriting(compile(whole), program === undefined ? ['fd:lock'] : ['fd:lock', 'fd:devices'])
  const { id, name } = record
  const { idRange, connected: { connections: [first, second] = [], ports = [] } = {} } = claims
  // A name that was given is no part of what differs, nor are ports or several networks.
  const repeats =
    options.run.name === undefined &&
    prepared.health === undefined &&
    second === undefined &&
    !asksForItsOwn(options.run.network)
  return {
    ...(options.shareLoop === true && repeats && ports.length === 0 && idRange !== undefined
      ? planFor(whole, { id, name, firstId: idRange.hostId, nowMs: 0, ...addressesOf(first) }, plan)
      : { plan: plan() }),
    record,
    scratch: !needsDirectory(spec.rootfs),
    ...(program === undefined ? {} : { program }),
    workdir: spec.config.process?.cwd ?? '/',
  }
}

/** What only one container can have in a network. */
function asksForItsOwn(network: NetworkOption | undefined): boolean {
  if (typeof network !== 'object' || !('networks' in network)) return false
  return network.networks.some(({ ip, ip6, mac }) => (ip ?? ip6 ?? mac) !== undefined)
}

function calledOf({ id, name }: PreparedContainer, { config }: LaunchSpec): Called {
  return { id, name, ...(config.hostname === undefined ? {} : { hostname: config.hostname }) }
}

/** Of an identity. */
export function addressesOf({ ip, ip6 }: Partial<NetworkConnection> = {}): {
  readonly ip?: string
  readonly ip6?: string
} {
  return { ...(ip === undefined ? {} : { ip }), ...(ip6 === undefined ? {} : { ip6 }) }
}

/** Makes the container on the disk, starts it, and sees to its end. Rejects before anything runs, leaving nothing. */
export async function startContainer(
  paths: EnginePaths,
  prepared: PreparedContainer,
  options: StartOptions,
): Promise<RunningHandle> {
  const held = await createContainerDirectory(paths, prepared.id, prepared.name)
  let record: ContainerRecord | undefined
  let claims: Claims = {}
  try {
    options.ahead?.wanted()
    claims = await takeClaims(paths, prepared, options)
    const foreseen = options.ahead?.foreseen?.made(prepared, claims)
    const made = foreseen ?? (await decideStart(paths, prepared, options, claims))
    const { plan, program } = made
    record = made.record
    if (options.cidfile !== undefined) writeCidfile(options.cidfile, held.id)
    // What comes next waits for an exec: together with the planning it would be the longest block of the event loop.
    if (options.shareLoop === true && foreseen === undefined) await nextTurn()
    const trace = options.onDebug !== undefined
    const ahead = await options.ahead?.launch(prepared, made, options.run)
    const bytes =
      trace || made.bytes === undefined ? once(() => encodePlan(plan, { monitor: true, trace })) : made.bytes
    const launched = launch(plan, {
      bytes,
      title: `tscrun: ${prepared.name}`,
      fds: [...options.fds, held.lockFd, ...(program === undefined ? [] : [program])],
      workdir: made.workdir,
      ...ahead,
      ...(options.onDebug === undefined ? {} : { onStep: stepPrinter(plan, options.onDebug) }),
    })
    const { network = 'none' } = options.run
    return { id: held.id, made, network, bytes, launched, ended: seeToTheEnd(paths, held, record, launched) }
  } catch (error) {
    await options.ahead?.dismiss()
    deleteContainer(paths, held, record ?? { name: prepared.name, ...keptClaims(claims) })
    throw error
  }
}

async function decideStart(
  paths: EnginePaths,
  prepared: PreparedContainer,
  options: StartOptions,
  claims: Claims,
): Promise<MadeStart> {
  const { ahead } = options
  const { afresh } = prepared
  const decided = afresh === undefined ? prepared : await afresh()
  return makeStart(paths, decided, { ...options, held: ahead !== undefined }, claims, ahead?.look)
}

function once<T>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}

/** What makes the checks is loaded for a container that has them. */
async function withHealth(
  paths: EnginePaths,
  record: ContainerRecord,
  spec: LaunchSpec,
  health: HealthCheck | undefined,
): Promise<LaunchSpec> {
  if (health === undefined) return spec
  const { healthSpec } = await import('../health/health.ts')
  return { ...spec, ...healthSpec(paths, record, spec, health) }
}

export function writeCidfile(path: string, id: string): void {
  try {
    writeFileSync(path, id, { flag: 'wx' })
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    throw new TscrunError('USAGE', `--cidfile ${path}: ${errno === 'EEXIST' ? 'the file exists' : errno}`, {
      errno,
      subject: path,
      hint: errno === 'EEXIST' ? 'remove it, or choose another file' : 'can it be made there?',
      cause: error,
    })
  }
}

/** The monitor keeps the container's lock as long as it lives. */
export function withLock(plan: Plan): Plan {
  return inheriting(plan, ['fd:lock'])
}

function inheriting(plan: Plan, slots: readonly FdSlot[]): Plan {
  return { ...plan, inherited: [...plan.inherited, ...slots] }
}

export function recordOf(
  prepared: PreparedContainer,
  run: RunOptions & { readonly madeBy?: MadeBy },
  spec: LaunchSpec,
  { idRange, connected, taken }: Claims,
): ContainerRecord {
  return {
    version: 1,
    id: prepared.id,
    name: prepared.name,
    image: prepared.source.name,
    ...(prepared.source.imageId === undefined ? {} : { imageId: prepared.source.imageId }),
    createdMs: Date.now(),
    labels: { ...Object.fromEntries(prepared.source.config.labels), ...run.labels },
    network: prepared.targets?.network ?? networkName(run.network ?? 'none'),
    remove: run.remove === true,
    stopSignal: run.stopSignal ?? prepared.source.config.stopSignal ?? 'SIGTERM',
    ...(run.madeBy === undefined ? {} : { madeBy: run.madeBy }),
    ...(run.stopTimeoutMs === undefined ? {} : { stopTimeoutMs: run.stopTimeoutMs }),
    config: spec.config,
    ...(spec.cgroup === undefined ? {} : { cgroup: `${spec.cgroup.parent}/${spec.cgroup.name}` }),
    ...(idRange === undefined ? {} : { idRange }),
    ...connected,
    ...exposedOf(prepared.source.config.exposedPorts, run),
    mounts: taken?.kept ?? keptMounts(prepared.mounts),
  }
}

function exposedOf(image: readonly string[], run: RunOptions): Pick<ContainerRecord, 'exposed'> {
  return image.length === 0 && run.expose === undefined ? {} : { exposed: exposedPorts(image, run) }
}

function networkName(network: NetworkOption): string {
  if (typeof network === 'string') return network
  if ('networks' in network) return network.networks.map(({ name }) => name).join(',')
  if ('cni' in network) return network.cni.map(({ name }) => `cni:${name}`).join(',')
  return 'path' in network ? `ns:${network.path}` : `container:${network.container}`
}

/** Without volumes of the store. */
function keptMounts(mounts: readonly VolumeMount[]): KeptMount[] {
  return mounts.flatMap((mount) => (mount.source === undefined ? [] : [mount]))
}

async function seeToTheEnd(
  paths: EnginePaths,
  held: HeldContainer,
  record: ContainerRecord,
  launched: Launched,
): Promise<ContainerExit> {
  let startedMs: number | undefined
  try {
    // Beside the start, not before it: a container without a record is a leftover, whose cgroup is found by its id.
    writeRecord(paths, record)
    const { pid, startTime } = await launched.started
    startedMs = Date.now()
    // A command that has ended already needs no state for others to find it by.
    if (!launched.hasExited()) writeLiveState(paths, { version: 1, id: held.id, pid, startTime, startedMs })
    const exit = await launched.exited
    // Process 1 of a pid namespace takes everyone along: nobody writes any more, and what the container leaves on the
    // disk can go while the monitor takes down its mounts and cgroup.
    // Not what plugins of its networks will be told.
    if (!ownsPids(record) || record.cni !== undefined) await launched.released
    settle(paths, held, record, { ...exitRecord(exit), startedMs })
    await launched.released
    if (record.cgroup !== undefined && existsSync(record.cgroup)) await afterMonitor(paths, record, 'killed')
    forgetRun(paths, held, record.remove)
    return exit
  } catch (error) {
    launched.signal(SIGKILL)
    await launched.released
    await afterMonitor(paths, record, error)
    settle(paths, held, record, {
      exitCode: 125,
      oomKilled: false,
      finishedMs: Date.now(),
      error: (error as Error).message,
      ...(startedMs === undefined ? {} : { startedMs }),
    })
    forgetRun(paths, held)
    throw error
  }
}

function ownsPids(record: ContainerRecord): boolean {
  return record.config.linux?.namespaces?.some(({ type, path }) => type === 'pid' && path === undefined) === true
}

/** A container that never ran is not kept, as podman has it with --rm and docker without: there is nothing to look at. */
function settle(paths: EnginePaths, held: HeldContainer, record: ContainerRecord, exit: ExitRecord): void {
  if (record.remove || exit.startedMs === undefined) deleteFiles(paths, held, record)
  else noteExit(paths, held, record, exit)
}

function exitRecord(exit: ContainerExit): Omit<ExitRecord, 'startedMs'> {
  return {
    exitCode: exit.exitCode,
    oomKilled: exit.oomKilled,
    finishedMs: Date.now(),
    ...(exit.signal === undefined ? {} : { signal: exit.signal }),
    ...(exit.timedOut === undefined ? {} : { timedOut: exit.timedOut }),
  }
}

/** `+0.123 ms parent  mkdir ...` for each step. */
export function stepPrinter(
  plan: Plan,
  print: (line: string) => void,
): (event: { column: 'parent' | 'child' | 'teardown'; index: number; atNs: bigint }) => void {
  let begin: bigint | undefined
  return ({ column, index, atNs }) => {
    begin ??= atNs
    const step = plan[column][index]
    const time = (Number(atNs - begin) / 1e6).toFixed(3).padStart(9)
    if (step !== undefined) print(`${time} ms ${column.padEnd(8)} ${describeStep(step)}`)
  }
}
