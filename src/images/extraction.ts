import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { TscrunError, errnoOf } from '../model/errors.ts'
import { packageRoot } from '../syscall/package-root.ts'
import { tooMuch, type UnpackUse } from './budget.ts'
import type {
  ExtractorLine,
  ExtractorReply,
  ExtractorRequest,
  MergedTree,
  MergeRequest,
  UnpackedLayer,
  UnpackRequest,
} from './extractor/protocol.ts'

/** One run of the extractor process: it is fed a blob and answers when it has written the blob's files. */
export interface Extraction<Result = UnpackedLayer> {
  readonly pid: number | undefined
  /** Resolves when more may come; rejects as soon as the extractor has given up. */
  write(chunk: Uint8Array): Promise<void>
  /** The whole blob has been written. Rejects with what made the extractor give up. */
  finish(): Promise<Result>
  /** Ends it; resolves when it is gone. */
  abort(): Promise<void>
}

/** Longest answer: it names every directory an archive only implied. */
const MAX_REPLY = 256 << 20

/**
 * Starts the extractor on a directory it will have to itself. `onUse` is told now and then what has been used so far; what
 * it throws ends the extractor, and is what `write` and `finish` reject with.
 */
export function startExtraction(
  request: Omit<UnpackRequest, 'work'>,
  onUse: (use: UnpackUse) => void = () => undefined,
): Extraction {
  return startExtractor<UnpackedLayer>({ work: 'unpack', ...request }, onUse)
}

/** Copies a stack of layers into one tree: `finish` at once, there is nothing to write. */
export function startMerge(request: Omit<MergeRequest, 'work'>): Extraction<MergedTree> {
  return startExtractor<MergedTree>({ work: 'merge', ...request }, () => undefined)
}

function startExtractor<Result>(
  request: UnpackRequest | MergeRequest,
  onUse: (use: UnpackUse) => void,
): Extraction<Result> {
  const entry = join(packageRoot(), 'dist', 'extractor.cjs')
  if (!existsSync(entry)) {
    throw new TscrunError('HOST_UNSUPPORTED', `start ${entry}: not there`, {
      subject: entry,
      hint: 'run `npm run build`',
    })
  }
  // Nothing of the caller's environment: NODE_OPTIONS would run code in it.
  const asked: ExtractorRequest = { ...request, parent: process.pid }
  const child = spawn(process.execPath, [entry, JSON.stringify(asked)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {},
    cwd: '/',
  })
  let complaint = ''
  let answer: ExtractorReply | undefined
  let refused: Error | undefined
  const lines = createLines((line) => {
    const said = JSON.parse(line) as ExtractorLine
    if ('ok' in said) answer = said
    else onUse(said.use)
  })
  child.stdout.on('data', (chunk: Buffer) => {
    try {
      if (refused === undefined) lines(chunk)
    } catch (error) {
      refused = error as Error
      child.kill('SIGKILL')
    }
  })
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(0, 4096)
  })
  const closed = new Promise<void>((resolve, reject) => {
    child.once('close', () => resolve())
    child.once('error', reject)
  })
  const reply = closed.then(() => {
    if (refused !== undefined) throw refused
    return resultOf(answer ?? endOf(complaint, child.signalCode)) as Result
  })
  // Whoever calls write() or finish() is told; nobody may be there at this moment.
  reply.catch(() => undefined)
  child.stdin.on('error', (error: Error) => {
    // It gave up before reading everything; its reply says why.
    if (errnoOf(error) !== 'EPIPE' && errnoOf(error) !== 'ECONNRESET') child.kill('SIGKILL')
  })

  async function write(chunk: Uint8Array): Promise<void> {
    if (child.stdin.destroyed || child.exitCode !== null) {
      await reply
      return
    }
    if (child.stdin.write(chunk)) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        child.stdin.off('drain', done).off('close', done)
        resolve()
      }
      child.stdin.once('drain', done).once('close', done)
    })
  }

  return {
    pid: child.pid,
    write,
    finish: () => {
      child.stdin.end()
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
