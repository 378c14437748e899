import { join } from 'node:path'
import { TscrunError } from '../../model/errors.ts'
import { followLog, type LogFollower } from '../../runtime/log-follower.ts'
import { nextTurn, pause, realTimers } from '../../syscall/pause.ts'
import { findContainer, tryFindContainer } from '../state/containers-view.ts'
import { openLog } from './log-files.ts'
import { monitorSocket } from './monitor-socket.ts'
import type { EnginePaths } from '../paths.ts'

export interface LogsOptions {
  /** Go on with what is written from now on, until the container has ended. */
  readonly follow?: boolean
  /** The last lines only. */
  readonly tail?: number
  /** Milliseconds since 1970. */
  readonly sinceMs?: number
  readonly untilMs?: number
  readonly signal?: AbortSignal
}

/** A line of a container's output, or a piece of a long one. */
export interface LogLine {
  readonly stream: 'stdout' | 'stderr'
  /** As the log has it: RFC 3339 with nanoseconds. */
  readonly time: string
  /** With its newline, unless the line goes on in the next piece. */
  readonly bytes: Buffer
}

/** How often a log that is followed is looked at, in milliseconds. */
const FOLLOW_MS = 50
/** How often rotation is looked for while a reader takes its time. */
const LOOK_MS = 10

/** What a container wrote, oldest first, many lines at a time. Throws CONTAINER_STATE where no log is kept. */
export async function* containerLogs(
  paths: EnginePaths,
  idOrName: string,
  options: LogsOptions,
): AsyncGenerator<readonly LogLine[]> {
  const { record } = findContainer(paths, idOrName)
  // Its first start makes the file.
  if (record.unstarted === true) return
  const driver = record.launch?.log.driver ?? 'none'
  if (driver === 'none') {
    throw new TscrunError('CONTAINER_STATE', `logs ${idOrName}: no log of it is kept`, {
      subject: idOrName,
      hint: 'containers run with --detach have one, unless with --log-driver none',
    })
  }
  if (driver === 'passthrough') {
    throw new TscrunError(
      'CONTAINER_STATE',
      `logs ${idOrName}: its output goes to whoever started it, no log is kept`,
      {
        subject: idOrName,
        hint: 'it has --log-driver passthrough: look there; of a service of systemd in `journalctl -u UNIT`',
      },
    )
  }
  const parse = driver === 'json-file' ? parseJsonLine : parseK8sLine
  const follower = options.follow === true ? await follow(paths, record.id) : undefined
  const reader = openLog(join(paths.containers, record.id), follower)
  const next = (): readonly LogLine[] | undefined => {
    const bytes = reader.next()
    return bytes === undefined ? undefined : within(parseLines(bytes, parse), options)
  }
  try {
    if (options.tail !== undefined) yield readTail(next, options.tail)
    for (let last = options.follow !== true; options.signal?.aborted !== true; ) {
      const lines = next()
      if (lines !== undefined) {
        const looking = realTimers.setInterval(() => reader.look(), LOOK_MS)
        try {
          yield lines
          // Whoever writes all the time must not keep signals from being heard.
          await nextTurn()
        } finally {
          realTimers.clearInterval(looking)
        }
      } else if (last) return
      else {
        // Asked before the read: what was written before the end is then read once more.
        last = (tryFindContainer(paths, record.id)?.status ?? 'stopped') === 'stopped'
        if (!last) await pause(FOLLOW_MS)
      }
    }
  } finally {
    reader.close()
    follower?.close()
  }
}

/** How long a monitor may take to answer; without it the directory is looked at. */
const ANSWER_MS = 1000

/** From the monitor's answer on no file of the log can be missed. */
async function follow(paths: EnginePaths, id: string): Promise<LogFollower | undefined> {
  const follower = followLog(monitorSocket(paths, id))
  for (let waited = 0; follower !== undefined && waited < ANSWER_MS; waited++) {
    const first = follower.next()
    if (first !== undefined) {
      const early = [first]
      return { next: () => early.shift() ?? follower.next(), close: () => follower.close() }
    }
    await pause(1)
  }
  follower?.close()
  return undefined
}

function within(lines: readonly LogLine[], { sinceMs, untilMs }: LogsOptions): readonly LogLine[] {
  if (sinceMs === undefined && untilMs === undefined) return lines
  return lines.filter(({ time }) => {
    const ms = Date.parse(time)
    return ms >= (sinceMs ?? 0) && ms <= (untilMs ?? Number.POSITIVE_INFINITY)
  })
}

/** The last lines of what is there now; no more of it is held than these and one piece of the file. */
function readTail(next: () => readonly LogLine[] | undefined, count: number): readonly LogLine[] {
  let kept: readonly LogLine[] = []
  for (let lines = next(); lines !== undefined; lines = next()) kept = lastLines([...kept, ...lines], count)
  return kept
}

/** Pieces of one line count as one. */
function lastLines(lines: readonly LogLine[], count: number): readonly LogLine[] {
  for (let at = lines.length - 1, found = 0; at >= 0; at--) {
    if (at === lines.length - 1 || endsLine(lines[at])) found++
    if (found > count) return lines.slice(at + 1)
  }
  return lines
}

function endsLine(line: LogLine | undefined): boolean {
  return line?.bytes.at(-1) === 0x0a
}

type ParseLine = (bytes: Buffer, begin: number, end: number) => LogLine

/** `end` of a line is behind its newline. */
function parseLines(bytes: Buffer, parse: ParseLine): LogLine[] {
  const lines: LogLine[] = []
  for (let begin = 0; begin < bytes.length; ) {
    const end = bytes.indexOf(0x0a, begin) + 1
    lines.push(parse(bytes, begin, end))
    begin = end
  }
  return lines
}

const [SPACE, CAPITAL_F, SMALL_E] = [0x20, 0x46, 0x65]
/** `stdout` and `stderr` differ at this letter. */
const TELLING_LETTER = 3

/** `TIME STREAM F|P TEXT` (the log format of the Kubernetes CRI): of a whole line the newline is its own, too. */
function parseK8sLine(bytes: Buffer, begin: number, end: number): LogLine {
  const time = bytes.indexOf(SPACE, begin)
  const stream = bytes.indexOf(SPACE, time + 1)
  const tag = bytes.indexOf(SPACE, stream + 1)
  const whole = bytes[stream + 1] === CAPITAL_F
  return {
    time: bytes.toString('latin1', begin, time),
    stream: bytes[time + 1 + TELLING_LETTER] === SMALL_E ? 'stderr' : 'stdout',
    bytes: bytes.subarray(tag + 1, whole ? end : end - 1),
  }
}

/** `{"log":"...","stream":"...","time":"..."}` (docker's json-file). */
function parseJsonLine(bytes: Buffer, begin: number, end: number): LogLine {
  const line = JSON.parse(bytes.toString('utf8', begin, end)) as { log: string; stream: string; time: string }
  return { time: line.time, stream: line.stream === 'stderr' ? 'stderr' : 'stdout', bytes: Buffer.from(line.log) }
}
