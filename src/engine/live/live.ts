import { writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { signalNumber as signalOf } from '../../model/kernel-names.ts'
import { type ContainerExit, deferred } from '../../runtime/launch.ts'
import { collectStages } from '../../runtime/stage.ts'
import { connectMonitor } from '../../runtime/monitor-client.ts'
import { pause, realTimers } from '../../syscall/pause.ts'
import { signalProcess } from '../../syscall/process.ts'
import { isHeld } from '../state/directory-lock.ts'
import { type ContainerView, findContainer } from '../state/containers-view.ts'
import { type AttachOptions, connectAttached } from './detached.ts'
import { containerEvent, type NewEvent, tellAttachment, writeEvents } from '../events/log.ts'
import { monitorSocket } from './monitor-socket.ts'
import { refuseAttach } from './passthrough.ts'
import type { EnginePaths } from '../paths.ts'

/**
 * The verbs on a container that runs. A detached one is reached by its monitor's socket; one in the foreground, which has
 * no such socket, by its first process.
 */

/** How long a container that was killed may take until its monitor has put everything away. */
const PATIENCE_MS = 10_000
/** Until it is killed once more. */
const AGAIN_MS = 500
const SETTLE_MS = 1000

/** `SIGTERM` or its number. Throws USAGE. */
export function signalNumber(signal: string | number): number {
  if (typeof signal === 'number') return signal
  const known = signalOf(signal)
  if (known !== undefined) return known
  throw new TscrunError('USAGE', `signal ${signal}: unknown`, { subject: signal, hint: 'a name such as SIGTERM' })
}

export interface StopOptions {
  /** How long it may take before it is killed; as the container was made with, or 10 s, by default. */
  readonly timeoutMs?: number
  /** Where neither that nor the container says how long; 10 s by default. */
  readonly defaultTimeoutMs?: number
  /** Instead of the container's own stop signal. */
  readonly signal?: string | number
  /** The machine goes down: nobody wants it to end for good, so what starts at boot starts again then. */
  readonly shutdown?: boolean
}

/** Stops a container, so that it is not started again. One that has stopped already is no error. */
export async function stopContainer(paths: EnginePaths, idOrName: string, options: StopOptions): Promise<string> {
  const view = findContainer(paths, idOrName)
  const { record } = view
  if (view.status === 'stopped' || view.status === 'created') return record.id
  const { timeoutMs = record.stopTimeoutMs ?? options.defaultTimeoutMs ?? 10_000 } = options
  const { signal = record.stopSignal, shutdown = false } = options
  const number = signalNumber(signal)
  writeEvents(paths, [killEvent(view, number)])
  const client = connectMonitor(monitorSocket(paths, record.id))
  try {
    if (client === undefined) signalFirst(view, number)
    else client.stop(number, shutdown)
    if (view.status === 'paused') thaw(view)
    if (!(await released(paths, record.id, timeoutMs))) {
      writeEvents(paths, [killEvent(view, constants.signals.SIGKILL)])
      if (!(await killed(paths, view, shutdown))) throw staysAlive(idOrName)
    }
    writeEvents(paths, [containerEvent(record, 'stop')])
    return record.id
  } finally {
    client?.close()
  }
}

function killEvent({ record }: ContainerView, signal: number): NewEvent {
  return containerEvent(record, 'kill', { signal: String(signal) })
}

function staysAlive(name: string): TscrunError {
  return new TscrunError('CONTAINER_STATE', `stop ${name}: it does not end after SIGKILL`, {
    subject: name,
    hint: 'a process in it hangs in a call of the kernel: look at /proc/PID/stack',
  })
}

/** Sends a signal to the first process. Throws CONTAINER_STATE where it does not run. */
export function killContainer(paths: EnginePaths, idOrName: string, signal: string | number): string {
  const view = findContainer(paths, idOrName)
  requireRunning(view, 'kill', idOrName)
  const number = signalNumber(signal)
  // Killed by a person it is not to be started again; any other signal it may live through.
  const client = number === constants.signals.SIGKILL ? connectMonitor(monitorSocket(paths, view.record.id)) : undefined
  writeEvents(paths, [killEvent(view, number)])
  if (client === undefined) signalFirst(view, number)
  else client.stop(number)
  client?.close()
  return view.record.id
}

/** How a container ended. */
export interface ContainerEnd {
  /** 0-255; 128 + n where signal n ended it, 255 where its time was over. */
  readonly exitCode: number
  /** `SIGKILL`; undefined where it exited by itself. */
  readonly signal: string | undefined
  /** The kernel's OOM killer took part: the memory limit was reached. */
  readonly oomKilled: boolean
  /** It was killed because its `timeoutMs` was over. */
  readonly timedOut: boolean
}

/** Resolves to how it ended; at once for one that has. Rejects with ABORTED. */
export async function waitContainer(paths: EnginePaths, idOrName: string, signal?: AbortSignal): Promise<ContainerEnd> {
  const view = findContainer(paths, idOrName)
  const { record } = view
  if (view.status === 'stopped' || view.status === 'created') return endOf(record.exit)
  const client = connectMonitor(monitorSocket(paths, record.id))
  try {
    const told = client === undefined ? undefined : await unlessAborted(unlessGone(client.ended), signal)
    // Until everything of it is put away, unless it is started again.
    await unlessAborted(
      released(paths, record.id, told === undefined ? Number.POSITIVE_INFINITY : SETTLE_MS, signal),
      signal,
    )
    if (told !== undefined && told !== 'detached') return endOf(told)
  } finally {
    client?.close()
  }
  return endOf(findContainer(paths, record.id).record.exit)
}

function endOf(exit: Partial<ContainerExit> = {}): ContainerEnd {
  const { exitCode = 0, signal, oomKilled = false, timedOut = false } = exit
  return { exitCode, signal, oomKilled, timedOut }
}

/** The answer, or a rejection with ABORTED as soon as the signal is given. */
async function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return answer
  const abort = deferred<never>()
  const onAbort = (): void => abort.reject(new TscrunError('ABORTED', 'wait: aborted', { cause: signal.reason }))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([answer, abort.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

export interface Attachment {
  /** How the container ended, or that the detach keys were typed. */
  readonly ended: Promise<ContainerExit | 'detached'>
  signal(signal: number): void
  resize(rows: number, columns: number): void
  close(): void
}

/** Connects descriptors with the streams of a detached container. Throws CONTAINER_STATE. */
export async function attachContainer(
  paths: EnginePaths,
  idOrName: string,
  options: AttachOptions,
): Promise<Attachment> {
  const view = findContainer(paths, idOrName)
  requireRunning(view, 'attach', idOrName)
  refuseAttach(view.record, 'attach')
  const client = connectAttached(paths, view.record, options)
  if (client === undefined) {
    throw new TscrunError('CONTAINER_STATE', `attach ${idOrName}: it runs in the foreground of another command`, {
      subject: idOrName,
      hint: 'run it with --detach, then attach to it',
    })
  }
  try {
    await client.done
    tellAttachment(paths, view.record, client)
  } catch (error) {
    client.close()
    // It has ended before it took us.
    requireRunning(findContainer(paths, view.record.id), 'attach', idOrName)
    throw error
  }
  return client
}

/** A monitor that has just ended says nothing to who comes then: what it has written tells how the container ended. */
export async function unlessGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof TscrunError && error.code === 'MONITOR_DIED') return undefined
    throw error
  }
}

/** Freezes or thaws everyone in a container (cgroup v2). Throws CONTAINER_STATE. */
export async function freezeContainer(paths: EnginePaths, idOrName: string, frozen: boolean): Promise<string> {
  const verb = frozen ? 'pause' : 'unpause'
  const view = findContainer(paths, idOrName)
  const wanted = frozen ? 'running' : 'paused'
  if (view.status !== wanted) {
    throw new TscrunError('CONTAINER_STATE', `${verb} ${idOrName}: it is ${view.status}`, { subject: idOrName })
  }
  if (view.record.cgroup === undefined) {
    throw new TscrunError('CONTROLLER_UNAVAILABLE', `${verb} ${idOrName}: it has no cgroup`, {
      subject: idOrName,
      hint: 'this host mounts no cgroup v2: `tscrun doctor` tells more',
    })
  }
  writeFileSync(join(view.record.cgroup, 'cgroup.freeze'), frozen ? '1' : '0')
  for (let waited = 0; waited < PATIENCE_MS; waited += 5) {
    if (findContainer(paths, view.record.id).status !== wanted) break
    await pause(5)
  }
  writeEvents(paths, [containerEvent(view.record, verb)])
  return view.record.id
}

function requireRunning(view: ContainerView, verb: string, name: string): void {
  if (view.status !== 'stopped' && view.status !== 'created') return
  throw new TscrunError('CONTAINER_STATE', `${verb} ${name}: it is ${view.status}`, {
    subject: name,
    hint: `\`tscrun start\` starts it${view.status === 'created' ? '' : ' again'}`,
  })
}

function signalFirst({ live }: ContainerView, signal: number): void {
  if (live !== undefined) signalProcess(live.pid, live.startTime, signal)
}

function thaw({ record }: ContainerView): void {
  if (record.cgroup !== undefined) writeCgroup(join(record.cgroup, 'cgroup.freeze'), '0')
}

/**
 * Again and again, whether it has ended. A connection is with one life of the container: what is said while that ends may
 * be heard by nobody, and the next life begins.
 */
async function killed(paths: EnginePaths, view: ContainerView, shutdown: boolean): Promise<boolean> {
  for (let waited = 0; waited < PATIENCE_MS; waited += AGAIN_MS) {
    killNow(paths, view, shutdown)
    if (await released(paths, view.record.id, AGAIN_MS)) return true
  }
  return false
}

function killNow(paths: EnginePaths, view: ContainerView, shutdown: boolean): void {
  const client = connectMonitor(monitorSocket(paths, view.record.id))
  client?.stop(constants.signals.SIGKILL, shutdown)
  client?.close()
  signalFirst(view, constants.signals.SIGKILL)
  if (view.record.cgroup !== undefined) writeCgroup(join(view.record.cgroup, 'cgroup.kill'), '1')
}

function writeCgroup(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (error) {
    // It has ended just now.
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENODEV') throw error
  }
}

/** Whether nobody holds the container any more within the time: its monitor has put everything away. */
export async function released(
  paths: EnginePaths,
  id: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const until = realTimers.now() + timeoutMs
  for (let wait = 1; ; wait = Math.min(wait * 2, 20)) {
    if (!isHeld(join(paths.containers, id))) {
      // Its last act: it is gone a moment after its lock.
      realTimers.setTimeout(collectStages, 20).unref()
      return true
    }
    if (realTimers.now() >= until || signal?.aborted === true) return false
    await pause(wait)
  }
}
