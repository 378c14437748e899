import { createHash, type Hash } from 'node:crypto'
import * as fs from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { hexOf } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import { syncDirectory } from './files.ts'
import { hasBlob } from './garbage.ts'
import { blobPath, type StorePaths } from './layout.ts'
import { waitForLock } from './lock.ts'

/** A blob's bytes from an offset on, in order and whole, or an error. */
export type BlobSource = (offset: number) => AsyncIterable<Buffer>

/** Who else reads a blob while it comes. */
export interface BlobSink {
  /** The file its bytes come into, from the first one on. */
  begin(path: string): void
  /** So many bytes are in the file. Rejects where no more are wanted. */
  advance(size: number): Promise<void>
  /** What was read was wrong: it begins once more. */
  restart(): Promise<void>
}

export interface BlobOptions {
  readonly sink?: BlobSink
  readonly signal?: AbortSignal
  readonly onBytes?: (current: number) => void
  /** Whoever calls writes the file system out before anything names the blob: it is not done here. */
  readonly syncedLater?: boolean
  /** The bytes come from the network, not from the store. */
  readonly onDownload?: () => void
  /** Asked where they were wrong: true where another place may have the right ones, which are read from now on. */
  readonly otherPlace?: () => boolean
}

const PIECE = 1 << 20
/** A slow source is not waited for longer than this: what has come is written. */
const FLUSH_AFTER_MS = 100

/**
 * Gets a blob into the store and, on the way, into a sink. Whoever wants the same blob at the same time waits for
 * the one that downloads it. What a killed download left is continued. A blob gets its name only once its size and
 * digest have been found right.
 */
export async function storeBlob(
  paths: StorePaths,
  blob: Descriptor,
  source: BlobSource,
  options: BlobOptions,
): Promise<void> {
  for (;;) {
    if (!hasBlob(paths, blob.digest, blob.size)) {
      const partial = join(paths.work, `blob-${hexOf(blob.digest)}`)
      using lock = await waitForLock(`${partial}.lock`, 'exclusive', options.signal)
      if (!hasBlob(paths, blob.digest, blob.size)) {
        options.onDownload?.()
        await download(paths, blob, partial, source, options)
        lock.unlink()
        return
      }
      lock.unlink()
    }
    if (options.sink === undefined || (await readStored(paths, blob, options))) return
    await options.sink.restart()
  }
}

/**
 * Passes a stored blob to a sink, checking it once more: disks err, people edit files, a power cut may leave a name without
 * its bytes. One that is wrong is removed, and false is answered.
 */
async function readStored(paths: StorePaths, blob: Descriptor, options: BlobOptions): Promise<boolean> {
  const path = blobPath(paths, blob.digest)
  const feed = patiently(options)
  options.sink?.begin(path)
  const file = await open(path, 'r')
  try {
    const hash = createHash('sha256')
    await pass(file, hash, { ...options, ...feed })
    if (hash.digest('hex') === hexOf(blob.digest)) {
      feed.refusal()
      return true
    }
  } finally {
    await file.close()
  }
  fs.rmSync(path)
  return false
}

/**
 * A sink that is told no more once it has refused something: whether that is the image's fault or that of wrong bytes is
 * known when all have been read. `refusal` throws what it said.
 */
function patiently({ sink }: BlobOptions): { readonly sink?: BlobSink; readonly refusal: () => void } {
  let refused: { readonly error: unknown } | undefined
  const refusal = (): void => {
    if (refused !== undefined) throw refused.error
  }
  if (sink === undefined) return { refusal }
  const advance = async (size: number): Promise<void> => {
    if (refused !== undefined) return
    try {
      await sink.advance(size)
    } catch (error) {
      refused = { error }
    }
  }
  return { refusal, sink: { ...sink, advance } }
}

/** Reads a file from its start into hash and sink; answers its size. */
async function pass(file: FileHandle, hash: Hash, options: BlobOptions): Promise<number> {
  const { size } = await file.stat()
  if (size === 0) return 0
  const piece = Buffer.allocUnsafeSlow(Math.min(PIECE, size))
  for (let at = 0; ; ) {
    options.signal?.throwIfAborted()
    const { bytesRead } = await file.read(piece, 0, piece.length, at)
    if (bytesRead === 0) return at
    hash.update(piece.subarray(0, bytesRead))
    at += bytesRead
    await options.sink?.advance(at)
  }
}

async function download(
  paths: StorePaths,
  blob: Descriptor,
  partial: string,
  source: BlobSource,
  options: BlobOptions,
): Promise<void> {
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = fs.constants
  const file = await open(partial, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
  try {
    for (;;) {
      options.sink?.begin(partial)
      const outcome = await receive(file, blob, source, options)
      if (outcome === 'good') break
      if (outcome === 'wrong' && options.otherPlace?.() !== true) throw mismatch(blob)
      // Once more, all of it.
      await options.sink?.restart()
      await file.truncate(0)
    }
    if (options.syncedLater !== true) await file.datasync()
  } catch (error) {
    // Wrong bytes are of no use to the next try; a part of the right ones is.
    if (error instanceof TscrunError && error.code === 'DIGEST_MISMATCH') fs.rmSync(partial, { force: true })
    throw error
  } finally {
    await file.close()
  }
  fs.renameSync(partial, blobPath(paths, blob.digest))
  if (options.syncedLater !== true) syncDirectory(paths.blobs)
}

function mismatch(blob: Descriptor): TscrunError {
  return new TscrunError('DIGEST_MISMATCH', `fetch ${blob.digest}: other bytes than the image promises`, {
    subject: blob.digest,
    hint: 'the registry or a proxy in between is broken',
  })
}

/** Brings the file to the blob's full length. `damaged`: what was left of an earlier download may be to blame. */
async function receive(
  file: FileHandle,
  blob: Descriptor,
  source: BlobSource,
  asked: BlobOptions,
): Promise<'good' | 'damaged' | 'wrong'> {
  // Where there is no other place, a refusal ends it at once.
  const feed = asked.otherPlace === undefined ? { refusal: () => undefined } : patiently(asked)
  const options = { ...asked, ...feed }
  const hash = createHash('sha256')
  const { size } = await file.stat()
  if (size > blob.size) await file.truncate(0)
  const offset = await pass(file, hash, options)
  let at = offset
  options.onBytes?.(at)
  const take = async (piece: Buffer): Promise<void> => {
    hash.update(piece)
    await file.write(piece, 0, piece.length, at)
    at += piece.length
    await options.sink?.advance(at)
  }
  const onCome = (bytes: number): void => options.onBytes?.(offset + bytes)
  await inLargePieces(source(offset), blob.size - offset, { take, onCome })
  if (hash.digest('hex') !== hexOf(blob.digest) || at !== blob.size) return offset > 0 ? 'damaged' : 'wrong'
  feed.refusal()
  return 'good'
}

interface PieceReader {
  /** Gets each piece when the one before it has been taken; it is overwritten afterwards. */
  readonly take: (piece: Buffer) => Promise<void>
  /** All bytes that have come so far. */
  readonly onCome: (bytes: number) => void
}

/**
 * Reads what comes in pieces of 64 KiB into larger ones: what is done with a piece costs more turns of the event loop and
 * calls than time for its bytes. What came before a failure is taken too, so that another try can go on from there.
 */
async function inLargePieces(
  source: AsyncIterable<Buffer>,
  expected: number,
  { take, onCome }: PieceReader,
): Promise<void> {
  const size = Math.min(PIECE, Math.max(expected, 1))
  let [piece, other] = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)]
  let [filled, come] = [0, 0]
  let taking = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  const flush = async (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    await taking
    // The timer and the loop may both have waited.
    if (filled === 0) return
    taking = take(piece.subarray(0, filled))
    // Whoever waits for it next is told.
    taking.catch(() => undefined)
    ;[piece, other] = [other, piece]
    filled = 0
  }
  try {
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; ) {
        const count = chunk.copy(piece, filled, at)
        filled += count
        at += count
        if (filled === size) await flush()
      }
      come += chunk.length
      onCome(come)
      if (filled > 0) timer ??= setTimeout(() => void flush().catch(() => undefined), FLUSH_AFTER_MS)
    }
  } finally {
    await flush()
    await taking
  }
}
