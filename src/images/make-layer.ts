import { createHash } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Transform } from 'node:stream'
import { type ArchiveWriter, createArchiveWriter } from '../archive/writer.ts'
import type { Digest, DiffId } from '../model/digest.ts'
import type { Descriptor } from '../model/image.ts'
import { syncDirectory, TEMPORARY_FILE, uniqueWord } from './files.ts'
import { blobPath, type StorePaths } from './layout.ts'
import { createPacker, type Packing } from './packer.ts'

/** A layer whose blob is in the store. */
export interface MadeLayer {
  readonly blob: Descriptor
  readonly diffId: DiffId
}

/** Three quarters of the default's time for a few percent more bytes. */
const LEVEL = 4

/**
 * Makes a gzip layer of what `fill` writes: packed, hashed and stored in one pass, and in its place only when it is whole.
 * The caller holds the store.
 */
export function makeLayer(paths: StorePaths, fill: (writer: ArchiveWriter) => Promise<void>): Promise<MadeLayer> {
  return storeTar(paths, async (write) => {
    const writer = createArchiveWriter(write)
    try {
      await fill(writer)
      await writer.end()
    } catch (error) {
      writer.abort()
      throw error
    }
  })
}

/** The same of a tar that is there already. */
export async function storeTar(paths: StorePaths, produce: ProduceTar): Promise<MadeLayer> {
  const temporary = join(paths.work, `${TEMPORARY_FILE}${uniqueWord()}`)
  try {
    const { digest, size, diffId } = await packTar(temporary, { format: 'gzip', level: LEVEL }, produce)
    fs.renameSync(temporary, blobPath(paths, digest))
    syncDirectory(paths.blobs)
    return { blob: { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size }, diffId }
  } finally {
    fs.rmSync(temporary, { force: true })
  }
}

/** Makes a tar and gives it away piece by piece. */
export type ProduceTar = (write: (chunk: Buffer) => Promise<void>) => Promise<void>

export interface PackedTar {
  readonly digest: Digest
  readonly size: number
  readonly diffId: DiffId
}

/** Packs a tar into a new file, hashed before and after that in one pass. */
export async function packTar(path: string, packing: Packing, produce: ProduceTar): Promise<PackedTar> {
  const [tarHash, blobHash] = [createHash('sha256'), createHash('sha256')]
  let size = 0
  const packer = createPacker(packing)
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      blobHash.update(chunk)
      size += chunk.length
      done(null, chunk)
    },
  })
  const output = fs.createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true })
  const stored = pipeline(packer, count, output)
  stored.catch(() => undefined)
  const write = async (chunk: Buffer): Promise<void> => {
    tarHash.update(chunk)
    if (!packer.write(chunk)) await Promise.race([once(packer, 'drain'), stored])
  }
  try {
    await produce(write)
    packer.end()
  } catch (error) {
    packer.destroy(error instanceof Error ? error : new Error(String(error)))
    await stored
    throw error
  }
  await stored
  const digest = `sha256:${blobHash.digest('hex')}` as Digest
  return { digest, size, diffId: `sha256:${tarHash.digest('hex')}` as DiffId }
}
