import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { TscrunError } from '../model/errors.ts'
import { packageRoot } from '../syscall/package-root.ts'
import type { ExtractorRequest } from './extractor/protocol.ts'

/** An extractor that waits for what it is to do. */
export interface ExtractorProcess {
  readonly child: ChildProcess
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** Resolves when it has ended; rejects where it could not be started. */
  readonly closed: Promise<void>
}

/** Extractors that are started before anybody knows what there is to unpack, so that they are ready then. */
export interface Spares extends Disposable {
  take(): ExtractorProcess | undefined
}

export function startSpares(count: number): Spares {
  const spares = Array.from({ length: count }, startExtractorProcess)
  return {
    take: () => {
      for (let spare = spares.shift(); spare !== undefined; spare = spares.shift()) {
        const { pid, exitCode, signalCode } = spare.child
        if (pid !== undefined && exitCode === null && signalCode === null) return spare
      }
      return undefined
    },
    [Symbol.dispose]: () => {
      for (const { child } of spares.splice(0)) child.kill('SIGKILL')
    },
  }
}

/** Node as a child, with the extractor. */
export function startExtractorProcess(): ExtractorProcess {
  const entry = join(packageRoot(), 'dist', 'extractor.cjs')
  if (!existsSync(entry)) {
    throw new TscrunError('HOST_UNSUPPORTED', `start ${entry}: not there`, {
      subject: entry,
      hint: 'run `npm run build`',
    })
  }
  // Nothing of the caller's environment: NODE_OPTIONS would run code in it.
  const child = spawn(process.execPath, [entry, String(process.pid)], { stdio: 'pipe', env: {}, cwd: '/' })
  const { stdin, stdout, stderr } = child
  const closed = new Promise<void>((resolve, reject) => {
    child.once('close', () => resolve())
    child.once('error', reject)
  })
  // Whoever waits for it is told; nobody may be there at this moment.
  closed.catch(() => undefined)
  return { child, stdin, stdout, stderr, closed }
}

/** What it reads first: a length of four bytes, little-endian, and the request. */
export function requestOf(request: ExtractorRequest): Buffer {
  const text = Buffer.from(JSON.stringify(request))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(text.length)
  return Buffer.concat([length, text])
}
