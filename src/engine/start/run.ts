import { Socket } from 'node:net'
import { constants } from 'node:os'
import { finished, type Readable, Transform, type Writable } from 'node:stream'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { RunOptions } from '../../model/run-options.ts'
import { realTimers } from '../../syscall/pause.ts'
import { makePipe, type Pipe } from '../../syscall/pipe.ts'
import { closeFd } from '../../syscall/process.ts'
import type { Listener } from '../api.ts'
import type { EngineCore } from '../engine.ts'
import { abortedError, withEngineSignal } from '../signal.ts'
import { checkRun } from '../arguments/check-options.ts'
import { isObject } from '../arguments/option-rules.ts'
import type { RunningHandle } from './start.ts'

/** How a container ended, and what it wrote. */
export interface RunResult {
  /** 0-255; 128 + n where signal n ended it. */
  readonly exitCode: number
  /** `SIGKILL`; undefined where it exited by itself. */
  readonly signal: string | undefined
  /** The kernel's OOM killer took part: the memory limit was reached. */
  readonly oomKilled: boolean
  /** It was killed because `timeoutMs` was over. */
  readonly timedOut: boolean
  /** What it wrote, as UTF-8; empty with `buffer: false`. */
  readonly stdout: string
  readonly stderr: string
}

export interface RunCallOptions extends RunOptions, Listener {
  /**
   * Written to the container's standard input, which then ends. A Readable that is not read to its end is destroyed, but
   * for `process.stdin`.
   */
  readonly input?: string | Uint8Array | Readable
  /** Keep standard input open for `handle.stdin`. Without `input` and this it is /dev/null. */
  readonly stdin?: boolean
  /** Collect stdout and stderr in the result (default true); the streams can be read either way. */
  readonly buffer?: boolean
  /** Most bytes collected of each stream, 100 MB by default; more kills the container and rejects. */
  readonly maxBuffer?: number
  /** Resolve instead of rejecting where the exit code is not 0. */
  readonly reject?: boolean
}

/** A container that ended with another exit code than 0, or by a signal; carries the whole result. */
export class ExitError extends Error {
  override readonly name = 'ExitError'
  readonly result: RunResult

  /** @param timeoutMs what `result.timedOut` is about */
  constructor(what: string, result: RunResult, timeoutMs?: number) {
    const how = result.timedOut
      ? `timed out after ${timeoutMs} ms`
      : result.oomKilled
        ? 'was killed: out of memory'
        : `exited with ${result.exitCode}`
    const said = result.stderr.trim().split('\n').at(-1)
    super(`${what} ${how}${said === undefined || said === '' ? '' : `: ${said.slice(0, 200)}`}`)
    this.result = result
  }
}

/** A run under way: a promise of its result, and its streams. */
export interface RunHandle extends Promise<RunResult> {
  /** Null unless `stdin: true` was asked for. */
  readonly stdin: Writable | null
  readonly stdout: Readable
  readonly stderr: Readable
  /** Signals the container process; SIGKILL takes everything in the container along. */
  kill(signal?: NodeJS.Signals): void
}

const DEFAULT_MAX_BUFFER = 100_000_000

/**
 * Runs a container to its end as a child of this process: when the process or Worker ends, however it ends, the
 * container is killed. Always removed afterwards.
 */
export function runContainer(
  engine: EngineCore,
  image: string | undefined,
  args: readonly string[],
  options: RunCallOptions,
): RunHandle {
  const bound = boundOptions(engine, options)
  return runWithStreams(`run ${image ?? bound.rootfs?.path}`, bound, ({ interactive, fds }) => {
    checkRun('run', image, args, options)
    return engine.begin(image, args, {
      ...bound,
      remove: true,
      interactive,
      stdio: { kind: 'direct', interactive },
      fds,
      shareLoop: true,
    })
  })
}

/** With the engine's signal. What are no options at all is refused when they are looked at. */
export function boundOptions(engine: EngineCore, options: RunCallOptions): RunCallOptions {
  return isObject(options) ? withEngineSignal(engine, options) : {}
}

/** What a caller reads and writes, and how it wants the end. */
export type StreamOptions = Pick<
  RunCallOptions,
  'input' | 'stdin' | 'buffer' | 'maxBuffer' | 'reject' | 'timeoutMs' | 'signal'
>

/** What such a run is begun with: pipes for its streams; without `interactive` only output and error. */
export interface StreamEnds {
  readonly interactive: boolean
  readonly fds: readonly number[]
}

/**
 * Runs something with pipes of this process as its streams; `what` begins the words of its errors. `begin` looks at the
 * options, before any of them is used.
 */
export function runWithStreams(
  what: string,
  options: StreamOptions,
  begin: (ends: StreamEnds) => Promise<Pick<RunningHandle, 'launched' | 'ended'>>,
): RunHandle {
  const wantsInput = options.input !== undefined || options.stdin === true
  let pipes: Pipe[]
  try {
    pipes = makePipes(wantsInput ? 3 : 2)
  } catch (error) {
    return failedHandle(what, error)
  }
  const [out, err, input] = pipes as [Pipe, Pipe, Pipe?]
  const streams = {
    stdin: input === undefined ? null : new Socket({ fd: input.write, readable: false, writable: true }),
    stdout: readFrom(out.read),
    stderr: readFrom(err.read),
  }
  const theirs = [...(input === undefined ? [] : [input.read]), out.write, err.write]
  let running: Pick<RunningHandle, 'launched' | 'ended'> | undefined
  let killed: NodeJS.Signals | undefined
  const kill = (signal: NodeJS.Signals = 'SIGTERM'): void => {
    if (!Object.hasOwn(constants.signals, signal)) {
      throw new TscrunError('USAGE', `kill: ${JSON.stringify(signal)} is not the name of a signal`)
    }
    killed = signal
    running?.launched.signal(constants.signals[signal])
  }
  const source = sourceOf(options.input)
  streams.stdin?.once('close', () => letSourceGo(source))
  const promise = go()
  return Object.defineProperties(Object.assign(promise, { stdin: streams.stdin, kill }), {
    stdout: { get: () => streams.stdout.get(), enumerable: true },
    stderr: { get: () => streams.stderr.get(), enumerable: true },
  }) as RunHandle

  function letGo(): void {
    for (const fd of theirs) closeFd(fd)
  }

  async function go(): Promise<RunResult> {
    try {
      running = await begin({ interactive: wantsInput, fds: theirs })
    } catch (error) {
      streams.stdin?.destroy()
      for (const stream of [streams.stdout, streams.stderr]) stream.destroy()
      letGo()
      throw abortedError(what, options.signal, error)
    }
    // Until the command runs, its start may be begun once more.
    running.launched.started.then(letGo, letGo)
    if (killed !== undefined) running.launched.signal(constants.signals[killed])
    return supervise(running)
  }

  async function supervise(handle: Pick<RunningHandle, 'launched' | 'ended'>): Promise<RunResult> {
    let timedOut = false
    const killNow = (): void => void handle.launched.signal(constants.signals.SIGKILL)
    const stopClock = after(options.timeoutMs, () => {
      // It may have ended just now.
      timedOut = handle.launched.signal(constants.signals.SIGKILL)
    })
    options.signal?.addEventListener('abort', killNow, { once: true })
    if (options.signal?.aborted === true) killNow()
    feed(streams.stdin, source, killNow)
    const limit = options.maxBuffer ?? DEFAULT_MAX_BUFFER
    const collect = options.buffer !== false
    const [stdout, stderr] = [streams.stdout, streams.stderr].map((stream) =>
      collector(stream.get(), collect, limit, killNow),
    )
    try {
      const exit = await handle.ended
      const [outText, errText] = await Promise.all([stdout?.text, stderr?.text])
      if (options.signal?.aborted === true) throw abortedError(what, options.signal, options.signal.reason)
      if (source.failure !== undefined) {
        const { message } = source.failure
        throw new TscrunError('ABORTED', `${what}: its input failed: ${message}`, { cause: source.failure })
      }
      if (stdout?.overflowed() === true || stderr?.overflowed() === true) {
        throw new TscrunError('OUTPUT_LIMIT', `${what}: it wrote more than ${limit} bytes`, {
          hint: 'raise maxBuffer, or use buffer: false and read the streams',
        })
      }
      const result: RunResult = { ...exit, timedOut, stdout: outText ?? '', stderr: errText ?? '' }
      if (options.reject !== false && result.exitCode !== 0) throw new ExitError(what, result, options.timeoutMs)
      return result
    } finally {
      stopClock()
      options.signal?.removeEventListener('abort', killNow)
      streams.stdin?.destroy()
    }
  }
}

/** So many, or none: where one cannot be made the others are closed. Throws SyscallError. */
function makePipes(count: number): Pipe[] {
  const pipes: Pipe[] = []
  try {
    while (pipes.length < count) pipes.push(makePipe())
    return pipes
  } catch (error) {
    for (const { read, write } of pipes) for (const fd of [read, write]) closeFd(fd)
    throw error
  }
}

/** What cannot even begin rejects as any other failure does: a caller that starts many has them all to wait for. */
function failedHandle(what: string, error: unknown): RunHandle {
  const reason = errnoOf(error) ?? String(error)
  const failure = new TscrunError('KERNEL_REFUSED', `${what}: its streams cannot be made (${reason})`, {
    hint: 'fewer runs at once, or a higher limit on open files (ulimit -n)',
    cause: error,
  })
  const ended = (): Socket => new Socket().destroy()
  const streams = { stdin: null, stdout: ended(), stderr: ended(), kill: () => undefined }
  return Object.assign(Promise.reject<RunResult>(failure), streams)
}

/** A stream of a descriptor, made when somebody wants it: a start need not wait for that. */
function readFrom(fd: number): { get(): Socket; destroy(): void } {
  let made: Socket | undefined
  return {
    get: () => (made ??= new Socket({ fd, readable: true, writable: false })),
    destroy: () => {
      if (made === undefined) closeFd(fd)
      // Whoever asks for it later gets one that has ended, not one of another file of this number.
      made ??= new Socket()
      made.destroy()
    },
  }
}

/** What is written to a container: bytes, or a stream, which may fail at any time, also before the command runs. */
interface Source {
  readonly bytes?: string | Uint8Array
  readonly stream?: Readable
  failure?: Error
  onFailure?: () => void
  /** Nobody reads it any more: how it ends is no matter. */
  isLeft?: boolean
}

function sourceOf(input: RunCallOptions['input']): Source {
  // What is no stream at all is refused when the options are looked at.
  if (typeof input !== 'object' || input === null || !('pipe' in input))
    return input === undefined ? {} : { bytes: input }
  const source: Source = { stream: input }
  finished(input, { writable: false }, (error) => {
    if (error === null || error === undefined || source.isLeft === true) return
    source.failure = error
    source.onFailure?.()
  })
  return source
}

/**
 * One that was not read to its end is destroyed, as `pipeline` of Node does it: its file, or who writes to it, would wait for
 * ever. The process's own input is its caller's, who may have more to do with it.
 */
function letSourceGo(source: Source): void {
  const { stream } = source
  if (stream === undefined || ('fd' in stream && stream.fd === 0)) return
  source.isLeft = true
  if (!stream.readableEnded && typeof stream.destroy === 'function') stream.destroy()
}

/** A container that closes its input early is no error of ours; one whose input fails must not take that for its end. */
function feed(stdin: Socket | null, source: Source, kill: () => void): void {
  if (stdin === null) return
  stdin.on('error', () => undefined)
  source.onFailure = kill
  if (source.failure !== undefined) kill()
  else if (source.stream !== undefined) bytesOf(source.stream, source).pipe(stdin)
  else if (source.bytes !== undefined) stdin.end(source.bytes)
}

/** A stream of objects may bring what is neither bytes nor text (`Readable.from`): then its input has failed. */
function bytesOf(stream: Readable, source: Source): Readable {
  if (!stream.readableObjectMode) return stream
  const checked = new Transform({
    writableObjectMode: true,
    transform: (chunk: unknown, _, done) => {
      if (typeof chunk === 'string' || ArrayBuffer.isView(chunk)) return done(null, chunk)
      source.failure ??= new TypeError(`it brings a value of type ${typeof chunk}, not bytes or text`)
      source.onFailure?.()
      return done()
    },
  })
  return stream.pipe(checked)
}

/** The longest time of a timer of Node's; it takes a longer one for a millisecond. */
const LONGEST_MS = 2 ** 31 - 1

/** Does it after this time, if there is one; answers what gives it up. */
function after(ms: number | undefined, action: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const wait = (rest: number): void => {
    const now = Math.min(rest, LONGEST_MS)
    timer = realTimers.setTimeout(() => (rest > now ? wait(rest - now) : action()), now)
  }
  if (ms !== undefined) wait(ms)
  return () => realTimers.clearTimeout(timer)
}

interface Collector {
  readonly text: Promise<string>
  overflowed(): boolean
}

/** Gathers a stream up to a limit. Without collecting it stays for the caller to read, at the caller's pace. */
function collector(stream: Socket, collect: boolean, limit: number, onOverflow: () => void): Collector {
  if (!collect) return { text: Promise.resolve(''), overflowed: () => false }
  const chunks: Buffer[] = []
  let size = 0
  const text = new Promise<string>((resolve) => {
    stream.on('data', (data: Buffer | string) => {
      // The caller, who has the same stream, may want text.
      const chunk = typeof data === 'string' ? Buffer.from(data, stream.readableEncoding ?? 'utf8') : data
      size += chunk.length
      if (size <= limit) chunks.push(chunk)
      else onOverflow()
    })
    stream.on('error', () => undefined)
    stream.on('close', () => resolve(Buffer.concat(chunks).toString('utf8')))
  })
  return { text, overflowed: () => size > limit }
}
