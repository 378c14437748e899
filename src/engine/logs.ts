import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { TscrunError } from '../model/errors.ts'
import { LOG_FILE } from '../model/launch.ts'
import { pause } from '../syscall/pause.ts'
import { findContainer, tryFindContainer } from './containers-view.ts'
import type { EnginePaths } from './paths.ts'

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

/** How often a file that is followed is looked at, in milliseconds. */
const FOLLOW_MS = 50
const CHUNK = 256 * 1024

/** What a container wrote, oldest first. Throws CONTAINER_STATE where no log is kept. */
export async function* containerLogs(
  paths: EnginePaths,
  idOrName: string,
  options: LogsOptions,
): AsyncGenerator<LogLine> {
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
  const directory = join(paths.containers, record.id)
  const parse = driver === 'json-file' ? parseJsonLine : parseK8sLine
  const { sinceMs = 0, untilMs = Number.POSITIVE_INFINITY } = options
  const wanted = (line: LogLine): boolean => {
    const ms = Date.parse(line.time)
    return ms >= sinceMs && ms <= untilMs
  }
  const reader = openReader(directory)
  try {
    let lines = [...olderFiles(directory), ...reader.read()].map(parse).filter(wanted)
    if (options.tail !== undefined) lines = lastLines(lines, options.tail)
    yield* lines
    if (options.follow !== true) return
    for (let last = false; !last && options.signal?.aborted !== true; ) {
      // Asked before the read: what was written before the end is then read once more.
      last = (tryFindContainer(paths, record.id)?.status ?? 'stopped') === 'stopped'
      const more = reader.read().map(parse).filter(wanted)
      yield* more
      if (!last && more.length === 0) await pause(FOLLOW_MS)
    }
  } finally {
    reader.close()
  }
}

/** Pieces of one line count as one. */
function lastLines(lines: readonly LogLine[], count: number): LogLine[] {
  for (let at = lines.length - 1, found = 0; at >= 0; at--) {
    if (at === lines.length - 1 || endsLine(lines[at])) found++
    if (found > count) return lines.slice(at + 1)
  }
  return [...lines]
}

function endsLine(line: LogLine | undefined): boolean {
  return line?.bytes.at(-1) === 0x0a
}

/** `log.2`, then `log.1`: what rotation has put aside, oldest first. */
function olderFiles(directory: string): Buffer[] {
  const lines: Buffer[][] = []
  for (let number = 1; ; number++) {
    const path = join(directory, `${LOG_FILE}.${number}`)
    if (statSync(path, { throwIfNoEntry: false }) === undefined) break
    const reader = openFile(path)
    lines.unshift(reader.read())
    reader.close()
  }
  return lines.flat()
}

interface LineReader {
  /** Complete lines, without their newline, that were written since the last call. */
  read(): Buffer[]
  close(): void
}

function openFile(path: string): LineReader & { readonly inode: number } {
  const fd = openSync(path, 'r')
  let rest = Buffer.alloc(0)
  return {
    inode: fstatSync(fd).ino,
    read: () => {
      const chunks = [rest]
      for (let got = -1; got !== 0; ) {
        const chunk = Buffer.alloc(CHUNK)
        got = readSync(fd, chunk)
        chunks.push(chunk.subarray(0, got))
      }
      const all = Buffer.concat(chunks)
      const end = all.lastIndexOf(0x0a) + 1
      rest = Buffer.from(all.subarray(end))
      return splitLines(all.subarray(0, end))
    },
    close: () => closeSync(fd),
  }
}

/** The current file; where it has been put aside it is read to its end, and then the new one. */
function openReader(directory: string): LineReader {
  const path = join(directory, LOG_FILE)
  let file = openFile(path)
  return {
    read: () => {
      const lines = file.read()
      const now = statSync(path, { throwIfNoEntry: false })
      if (now === undefined || now.ino === file.inode) return lines
      lines.push(...file.read())
      file.close()
      file = openFile(path)
      return [...lines, ...file.read()]
    },
    close: () => file.close(),
  }
}

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = []
  for (let begin = 0; begin < bytes.length; ) {
    const end = bytes.indexOf(0x0a, begin)
    lines.push(bytes.subarray(begin, end))
    begin = end + 1
  }
  return lines
}

/** `TIME STREAM F|P TEXT` (the log format of the Kubernetes CRI). */
function parseK8sLine(line: Buffer): LogLine {
  const time = line.indexOf(0x20)
  const stream = line.indexOf(0x20, time + 1)
  const tag = line.indexOf(0x20, stream + 1)
  const text = line.subarray(tag + 1)
  return {
    time: line.toString('latin1', 0, time),
    stream: line.toString('latin1', time + 1, stream) === 'stderr' ? 'stderr' : 'stdout',
    bytes: line.toString('latin1', stream + 1, tag) === 'F' ? Buffer.concat([text, Buffer.from('\n')]) : text,
  }
}

/** `{"log":"...","stream":"...","time":"..."}` (docker's json-file). */
function parseJsonLine(line: Buffer): LogLine {
  const { log, stream, time } = JSON.parse(line.toString()) as { log: string; stream: string; time: string }
  return { time, stream: stream === 'stderr' ? 'stderr' : 'stdout', bytes: Buffer.from(log) }
}
