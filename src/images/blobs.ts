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
/** Who else wants the bytes while they pass; called again from the start after `restart`. */
export interface BlobSink {
  write(chunk: Buffer): Promise<void>
  /** What was written was wrong: everything comes again from the first byte. */
  restart(): Promise<void>
}

export interface BlobOptions {
  readonly sink?: BlobSink
  readonly signal?: AbortSignal
  readonly onBytes?: (current: number) => void
  /** The bytes come from the network, not from the store. */
  readonly onDownload?: () => void
}

const READ_SIZE = 1 << 20

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
  if (options.sink !== undefined) await readStored(paths, blob, options)
}

/** Passes a stored blob to a sink, checking it once more: disks err, and people edit files. */
async function readStored(paths: StorePaths, blob: Descriptor, options: BlobOptions): Promise<void> {
  const path = blobPath(paths, blob.digest)
  const file = await open(path, 'r')
  try {
    const hash = createHash('sha256')
    await pass(file, hash, options)
    if (hash.digest('hex') === hexOf(blob.digest)) return
  } finally {
    await file.close()
  }
  fs.rmSync(path)
  throw new TscrunError('DIGEST_MISMATCH', `read ${path}: damaged, removed`, {
    subject: path,
    hint: 'pull the image again',
  })
}

/** Reads a file from its start into hash and sink; answers its size. */
async function pass(file: FileHandle, hash: Hash, options: BlobOptions): Promise<number> {
  let at = 0
  for (;;) {
    options.signal?.throwIfAborted()
    // A fresh buffer each time: the sink may still hold the last one.
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(READ_SIZE), 0, READ_SIZE, at)
    if (bytesRead === 0) return at
    const chunk = buffer.subarray(0, bytesRead)
    hash.update(chunk)
    await options.sink?.write(chunk)
    at += bytesRead
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
    const continued = await receive(file, blob, source, options)
    if (continued === 'damaged') {
      // What was left of an earlier download was wrong: once more, all of it.
      await options.sink?.restart()
      await file.truncate(0)
      if ((await receive(file, blob, source, options)) === 'damaged') throw mismatch(blob)
    }
    await file.datasync()
  } catch (error) {
    // Wrong bytes are of no use to the next try; a part of the right ones is.
    if (error instanceof TscrunError && error.code === 'DIGEST_MISMATCH') fs.rmSync(partial, { force: true })
    throw error
  } finally {
    await file.close()
  }
  fs.renameSync(partial, blobPath(paths, blob.digest))
  syncDirectory(paths.blobs)
}

function mismatch(blob: Descriptor): TscrunError {
  return new TscrunError('DIGEST_MISMATCH', `fetch ${blob.digest}: other bytes than the image promises`, {
    subject: blob.digest,
    hint: 'the registry or a proxy in between is broken',
  })
}

/** Brings the file to the blob's full length. `damaged` is answered only where old bytes may be to blame. */
async function receive(
  file: FileHandle,
  blob: Descriptor,
  source: BlobSource,
  options: BlobOptions,
): Promise<'good' | 'damaged'> {
  const hash = createHash('sha256')
  const { size } = await file.stat()
  if (size > blob.size) await file.truncate(0)
  const offset = await pass(file, hash, options)
  let at = offset
  options.onBytes?.(at)
  for await (const chunk of source(offset)) {
    hash.update(chunk)
    const writing = file.write(chunk, 0, chunk.length, at)
    at += chunk.length
    await Promise.all([writing, options.sink?.write(chunk)])
    options.onBytes?.(at)
  }
  if (hash.digest('hex') === hexOf(blob.digest) && at === blob.size) return 'good'
  if (offset > 0) return 'damaged'
  throw mismatch(blob)
}
