import { closeSync } from 'node:fs'
import { TscrunError } from '../model/errors.ts'
import { signalName } from '../model/kernel-names.ts'
import type { ColumnName, Plan } from '../model/step.ts'
import { encodePlan } from '../plan/encode.ts'
import { explainFailure } from '../plan/explain.ts'
import { errnoName, SyscallError } from '../syscall/errno.ts'
import {
  closeFd,
  memoryFile,
  reapChild,
  receiveMessage,
  sendMessage,
  socketPair,
  spawnStage,
} from '../syscall/process.ts'
import { watchReadable } from '../syscall/watch.ts'
import { keepTerminalMode } from '../syscall/terminal.ts'
import { decodeMessage, encodeMessage, failureOf, MESSAGE, MESSAGE_BYTES, MESSAGE_TEXT_BYTES } from './messages.ts'

export interface LaunchOptions {
  /** The plan encoded for a monitor, where the caller has it already. */
  readonly bytes?: Uint8Array
  /** Shown by ps(1) for the monitor. */
  readonly title: string
  /** Descriptors for the plan's inherited slots, in their order; the caller keeps its own copies. */
  readonly fds: readonly number[]
  /** The monitor may live on for long, with many others. */
  readonly lifetime?: 'long'
  /** For the words of a failed exec. */
  readonly workdir?: string
  /** Each step as it is done; times in nanoseconds of CLOCK_MONOTONIC. */
  readonly onStep?: (event: StepEvent) => void
  /** At each `meet_caller` of the plan; the stage waits until it has resolved. A rejection ends the start. */
  readonly onMeeting?: (point: number, process: StartedProcess) => Promise<void>
}

export interface StepEvent {
  readonly column: ColumnName
  readonly index: number
  readonly atNs: bigint
}

/** How the container's first process ended. */
export interface ContainerExit {
  /** 0-255; 128 + n where signal n ended it. */
  readonly exitCode: number
  /** `SIGKILL`; undefined where it exited by itself. */
  readonly signal: string | undefined
  readonly oomKilled: boolean
  /** Its time was over. */
  readonly timedOut?: true
  /** The caller's stream that took no more of what the container wrote: a full disk, for one. */
  readonly refused?: { readonly stream: 'standard output' | 'standard error'; readonly errno: string }
}

export interface StartedProcess {
  readonly pid: number
  /** Clock ticks since boot: with the pid it names a process for ever (proc_pid_stat(5), field 22). */
  readonly startTime: number
}

/** A container under its monitor. */
export interface Launched {
  /** The monitor's pid. */
  readonly monitor: number
  /** The user's command runs. Rejects with TscrunError where a step failed; then nothing is left of it. */
  readonly started: Promise<StartedProcess>
  /** Resolves as soon as the first process has ended; rejects as `started` does, or MONITOR_DIED. */
  readonly exited: Promise<ContainerExit>
  /** Resolves when the monitor has removed cgroup and mounts and has ended itself. Never rejects. */
  readonly released: Promise<void>
  /** Whether `exited` has its answer. */
  hasExited(): boolean
  /** False when there is nobody to signal any more. */
  signal(signal: number): boolean
  resize(rows: number, columns: number): void
  /** Ends this side of the lifeline. A monitor that is detached goes on, once `started` has resolved; any other ends. */
  leave(): void
}

/**
 * Runs a plan: one stage process, which becomes the monitor. This side holds the lifeline: when this process or thread
 * ends, however it ends, the monitor kills the container.
 */
export function launch(plan: Plan, options: LaunchOptions): Launched {
  collectMonitors()
  const started = deferred<StartedProcess>()
  const exited = deferred<ContainerExit>()
  const released = deferred<void>()
  const bytes = options.bytes ?? encodePlan(plan, { monitor: true, trace: options.onStep !== undefined })
  const planFd = memoryFile('tscrun-plan', bytes, false)
  const [control, theirs] = socketPair()
  const restoreTerminal = keepTerminal()
  const monitor = spawn()
  const buffer = Buffer.alloc(MESSAGE_BYTES + MESSAGE_TEXT_BYTES)
  let failure: TscrunError | undefined
  let exit: ContainerExit | undefined
  let left = false

  const onControl = (): void => {
    for (;;) {
      const message = receiveMessage(control, buffer)
      if (message === undefined) return
      if (message.length < MESSAGE_BYTES) return controlWatch.stop()
      handle(message)
    }
  }
  const controlWatch = watchReadable(control, onControl)
  const pidWatch = watchReadable(monitor.pidfd, onMonitorEnd)
  return {
    monitor: monitor.pid,
    started: started.promise,
    exited: exited.promise,
    released: released.promise,
    hasExited: () => exit !== undefined,
    signal: (signal) => exit === undefined && send(MESSAGE.signal, signal, 0),
    resize: (rows, columns) => void send(MESSAGE.resize, rows, columns),
    leave,
  }

  function spawn(): ReturnType<typeof spawnStage> {
    try {
      return spawnStage([theirs, planFd, ...options.fds], options.title, options.lifetime)
    } catch (error) {
      closeSync(control)
      throw stageRefused(error)
    } finally {
      closeFd(theirs)
      closeFd(planFd)
    }
  }

  /** The monitor puts the terminal that it makes raw back, unless it is killed. */
  function keepTerminal(): () => void {
    const slot = plan.pumps.find(({ kind }) => kind === 'terminal-in')?.from ?? 'none'
    const fd = slot === 'none' ? undefined : options.fds[plan.inherited.indexOf(slot)]
    return fd === undefined ? () => undefined : keepTerminalMode(fd)
  }

  function handle(bytes: Buffer): void {
    const message = decodeMessage(bytes)
    const { type, column, step: index, error, a, b } = message
    switch (type) {
      case MESSAGE.trace:
        options.onStep?.({ column, index, atNs: a })
        return
      case MESSAGE.failed:
        // The first one counts: the other side then only reports that its partner has gone.
        failure ??= explainFailure(plan, failureOf(message), options.workdir)
        return
      case MESSAGE.started:
        if (failure === undefined) started.resolve({ pid: Number(a), startTime: Number(b) })
        return
      case MESSAGE.meeting:
        void meet(error, { pid: Number(a), startTime: Number(b) })
        return
      case MESSAGE.exited:
        exit = { ...decodeExit(Number(a), (b & 1n) !== 0n), ...timedOutOf(b), ...refusalOf(error, (b & 2n) !== 0n) }
        if (failure === undefined) exited.resolve(exit)
    }
  }

  /** The pidfd is readable: the monitor has ended, and all it had to say lies in the socket. */
  function onMonitorEnd(): void {
    if (!reapChild(monitor.pid)) return
    onControl()
    leave()
    leftMonitors.delete(monitor.pid)
    if (exit === undefined && failure === undefined) restoreTerminal()
    if (exit === undefined || failure !== undefined) {
      const error = failure === undefined || exit === undefined ? monitorDied() : describeWithOom(failure, exit)
      started.reject(error)
      exited.reject(error)
    }
    released.resolve()
  }

  /** The monitor stays a child of this process, which does not wait for it. */
  function leave(): void {
    if (left) return
    left = true
    for (const watch of [controlWatch, pidWatch]) watch.close()
    closeSync(control)
    closeFd(monitor.pidfd)
    leftMonitors.add(monitor.pid)
  }

  /** Whatever else than `go` is answered ends the start. */
  async function meet(point: number, process: StartedProcess): Promise<void> {
    try {
      await options.onMeeting?.(point, process)
      send(MESSAGE.go, 0, 0)
    } catch (problem) {
      failure ??= problem instanceof TscrunError ? problem : new TscrunError('KERNEL_REFUSED', String(problem))
      send(MESSAGE.signal, 0, 0)
    }
  }

  function send(type: number, a: number, b: number): boolean {
    if (left || exit !== undefined) return false
    return sendMessage(control, encodeMessage(type, a, b))
  }
}

/** Monitors that go on without us, and are our children all the same. */
const leftMonitors = new Set<number>()

/**
 * Collects those that have ended. Not told by an event: a watch that nobody waits for may be called while Node ends, which
 * koffi does not survive.
 */
export function collectMonitors(): void {
  for (const pid of leftMonitors) if (reapChild(pid)) leftMonitors.delete(pid)
}

/** A first process that the OOM killer took before it ran the command says nothing itself. */
function describeWithOom(failure: TscrunError, exit: ContainerExit): TscrunError {
  if (!exit.oomKilled) return failure
  return new TscrunError(
    'KERNEL_REFUSED',
    'start: out of memory: the first process was killed before it could run the command',
    {
      hint: 'raise --memory',
      cause: failure,
    },
  )
}

/** Inside a container without privileges the filter answers ENOSYS for clone3, docker's as well as ours. */
function stageRefused(error: unknown): unknown {
  if (!(error instanceof SyscallError)) return error
  const inside = error.code === 'ENOSYS' || error.code === 'EPERM'
  return new TscrunError('KERNEL_REFUSED', error.message, {
    syscall: error.syscall,
    errno: error.code,
    hint: inside
      ? 'in a container that one must be run with --privileged'
      : 'this host may be out of memory or processes',
    cause: error,
  })
}

export function monitorDied(): TscrunError {
  return new TscrunError('MONITOR_DIED', 'the monitor of the container was killed from outside', {
    hint: 'the container is gone with it; the next command removes what is left',
  })
}

/** wait(2)'s status word. */
export function decodeExit(status: number, oomKilled: boolean): ContainerExit {
  const signal = status & 0x7f
  if (signal === 0) return { exitCode: (status >> 8) & 0xff, signal: undefined, oomKilled }
  return { exitCode: 128 + signal, signal: signalName(signal), oomKilled }
}

/** Of the bits that come with an exit. */
export function timedOutOf(bits: bigint): Pick<ContainerExit, 'timedOut'> {
  return (bits & 4n) === 0n ? {} : { timedOut: true }
}

/** Which of the caller's streams took no more, from the numbers of a message; empty for error 0. */
export function refusalOf(error: number, ofStandardError: boolean): Pick<ContainerExit, 'refused'> {
  if (error === 0) return {}
  return { refused: { stream: ofStandardError ? 'standard error' : 'standard output', errno: errnoName(error) } }
}

export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: Error): void
}

/** A promise settled from outside; a rejection that nobody waits for is no crash. */
export function deferred<T>(): Deferred<T> {
  let [resolve, reject] = [(_: T): void => undefined, (_: Error): void => undefined]
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  promise.catch(() => undefined)
  return { promise, resolve: (value) => resolve(value), reject: (error) => reject(error) }
}
