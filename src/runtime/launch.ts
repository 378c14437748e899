import { TscrunError } from '../model/errors.ts'
import { signalName } from '../model/kernel-names.ts'
import { type ColumnName, MEETING, type Plan } from '../model/step.ts'
import { encodePlan } from '../plan/encode.ts'
import { explainFailure } from '../plan/explain.ts'
import { errnoName, SyscallError } from '../syscall/errno.ts'
import { reapChild, receiveMessage, sendMessage, UNREAD } from '../syscall/process.ts'
import { type Watch, watchReadable } from '../syscall/watch.ts'
import { keepTerminalMode } from '../syscall/terminal.ts'
import { decodeMessage, encodeMessage, failureOf, MESSAGE, MESSAGE_BYTES, MESSAGE_TEXT_BYTES } from './messages.ts'
import { beginStage, collectStages, endStage, forgetStage, HELD_TITLE, leaveStage, letGo, type Stage } from './stage.ts'

export interface LaunchOptions {
  /** The plan encoded for a monitor, where the caller has it already. */
  readonly bytes?: () => Uint8Array
  /** Shown by ps(1) for the monitor. */
  readonly title: string
  /** Descriptors for the plan's inherited slots, in their order; the caller keeps its own copies. */
  readonly fds: readonly number[]
  /** The monitor may live on for long, with many others. */
  readonly lifetime?: 'long'
  /** One that runs these very `bytes` up to the plan's `take`, or has done so, and has so many of `fds` already. */
  readonly ahead?: { readonly stage: Stage; readonly given: number }
  /** Called where `ahead` was lost before that: removes what it has left. */
  readonly onLost?: () => Promise<void>
  /**
   * Is given the stage of a plan that is held, when all of its container has gone, or nothing where it has ended, too;
   * without this the stage ends.
   */
  readonly onReleased?: (stage: Stage | undefined) => void
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
  /** The monitor's pid, at first. */
  readonly monitor: number
  /** The user's command runs. Rejects with TscrunError where a step failed; then nothing is left of it. */
  readonly started: Promise<StartedProcess>
  /** Resolves as soon as the first process has ended; rejects as `started` does, or MONITOR_DIED. */
  readonly exited: Promise<ContainerExit>
  /** Resolves when the monitor has removed cgroup and mounts, and holds nothing of it any more. Never rejects. */
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
  // First: at a limit on processes those that have ended are in the way of a new one.
  collectStages()
  const started = deferred<StartedProcess>()
  const exited = deferred<ContainerExit>()
  const released = deferred<void>()
  const held = plan.held === true
  const bytes = options.bytes ?? (() => encodePlan(plan, { monitor: true, trace: options.onStep !== undefined }))
  const restoreTerminal = keepTerminal()
  let isAhead = options.ahead !== undefined
  let stage = options.ahead?.stage ?? begin()
  const buffer = Buffer.alloc(MESSAGE_BYTES + MESSAGE_TEXT_BYTES)
  let failure: TscrunError | undefined
  let exit: ContainerExit | undefined
  let left = false
  let watches: Watch[] = []
  // Signals before the command ran: told once more where its start is begun anew.
  const early: number[] = []
  let between = false
  if (options.ahead === undefined || letGo(stage, options.fds.slice(options.ahead.given))) watches = watch()
  else void again()
  return {
    monitor: stage.pid,
    started: started.promise,
    exited: exited.promise,
    released: released.promise,
    hasExited: () => exit !== undefined,
    signal,
    resize: (rows, columns) => void send(MESSAGE.resize, rows, columns),
    leave,
  }

  function begin(): Stage {
    try {
      const { title, fds, lifetime } = options
      const how = held ? { title: HELD_TITLE, fds: [] } : { title, fds }
      const fresh = beginStage(bytes(), lifetime === undefined ? how : { ...how, lifetime })
      // One that has ended by now tells so itself.
      if (held) letGo(fresh, fds)
      return fresh
    } catch (error) {
      throw stageRefused(error)
    }
  }

  /** One that is held for the next tells when it is done; of any other the end is waited for. */
  function watch(): Watch[] {
    const control = watchReadable(stage.control, () => onControl(stage))
    return held ? [control] : [control, watchReadable(stage.pidfd, onMonitorEnd)]
  }

  function onControl(from: Stage): void {
    for (;;) {
      const message = receiveMessage(from.control, buffer)
      if (message === undefined) return
      // Killed before it has read that its hold ends.
      if (message === UNREAD && isAhead && early.length === 0) return void again()
      if (message.length < MESSAGE_BYTES) {
        watches[0]?.stop()
        if (watches.length === 1) watches.push(watchReadable(from.pidfd, onMonitorEnd))
        return
      }
      handle(message)
      if (left || between || stage !== from) return
    }
  }

  /** Nothing has run yet: it is begun anew, by a stage as this process is now. */
  async function again(): Promise<void> {
    for (const each of watches) each.close()
    isAhead = false
    between = true
    await endStage(stage)
    try {
      await options.onLost?.()
      stage = begin()
      watches = watch()
      between = false
      for (const signal of early) send(MESSAGE.signal, signal, 0)
    } catch (error) {
      left = true
      started.reject(error as Error)
      exited.reject(error as Error)
      released.resolve()
    }
  }

  function signal(number: number): boolean {
    if (isAhead || between) early.push(number)
    return between || (exit === undefined && send(MESSAGE.signal, number, 0))
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
        if (isAhead && isBeforeTake(plan, column, index)) return void again()
        // The first one counts: the other side then only reports that its partner has gone.
        failure ??= explainFailure(plan, failureOf(message), options.workdir)
        return
      case MESSAGE.started:
        isAhead = false
        if (failure === undefined) started.resolve({ pid: Number(a), startTime: Number(b) })
        return
      case MESSAGE.meeting:
        void meet(error, { pid: Number(a), startTime: Number(b) })
        return
      case MESSAGE.released:
        return hasGone()
      case MESSAGE.exited:
        exit = { ...decodeExit(Number(a), (b & 1n) !== 0n, (b & 4n) !== 0n), ...refusalOf(error, (b & 2n) !== 0n) }
        if (failure === undefined) exited.resolve(exit)
    }
  }

  /** The stage has nothing of the container any more, and waits for another plan. */
  function hasGone(): void {
    left = true
    for (const each of watches) each.close()
    if (options.onReleased === undefined) leaveStage(stage)
    else options.onReleased(stage)
    settle()
  }

  /** Nothing more is told. */
  function settle(): void {
    if (exit === undefined || failure !== undefined) {
      const error = failure === undefined || exit === undefined ? monitorDied() : describeWithOom(failure, exit)
      started.reject(error)
      exited.reject(error)
    }
    released.resolve()
  }

  /** The pidfd is readable: the monitor has ended, and all it had to say lies in the socket. */
  function onMonitorEnd(): void {
    if (!reapChild(stage.pid)) return
    onControl(stage)
    // What it said last has begun the start anew.
    if (between) return
    leave()
    forgetStage(stage)
    options.onReleased?.(undefined)
    if (exit === undefined && failure === undefined) restoreTerminal()
    settle()
  }

  /** The monitor stays a child of this process, which does not wait for it. */
  function leave(): void {
    if (left) return
    left = true
    for (const each of watches) each.close()
    leaveStage(stage)
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
    return sendMessage(stage.control, encodeMessage(type, a, b))
  }
}

/** Whether a failed step belongs to what is done before the command may run: it can be done once more. */
function isBeforeTake(plan: Plan, column: ColumnName, index: number): boolean {
  if (column === 'parent') return index <= plan.parent.findIndex(({ op }) => op === 'take')
  return (
    column === 'child' && index <= plan.child.findIndex((step) => step.op === 'wait' && step.point === MEETING.ready)
  )
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
  const short =
    error.code === 'EFBIG'
      ? 'raise the limit on the size of files: ulimit -f'
      : 'this host may be out of memory or processes'
  return new TscrunError('KERNEL_REFUSED', error.message, {
    syscall: error.syscall,
    errno: error.code,
    hint: inside ? 'in a container that one must be run with --privileged' : short,
    cause: error,
  })
}

export function monitorDied(): TscrunError {
  return new TscrunError('MONITOR_DIED', 'the monitor of the container was killed from outside', {
    hint: 'the container is gone with it; the next command removes what is left',
  })
}

/** podman's exit code of a container whose time was over. */
const TIMED_OUT = 255

/** wait(2)'s status word. */
export function decodeExit(status: number, oomKilled: boolean, timedOut = false): ContainerExit {
  const signal = status & 0x7f
  const late = timedOut ? ({ exitCode: TIMED_OUT, timedOut: true } as const) : {}
  if (signal === 0) return { exitCode: (status >> 8) & 0xff, signal: undefined, oomKilled, ...late }
  return { exitCode: 128 + signal, signal: signalName(signal), oomKilled, ...late }
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
