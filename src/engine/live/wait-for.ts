import { readFileSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { pause } from '../../syscall/pause.ts'
import type { Container } from '../container.ts'
import { checkWait } from '../arguments/check-options.ts'
import type { ContainerEnd } from './live.ts'

export interface WaitOptions {
  /** Rejects with ABORTED after this time; 60 s by default. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** How often a state that tells of no change is looked at, in milliseconds. */
const LOOK_MS = 20

/** What a program waits for before it goes on with a container. Each rejects with ABORTED after its time. */
export const waitFor = {
  /**
   * Resolves to the first line of its log that matches, without its newline. Rejects with CONTAINER_STATE where it ends
   * without one.
   */
  log(container: Pick<Container, 'id' | 'logs'>, pattern: RegExp | string, options: WaitOptions = {}): Promise<string> {
    return within(container, `wait for ${String(pattern)}`, options, async (signal) => {
      const line = await findLine(container, pattern, signal)
      if (line !== undefined || signal.aborted) return line
      throw ended(container, `wait for ${String(pattern)}`, 'without writing it')
    })
  },

  /** Resolves when something in it listens on this TCP port, on any address. Rejects with CONTAINER_STATE where it ends. */
  async port(container: Pick<Container, 'id' | 'inspect'>, port: number, options: WaitOptions = {}): Promise<void> {
    const what = `wait for port ${port}`
    await within(container, what, options, (signal) =>
      look(container, signal, what, ({ Pid }) => Pid > 0 && listens(Pid, port)),
    )
  },

  /** Resolves when a health check has passed. Rejects with CONTAINER_STATE where it ends, or has no health check. */
  async healthy(container: Pick<Container, 'id' | 'inspect'>, options: WaitOptions = {}): Promise<void> {
    const what = 'wait for its health'
    await within(container, what, options, (signal) =>
      look(container, signal, what, ({ Health }) => {
        if (Health !== undefined) return Health.Status === 'healthy'
        throw new TscrunError('CONTAINER_STATE', `${what}: it has no health check`, {
          subject: container.id,
          hint: 'give it one with the option health, or use an image that has one',
        })
      }),
    )
  },

  /** Resolves to its exit code when it has ended. */
  exit(container: Pick<Container, 'id' | 'wait'>, options: WaitOptions = {}): Promise<ContainerEnd> {
    return within(container, 'wait for its end', options, (signal) => container.wait({ signal }))
  },
}

/** With the time and the signal as one; undefined as the answer says that they ended it. */
async function within<T>(
  container: Pick<Container, 'id'>,
  what: string,
  options: WaitOptions,
  action: (signal: AbortSignal) => Promise<T | undefined>,
): Promise<T> {
  checkWait(container, options)
  const { timeoutMs = 60_000, signal } = options
  const timeout = AbortSignal.timeout(timeoutMs)
  const either = signal === undefined ? timeout : AbortSignal.any([timeout, signal])
  try {
    const answer = await action(either)
    if (answer !== undefined) return answer
  } catch (error) {
    if (!(error instanceof TscrunError && error.code === 'ABORTED' && either.aborted)) throw error
  }
  const byCaller = signal?.aborted === true
  throw new TscrunError('ABORTED', `${what}: ${byCaller ? 'aborted' : `not within ${timeoutMs} ms`}`, {
    subject: container.id,
    hint: 'its logs and inspect tell what it does instead',
    ...(byCaller ? { cause: signal.reason } : {}),
  })
}

function ended(container: Pick<Container, 'id'>, what: string, how: string): TscrunError {
  return new TscrunError('CONTAINER_STATE', `${what}: the container ended ${how}`, {
    subject: container.id,
    hint: 'its logs tell what it wrote',
  })
}

const NEWLINE = 0x0a

async function findLine(
  container: Pick<Container, 'logs'>,
  pattern: RegExp | string,
  signal: AbortSignal,
): Promise<string | undefined> {
  // Not `test`: with the flag g or y it would begin where it ended the last time.
  const matches = (line: string): boolean =>
    typeof pattern === 'string' ? line.includes(pattern) : line.search(pattern) >= 0
  const pieces: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] }
  const take = (parts: Buffer[]): string => Buffer.concat(parts.splice(0)).toString('utf8')
  for await (const { stream, bytes } of container.logs({ follow: true, signal })) {
    pieces[stream].push(bytes)
    if (bytes.at(-1) !== NEWLINE) continue
    const line = take(pieces[stream]).slice(0, -1)
    if (matches(line)) return line
  }
  // The last thing it wrote may have no newline.
  const last = [pieces.stdout, pieces.stderr].filter((parts) => parts.length > 0).map(take)
  return signal.aborted ? undefined : last.find(matches)
}

interface State {
  readonly Status: string
  readonly Pid: number
  readonly Health?: { readonly Status: string }
}

async function look(
  container: Pick<Container, 'id' | 'inspect'>,
  signal: AbortSignal,
  what: string,
  test: (state: State) => boolean,
): Promise<true | undefined> {
  while (!signal.aborted) {
    const { State: state } = (await container.inspect()) as { readonly State: State }
    if (state.Status === 'exited') throw ended(container, what, 'before that')
    if (test(state)) return true
    await pause(LOOK_MS)
  }
  return undefined
}

/** Column 4 of /proc/net/tcp for a socket that listens (proc_pid_net(5)). */
const LISTENS = '0A'

/** In the network namespace of a process, without a connection that its program would see. */
function listens(pid: number, port: number): boolean {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  return ['tcp', 'tcp6'].some((table) =>
    readTable(`/proc/${pid}/net/${table}`).some((line) => {
      const [, local = '', , state] = line.trim().split(/\s+/)
      return state === LISTENS && local.endsWith(`:${wanted}`)
    }),
  )
}

/** Empty where the process has just ended, or the kernel has no such protocol. */
function readTable(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').split('\n')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ESRCH' || errno === 'EINVAL') return []
    throw error
  }
}
