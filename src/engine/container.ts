import { TscrunError } from '../model/errors.ts'
import type { PublishedPort } from '../model/launch.ts'
import type { CopyOptions } from './copy/copy.ts'
import type { ContainerEnd, StopOptions } from './live/live.ts'
import type { LogLine, LogsOptions } from './live/logs.ts'
import type { EngineCore } from './engine.ts'
import type { ExecOptions } from './live/exec.ts'
import type { ContainerStats } from './show/stats.ts'
import type { FileVerbs } from './tree/verbs.ts'
import type { TopTable } from './top/top.ts'
import type { UpdateOptions } from './live/update.ts'
import { abortable, withEngineSignal } from './signal.ts'
import { checkCommand, checkOptions } from './arguments/check-options.ts'
import { OF_CONTAINER, OF_STREAMS } from './arguments/check-verbs.ts'
import { checkArguments, checked } from './arguments/option-rules.ts'
import { boundOptions, type RunHandle, runWithStreams, type StreamOptions } from './start/run.ts'

/** A tar archive in pieces. */
export type TarBytes = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/** A container that lives on its own, for a program. It outlives the program unless it is disposed of. */
export interface Container extends AsyncDisposable {
  readonly id: string
  /** As it was when this was got, or as `rename` has made it. */
  readonly name: string
  /**
   * Runs one more command in it; the handle is that of `run`. Rejects with `ExitError` where the exit code is not 0 (unless
   * `reject: false`).
   */
  exec(args: readonly string[], options?: Omit<ExecOptions, 'tty' | 'interactive'> & StreamOptions): RunHandle
  /** Starts what `create` has made, or what has ended, with what it has written. */
  start(): Promise<void>
  /** Its stop signal, and after `timeoutMs` (10 s by default) SIGKILL. One that has ended is no error. */
  stop(options?: StopOptions): Promise<void>
  /** `stop`, then `start`. */
  restart(options?: StopOptions): Promise<void>
  rename(name: string): Promise<void>
  /** Changes limits and the restart policy: at once if it runs, and for its further lives. */
  update(options: UpdateOptions): Promise<void>
  kill(signal?: NodeJS.Signals): Promise<void>
  pause(): Promise<void>
  unpause(): Promise<void>
  /** Resolves when it has ended. Rejects with ABORTED. */
  wait(options?: { readonly signal?: AbortSignal }): Promise<ContainerEnd>
  /** Makes a health check at once; resolves to whether it passed. Rejects with CONTAINER_STATE where it has none. */
  checkHealth(): Promise<boolean>
  /** What it wrote, oldest first; with `follow` until its end. */
  logs(options?: LogsOptions): AsyncIterable<LogLine>
  /**
   * Copies a file or a directory of this machine into it, by docker's rules for paths; it may run or not. Of bytes, it
   * unpacks a tar archive (plain, gzip or zstd) below the directory `path`. Rejects with NO_SUCH_FILE where there is no
   * place for it. What is made belongs to root of the container, unless `archive` is given.
   */
  copyIn(source: string | TarBytes, path: string, options?: CopyOptions): Promise<void>
  /** Copies a file or a directory of it to this machine, as the caller's own unless `archive` is given. */
  copyOut(path: string, target: string, options?: CopyOptions): Promise<void>
  /** The same as a tar archive, with owners by the container's ids. */
  copyOut(path: string, target?: undefined, options?: CopyOptions): AsyncIterable<Buffer>
  /** What it uses; processor time is measured over half a second. */
  stats(): Promise<ContainerStats>
  /** What runs in it; `words` are podman's descriptors (`pid`, `args`) or options of ps. */
  top(words?: readonly string[]): Promise<TopTable>
  /**
   * The port of the host that leads to this one of the container; for a `hostPort` of 0 the one that was free. Rejects with
   * USAGE where none does.
   */
  port(containerPort: number, protocol?: PublishedPort['protocol']): Promise<number>
  /** What is known about it, under docker's key names. */
  inspect(): Promise<Readonly<Record<string, unknown>>>
  /** Kills it if it runs, and takes it off the disk, with its anonymous volumes. One that is gone is no error. */
  remove(): Promise<void>
}

/** Of an id, a unique beginning of one, or a name. Rejects with NO_SUCH_CONTAINER. */
export async function findContainer(engine: EngineCore, idOrName: string): Promise<Container> {
  const { Id, Name } = await engine.inspect(idOrName, 'container')
  return containerOf(engine, String(Id), String(Name))
}

export function containerOf(engine: EngineCore, id: string, firstName: string): Container {
  let name = firstName
  const remove = async (): Promise<void> => {
    try {
      await engine.remove(id, { force: true, volumes: true })
    } catch (error) {
      if (!(error instanceof TscrunError && error.code === 'NO_SUCH_CONTAINER')) throw error
    }
  }
  const verbs: Omit<Container, 'id' | 'name' | 'exec' | 'logs' | 'copyOut' | 'remove' | typeof Symbol.asyncDispose> = {
    start: async () => void (await engine.start(id)),
    stop: async (options = {}) => void (await engine.stop(id, options)),
    restart: async (options = {}) => void (await engine.restart(id, options)),
    update: async (options) => void (await engine.update(id, options)),
    rename: async (newName) => {
      await engine.rename(id, newName)
      name = newName
    },
    kill: async (signal = 'SIGKILL') => void (await engine.kill(id, signal)),
    pause: async () => void (await engine.pause(id)),
    unpause: async () => void (await engine.unpause(id)),
    wait: (options = {}) => engine.wait(id, withEngineSignal(engine, options)),
    checkHealth: () => engine.checkHealth(id),
    copyIn: (source, path, options = {}) =>
      abortable(engine, `copy to ${path}`, options, (bound) => copyIn(engine, source, { container: id, path }, bound)),
    stats: () => firstOf(engine.stats([id], {}), id),
    top: (words = []) => engine.top(id, words),
    port: (containerPort, protocol = 'tcp') => portOf(engine, { id, containerPort, protocol }),
    inspect: () => engine.inspect(id, 'container'),
  }
  return {
    id,
    get name() {
      return name
    },
    ...checked(verbs, OF_CONTAINER),
    exec: (args, options = {}) =>
      runWithStreams(`exec ${id.slice(0, 12)}`, boundOptions(engine, options), (ends) => {
        checkCommand(undefined, args)
        checkOptions('exec', options)
        return engine.beginExec(id, args, { options, ends })
      }),
    logs: async function* (options = {}) {
      checkArguments(OF_STREAMS.logs, [options])
      for await (const lines of engine.logs(id, withEngineSignal(engine, options))) yield* lines
    },
    copyOut: copyOutOf(engine, id),
    remove,
    [Symbol.asyncDispose]: remove,
  }
}

async function portOf(
  engine: EngineCore,
  wanted: { readonly id: string } & Pick<PublishedPort, 'containerPort' | 'protocol'>,
): Promise<number> {
  const { id, containerPort, protocol } = wanted
  const ports = await (await engine.networks()).ports(id)
  const found = ports.find((port) => port.containerPort === containerPort && port.protocol === protocol)
  if (found !== undefined) return found.hostPort
  throw new TscrunError('USAGE', `port ${containerPort}/${protocol}: it is not published`, {
    subject: id,
    hint: 'start it with `ports: [{ protocol, hostPort: 0, containerPort }]`',
  })
}

async function copyIn(
  engine: EngineCore,
  source: string | TarBytes,
  to: { readonly container: string; readonly path: string },
  options: CopyOptions,
): Promise<void> {
  const files = await engine.files()
  if (typeof source === 'string') return files.copy({ path: source }, to, options)
  return files.copyIn(piecesOf(source), to, options)
}

async function* piecesOf(source: TarBytes): AsyncGenerator<Uint8Array> {
  yield* source
}

function copyOutOf(engine: EngineCore, container: string): Container['copyOut'] {
  function copyOut(path: string, target: string, options?: CopyOptions): Promise<void>
  function copyOut(path: string, target?: undefined, options?: CopyOptions): AsyncIterable<Buffer>
  function copyOut(path: string, target?: string, options: CopyOptions = {}): Promise<void> | AsyncIterable<Buffer> {
    const from = { container, path }
    const copying = async <T>(action: (files: FileVerbs, options: CopyOptions) => Promise<T>): Promise<T> => {
      checkArguments(OF_STREAMS.copyOut, [path, target, options])
      return abortable(engine, `copy of ${path}`, options, async (bound) => action(await engine.files(), bound))
    }
    if (target !== undefined) return copying((files, bound) => files.copy(from, { path: target }, bound))
    return handedOver((take) => copying((files, bound) => files.copyOut(from, take, bound)))
  }
  return copyOut
}

/** What is pushed, to be pulled: the next piece is asked for when the last one has been taken. */
async function* handedOver(produce: (take: (chunk: Buffer) => Promise<void>) => Promise<void>): AsyncGenerator<Buffer> {
  const waiting: Buffer[] = []
  let [taken, came, ended] = [(): void => undefined, (): void => undefined, false]
  const producing = produce(async (chunk) => {
    if (ended) throw new TscrunError('ABORTED', 'read an archive: nobody reads any more')
    waiting.push(chunk)
    came()
    await new Promise<void>((resolve) => (taken = resolve))
  }).finally(() => {
    ended = true
    came()
  })
  producing.catch(() => undefined)
  try {
    for (;;) {
      const next = waiting.shift()
      if (next !== undefined) {
        yield next
        taken()
      } else if (ended) break
      else await new Promise<void>((resolve) => (came = resolve))
    }
  } finally {
    // Who leaves the loop gets no error for it.
    const last = ended ? producing : producing.catch(() => undefined)
    ended = true
    taken()
    await last
  }
}

async function firstOf(samples: AsyncIterable<readonly ContainerStats[]>, id: string): Promise<ContainerStats> {
  for await (const [stats] of samples) if (stats !== undefined) return stats
  throw new TscrunError('NO_SUCH_CONTAINER', `container ${id.slice(0, 12)}: it has gone`, { subject: id })
}
