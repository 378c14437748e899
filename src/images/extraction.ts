import { closeSync, constants, openSync } from 'node:fs'
import { TscrunError, errnoOf } from '../model/errors.ts'
import { tooMuch, type UnpackUse } from './budget.ts'
import { type ExtractorProcess, requestOf, type Spares, startExtractorProcess } from './extractor-process.ts'
import {
  type ExtractorLine,
  type ExtractorReply,
  type MergedTree,
  type MergeRequest,
  PROGRESS_BYTES,
  type UnpackedLayer,
  type UnpackRequest,
} from './extractor/protocol.ts'

/** One run of the extractor process: it reads a blob as that grows, and answers when it has written the blob's files. */
export interface Extraction<Result = UnpackedLayer> {
  readonly pid: number | undefined
  /** So many bytes of the blob are in its file. Rejects as soon as the extractor has given up. */
  advance(size: number): Promise<void>
  /** The whole blob has been written. Rejects with what made the extractor give up. */
  finish(): Promise<Result>
  /** Ends it; resolves when it is gone. */
  abort(): Promise<void>
}

/** Longest answer: it names every directory an archive only implied. */
const MAX_REPLY = 256 << 20

export interface Around {
  /**
   * Told now and then what has been used so far; what it throws ends the extractor, and is what `advance` and `finish`
   * reject with.
   */
  readonly onUse?: (use: UnpackUse) => void
  /** Processes that have been started ahead; one of them is taken. */
  readonly spares?: Spares
}

/** Starts the extractor on the file of a blob and a directory it will have to itself. */
export function startExtraction(
  blob: string,
  request: Omit<UnpackRequest, 'work' | 'blob'>,
  { onUse = () => undefined, spares }: Around = {},
): Extraction {
  const fd = openSync(blob, constants.O_RDONLY | constants.O_NOFOLLOW)
  const close = (): void => closeSync(fd)
  try {
    const extractor = spares?.take() ?? startExtractorProcess()
    const path = `/proc/${process.pid}/fd/${fd}`
    const extraction = follow<UnpackedLayer>(extractor, { work: 'unpack', blob: path, ...request }, onUse)
    extractor.closed.then(close, close)
    return extraction
  } catch (error) {
    close()
    throw error
  }
}

/** Copies a stack of layers into one tree: `finish` at once, there is nothing to read. */
export function startMerge(request: Omit<MergeRequest, 'work'>): Extraction<MergedTree> {
  return follow<MergedTree>(startExtractorProcess(), { work: 'merge', ...request }, () => undefined)
}

function follow<Result>(
  { child, stdin, stdout, stderr, closed }: ExtractorProcess,
  request: UnpackRequest | MergeRequest,
  onUse: (use: UnpackUse) => void,
): Extraction<Result> {
  let complaint = ''
  let answer: ExtractorReply | undefined
  let refused: Error | undefined
  const lines = createLines((line) => {
    const said = JSON.parse(line) as ExtractorLine
    if ('ok' in said) answer = said
    else onUse(said.use)
  })
  stdout.on('data', (chunk: Buffer) => {
    try {
      if (refused === undefined) lines(chunk)
    } catch (error) {
      refused = error as Error
      child.kill('SIGKILL')
    }
  })
  stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(0, 4096)
  })
  const reply = closed.then(() => {
    if (refused !== undefined) throw refused
    return resultOf(answer ?? endOf(complaint, child.signalCode)) as Result
  })
  // Whoever calls advance() or finish() is told; nobody may be there at this moment.
  reply.catch(() => undefined)
  stdin.on('error', (error: Error) => {
    // It gave up before reading everything; its reply says why.
    if (errnoOf(error) !== 'EPIPE' && errnoOf(error) !== 'ECONNRESET') child.kill('SIGKILL')
  })
  stdin.write(requestOf(request))

  async function advance(size: number): Promise<void> {
    if (stdin.destroyed || child.exitCode !== null) {
      await reply
      return
    }
    const told = Buffer.alloc(PROGRESS_BYTES)
    told.writeBigUInt64LE(BigInt(size))
    stdin.write(told)
  }

  return {
    pid: child.pid,
    advance,
    finish: () => {
      stdin.end()
      return reply
    },
    abort: async () => {
      child.kill('SIGKILL')
      await closed
    },
  }
}

/** Waits for an extractor's answer; an abort ends it and rejects with the signal's reason. */
export async function finishExtraction<Result>(
  extraction: Extraction<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  const onAbort = (): void => void extraction.abort()
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()
  try {
    return await extraction.finish()
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Hands over complete lines. Throws where one is longer than any answer. */
function createLines(take: (line: string) => void): (chunk: Buffer) => void {
  let parts: Buffer[] = []
  let size = 0
  return (chunk) => {
    let start = 0
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      parts.push(chunk.subarray(start, end))
      take(Buffer.concat(parts).toString())
      start = end + 1
      parts = []
      size = 0
    }
    parts.push(chunk.subarray(start))
    size += chunk.length - start
    if (size > MAX_REPLY) throw tooMuch('more to tell than is taken')
  }
}

/** What an extractor that ended without an answer says by that. */
function endOf(complaint: string, signal: NodeJS.Signals | null): ExtractorReply {
  const refuse = (reason: string): ExtractorReply => {
    const { code, message, hint = '' } = tooMuch(reason)
    return { ok: false, code, message, hint }
  }
  if (signal === 'SIGXFSZ') return refuse('a file longer than is taken')
  // The hard limit is the soft one: the kernel sends SIGKILL where both are passed at once.
  if (signal === 'SIGXCPU') return refuse('it takes too much processor time')
  if (/out of memory|Allocation failed/.test(complaint)) return refuse('it takes too much memory')
  throw new Error(`the layer extractor ended without an answer${signal === null ? '' : ` by ${signal}`}: ${complaint}`)
}

function resultOf(answer: ExtractorReply): unknown {
  if (answer.ok) return answer.result
  const { code, message, hint, errno } = answer
  throw new TscrunError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(errno === undefined ? {} : { errno }),
  })
}
