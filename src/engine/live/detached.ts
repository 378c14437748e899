import { closeSync, fstatSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { LaunchSpec, Stdio } from '../../model/launch.ts'
import type { DetachedOptions, RunOptions } from '../../model/run-options.ts'
import type { FdSlot, Plan } from '../../model/step.ts'
import { inheritedFds } from '../../plan/inherited.ts'
import { launch } from '../../runtime/launch.ts'
import { type AttachedStreams, connectMonitor, type MonitorClient } from '../../runtime/monitor-client.ts'
import { closeFd } from '../../syscall/process.ts'
import { listenUnix } from '../../syscall/socket.ts'
import { placeCgroup } from '../start/cgroup.ts'
import { type Claims, connected, keptClaims, takeClaims } from '../start/claims.ts'
import {
  createContainerDirectory,
  deleteContainer,
  finishContainer,
  type HeldContainer,
  readRecord,
  withRecordLock,
  writeRecord,
  writeStartedRecord,
} from '../state/containers.ts'
import { type ContainerView, findContainer, noSuchContainer } from '../state/containers-view.ts'
import { lockSoon } from '../state/directory-lock.ts'
import { containerEvent, tellAttachment, writeEvents } from '../events/log.ts'
import { removeExitFile } from '../state/exit-file.ts'
import { rejoin } from '../ids/joined-container.ts'
import { calledOf, connectedOf } from '../networks/of-record.ts'
import type { EnginePaths } from '../paths.ts'
import type { PreparedContainer } from '../start/prepare.ts'
import type { ContainerRecord } from '../state/record.ts'
import { monitorSocket } from './monitor-socket.ts'
import { detachedPlan, nextPlan, type StartableRecord, streamsOf } from './next-plan.ts'
import { backgroundStreams, refuseAttach } from './passthrough.ts'
import { afterMonitor } from '../start/after-monitor.ts'
import { storedLaunch } from '../start/stored-launch.ts'
import { recordOf, stepPrinter, writeCidfile } from '../start/start.ts'

export interface DetachedStart {
  readonly run: RunOptions & DetachedOptions
  readonly cidfile?: string
  readonly monitorPidfile?: string
  /** Connect these before the command runs. */
  readonly attach?: AttachOptions
  readonly onAttached?: (client: MonitorClient) => void
  /** Told what was changed on the host for it. */
  readonly tell?: (line: string) => void
  readonly onDebug?: (line: string) => void
  /** Ends the filling of a volume. */
  readonly signal?: AbortSignal
}

/** Makes and starts a container that outlives this process. Resolves to its id when the command runs. */
export function startDetached(
  paths: EnginePaths,
  prepared: PreparedContainer,
  options: DetachedStart,
): Promise<string> {
  return make(paths, prepared, { ...options, verb: 'run' }, async (held, record, spec) => {
    if (options.attach !== undefined) refuseAttach(record, 'run --detach-keys')
    writeRecord(paths, record)
    const network = await connected(paths, calledOf(record), connectedOf(record), { tell: options.tell })
    const plan = detachedPlan(paths, record, { ...spec, ...network }, { creates: true })
    const client = await launchDetached(paths, held, { record, plan }, options)
    if (client !== undefined) options.onAttached?.(client)
  })
}

/** `create`: everything of a start but the start. Resolves to the id. */
export function createUnstarted(
  paths: EnginePaths,
  prepared: PreparedContainer,
  options: DetachedStart,
): Promise<string> {
  return make(paths, prepared, options, async (held, record) => {
    writeRecord(paths, { ...record, unstarted: true })
    // Nothing of it lives, so nobody needs to look at it as one that did.
    rmSync(join(paths.runRoot, held.id), { recursive: true, force: true })
    writeEvents(paths, [containerEvent(record, 'create')])
    closeSync(held.lockFd)
  })
}

/** Makes a container on the disk, hands it on, and removes what it made where that fails. Resolves to its id. */
async function make(
  paths: EnginePaths,
  prepared: PreparedContainer,
  { verb, ...options }: DetachedStart & { readonly verb?: string },
  then: (held: HeldContainer, record: StartableRecord, spec: LaunchSpec) => Promise<void>,
): Promise<string> {
  const held = await createContainerDirectory(paths, prepared.id, prepared.name)
  let record: StartableRecord | undefined
  let claims: Claims = {}
  try {
    claims = await takeClaims(paths, prepared, options)
    const { tty = false, interactive = false, log } = options.run
    const stdio = backgroundStreams(log?.driver, { terminal: tty, interactive }, verb)
    const spec = prepared.spec({ stdio, ...claims })
    const stored = storedLaunch(spec, options.run, prepared)
    const cgroup = placeCgroup(held.id, spec.config)
    const complete = cgroup === undefined ? spec : { ...spec, cgroup }
    record = { ...recordOf(prepared, options.run, complete, claims), launch: stored }
    if (options.cidfile !== undefined) writeCidfile(options.cidfile, held.id)
    await then(held, record, complete)
    return held.id
  } catch (error) {
    if (record !== undefined) await afterMonitor(paths, record, error)
    deleteContainer(paths, held, record ?? { name: prepared.name, ...keptClaims(claims) })
    throw error
  }
}

export interface AttachOptions extends Omit<AttachedStreams, 'terminal'> {
  /** Of the terminal that is connected: the container's own has it before anything is typed. */
  readonly size?: { readonly rows: number; readonly columns: number }
}

/** A connection that has asked for the container's streams; undefined where no monitor listens. */
export function connectAttached(
  paths: EnginePaths,
  record: ContainerRecord,
  { size, ...streams }: AttachOptions,
): MonitorClient | undefined {
  const client = connectMonitor(monitorSocket(paths, record.id))
  if (size !== undefined) client?.resize(size.rows, size.columns)
  client?.attach({ ...streams, terminal: record.config.process?.terminal === true })
  return client
}

export interface StartAgain {
  readonly onDebug?: (line: string) => void
  /** A file that gets the pid of the monitor once the command runs. */
  readonly monitorPidfile?: string
  /** Connect these before the command runs, so that nothing of its output is missed. */
  readonly attach?: AttachOptions
}

/**
 * `start`: the same container once more, with what it has written. Resolves when the command runs, to the connection that
 * was asked for. Throws CONTAINER_STATE where it runs already.
 */
export async function startAgain(
  paths: EnginePaths,
  view: ContainerView,
  options: StartAgain,
): Promise<MonitorClient | undefined> {
  const { lockFd, record, status } = await lockResting(paths, view)
  const rests = isResting(status)
  if (lockFd === undefined || record.launch === undefined) {
    if (lockFd !== undefined) closeSync(lockFd)
    throw new TscrunError('CONTAINER_STATE', `start ${record.name}: it is ${status}`, {
      subject: record.name,
      hint: startHint(lockFd === undefined, rests),
    })
  }
  const held: HeldContainer = { id: record.id, directory: join(paths.containers, record.id), lockFd }
  const { launch } = record
  let stdio: Stdio | undefined
  let again = closingOnError(lockFd, () => {
    if (options.attach !== undefined) refuseAttach(record, 'start --attach')
    stdio = streamsOf({ ...record, launch }, `start ${record.name}`)
    return rejoined(paths, { ...record, launch })
  })
  try {
    removeExitFile(paths, record.id)
    rmSync(join(paths.runRoot, record.id), { recursive: true, force: true })
    mkdirSync(join(paths.runRoot, record.id), { recursive: true, mode: 0o700 })
    withRecordLock(paths, () => {
      // Renamed or updated meanwhile, perhaps.
      const { exit: _exit, unstarted: _unstarted, ...now } = readRecord(paths, record.id) ?? again
      again = rejoined(paths, { ...now, launch: now.launch ?? launch })
      writeStartedRecord(paths, again)
    })
    await connected(paths, calledOf(again), connectedOf(again))
    const plan = nextPlan(paths, again, stdio)
    return await launchDetached(paths, held, { record: again, plan }, options)
  } catch (error) {
    const exitCode = error instanceof TscrunError ? error.exitCode : 125
    const failed = { exitCode, oomKilled: false, finishedMs: Date.now(), error: (error as Error).message }
    await afterMonitor(paths, again, error)
    if (again.remove) deleteContainer(paths, held, again)
    else finishContainer(paths, held, again, failed)
    throw error
  }
}

function isResting(status: ContainerView['status']): boolean {
  return status === 'stopped' || status === 'created'
}

/** Its lock, and what it is by then; no lock where it runs. Throws NO_SUCH_CONTAINER where it is removed meanwhile. */
async function lockResting(
  paths: EnginePaths,
  seen: ContainerView,
): Promise<ContainerView & { readonly lockFd: number | undefined }> {
  if (!isResting(seen.status)) return { ...seen, lockFd: undefined }
  const directory = join(paths.containers, seen.record.id)
  let view = seen
  const isStarted = (): boolean => {
    view = findContainer(paths, seen.record.id)
    return !isResting(view.status)
  }
  try {
    const lockFd = await lockSoon(directory, isStarted)
    if (lockFd === undefined || fstatSync(lockFd).nlink > 0) return { ...view, lockFd }
    closeSync(lockFd)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
  throw noSuchContainer(seen.record.name)
}

function startHint(held: boolean, rests: boolean): string {
  if (!rests) return 'it needs no start'
  return held ? 'another command has it in hands: try again' : 'it was made by an older tscrun: run it anew'
}

/** Namespaces of other containers may be others than last time. Where one of those is missing, nothing is changed. */
function rejoined(paths: EnginePaths, record: StartableRecord): StartableRecord {
  const { launch } = record
  if (launch.joins === undefined) return record
  const { config, files } = rejoin(paths, record, launch.joins)
  return { ...record, config, launch: { ...launch, files } }
}

function closingOnError<T>(fd: number, action: () => T): T {
  try {
    return action()
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Where the container's streams are this process's own. */
const CALLERS: readonly (readonly [FdSlot, number])[] = [
  ['fd:stdin', 0],
  ['fd:stdout', 1],
  ['fd:stderr', 2],
]

async function launchDetached(
  paths: EnginePaths,
  held: HeldContainer,
  { record, plan }: { readonly record: StartableRecord; readonly plan: Plan },
  { onDebug, attach, monitorPidfile }: StartAgain,
): Promise<MonitorClient | undefined> {
  // What may fail of it fails before anything runs.
  const pidfile = monitorPidfile === undefined ? undefined : openPidfile(monitorPidfile)
  const listener = listenUnix(monitorSocket(paths, held.id), 'seqpacket')
  // The monitor takes it before it reads anything of the container's.
  const client = attach === undefined ? undefined : connectAttached(paths, record, attach)
  const launched = launch(plan, {
    title: `tscrun: ${record.name}`,
    fds: inheritedFds(plan, new Map([...CALLERS, ['fd:listener', listener], ['fd:lock', held.lockFd]])),
    lifetime: 'long',
    workdir: record.config.process?.cwd ?? '/',
    ...(onDebug === undefined ? {} : { onStep: stepPrinter(plan, onDebug) }),
  })
  try {
    await launched.started
    if (client !== undefined) tellAttachment(paths, record, client)
    if (pidfile !== undefined) writeSync(pidfile, `${launched.monitor}\n`)
    launched.leave()
    closeSync(held.lockFd)
    return client
  } catch (error) {
    client?.close()
    // Its monitor removes what it made before it ends.
    await launched.released
    throw error
  } finally {
    closeFd(listener)
    if (pidfile !== undefined) closeSync(pidfile)
  }
}

function openPidfile(path: string): number {
  try {
    return openSync(path, 'w')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    throw new TscrunError('USAGE', `--monitor-pidfile ${path}: ${errno}`, { errno, subject: path, cause: error })
  }
}
