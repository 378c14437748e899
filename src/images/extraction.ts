import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { TscrunError, errnoOf } from '../model/errors.ts'
import { packageRoot } from '../syscall/package-root.ts'
import type {
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

/** Starts the extractor on a directory it will have to itself. */
export function startExtraction(request: Omit<UnpackRequest, 'work'>): Extraction {
  return startExtractor<UnpackedLayer>({ work: 'unpack', ...request })
}

/** Copies a stack of layers into one tree: `finish` at once, there is nothing to write. */
export function startMerge(request: Omit<MergeRequest, 'work'>): Extraction<MergedTree> {
  return startExtractor<MergedTree>({ work: 'merge', ...request })
}

function startExtractor<Result>(request: ExtractorRequest): Extraction<Result> {
  const entry = join(packageRoot(), 'dist', 'extractor.cjs')
  if (!existsSync(entry)) {
    throw new TscrunError('HOST_UNSUPPORTED', `start ${entry}: not there`, {
      subject: entry,
      hint: 'run `npm run build`',
    })
  }
  // Nothing of the caller's environment: NODE_OPTIONS would run code in it.
  const child = spawn(process.execPath, [entry, JSON.stringify(request)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {},
    cwd: '/',
  })
  const output: Buffer[] = []
  let outputSize = 0
  let complaint = ''
  child.stdout.on('data', (chunk: Buffer) => {
    outputSize += chunk.length
    if (outputSize <= MAX_REPLY) output.push(chunk)
    else child.kill('SIGKILL')
  })
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(0, 4096)
  })
  const closed = new Promise<void>((resolve, reject) => {
    child.once('close', () => resolve())
    child.once('error', reject)
  })
  const reply = closed.then(() => readReply(Buffer.concat(output), complaint, child.signalCode) as Result)
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

function readReply(output: Buffer, complaint: string, signal: NodeJS.Signals | null): unknown {
  if (output.length === 0) {
    if (signal === 'SIGXFSZ') throw new TscrunError('LIMIT_EXCEEDED', 'unpack layer: a file longer than is taken')
    throw new Error(
      `the layer extractor ended without an answer${signal === null ? '' : ` by ${signal}`}: ${complaint}`,
    )
  }
  const answer = JSON.parse(output.toString()) as ExtractorReply
  if (answer.ok) return answer.result
  const { code, message, hint, errno } = answer
  throw new TscrunError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(errno === undefined ? {} : { errno }),
  })
}
