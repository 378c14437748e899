import * as fs from 'node:fs'
import { join } from 'node:path'
import { TscrunError, errnoOf } from '../../model/errors.ts'
import { formatBinary } from '../../model/units.ts'
import { requireRoom, reserveOf, streamLimit, tooMuch } from '../budget.ts'
import { compressionOf, createDecompressor } from '../extractor/decompress.ts'
import { makePrivateDirectory, TEMPORARY_FILE, uniqueWord } from '../files.ts'
import { type NamedFiles, openArchiveFd, openArchiveFiles } from './members.ts'

/** A tenth of this goes through a decompressor at once, so that a bomb is met while it is small. */
const PIECE = 1 << 14
/** How often it is looked how much room a copy leaves. */
const STEP = 16 << 20

export interface DecompressOptions {
  /** What the bytes are, for messages. */
  readonly where: string
  /** Most bytes of files that may be in it; budget.ts says how many without it. */
  readonly maxUnpackSize?: number | undefined
}

/**
 * Bytes without their compression (gzip, zstd or none), in order; each piece is awaited before more is asked for. Throws
 * INVALID_IMAGE for what is damaged, or compressed otherwise, LIMIT_EXCEEDED for what becomes too much by that.
 */
export async function decompress(
  chunks: AsyncIterable<Uint8Array>,
  take: (chunk: Buffer) => Promise<void> | void,
  { where, maxUnpackSize }: DecompressOptions,
): Promise<void> {
  let [start, total, read] = [Buffer.alloc(0) as Buffer, 0, 0]
  const waiting: Buffer[] = []
  let decompressor: ReturnType<typeof createDecompressor> | undefined
  const onData = (chunk: Buffer): void => {
    total += chunk.length
    const limit = streamLimit(maxUnpackSize, read)
    if (total > limit) throw tooMuch(`more than ${formatBinary(limit)} once it is not compressed`, where)
    waiting.push(chunk)
  }
  const handOver = async (): Promise<void> => {
    for (const chunk of waiting.splice(0)) await take(chunk)
  }
  const feed = async (bytes: Buffer): Promise<void> => {
    const plain = decompressor === undefined ? bytes.length : PIECE
    for (let at = 0; at < bytes.length; at += plain) {
      const piece = bytes.subarray(at, at + plain)
      if (decompressor === undefined) onData(piece)
      else await decompressor.write(piece)
      await handOver()
    }
  }
  try {
    let decided = false
    for await (const chunk of chunks) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      read += bytes.length
      if (decided) {
        await feed(bytes)
        continue
      }
      start = Buffer.concat([start, bytes])
      if (start.length < 8) continue
      decided = true
      const compression = compressionOf(start)
      if (compression !== 'none') decompressor = createDecompressor(compression, onData)
      await feed(start)
    }
    if (!decided) await feed(start)
    await decompressor?.end()
    await handOver()
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    const message = error.message.replace(/^(?:layer archive|unpack layer)/, where)
    throw new TscrunError(error.code, message, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    })
  }
}

/**
 * Opens an archive for reading at any place: a regular file that is not compressed as it is, anything else by a copy in
 * `work` that is gone when it is closed. Throws USAGE where the file cannot be opened.
 */
export async function openArchive(
  path: string | AsyncIterable<Uint8Array>,
  work: string,
  options: DecompressOptions,
): Promise<NamedFiles> {
  if (typeof path === 'string' && isPlainFile(path)) return openArchiveFiles(path, options.where)
  const chunks = typeof path === 'string' ? fs.createReadStream(path, { highWaterMark: 1 << 20 }) : path
  makePrivateDirectory(work)
  const copy = join(work, `${TEMPORARY_FILE}${uniqueWord()}`)
  const fd = fs.openSync(copy, 'wx+', 0o600)
  // It has no name from now on: whatever happens, it ends with this process.
  fs.rmSync(copy)
  try {
    const reserve = options.maxUnpackSize === undefined ? reserveOf(work) : 0
    let [written, next] = [0, 0]
    const take = (chunk: Buffer): void => {
      if (written >= next) {
        requireRoom(work, 0, reserve, `copy ${options.where}`)
        next = written + STEP
      }
      writeWhole(fd, chunk)
      written += chunk.length
    }
    await decompress(chunks, take, options)
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
  return openArchiveFd(fd, options.where)
}

function writeWhole(fd: number, chunk: Buffer): void {
  for (let done = 0; done < chunk.length; ) done += fs.writeSync(fd, chunk, done)
}

function isPlainFile(path: string): boolean {
  let fd: number
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    throw new TscrunError('USAGE', `open ${path}: ${errno}`, { syscall: 'open', errno, subject: path, cause: error })
  }
  try {
    const start = Buffer.alloc(8)
    if (!fs.fstatSync(fd).isFile()) return false
    return compressionOf(start.subarray(0, fs.readSync(fd, start, 0, start.length, 0))) === 'none'
  } finally {
    fs.closeSync(fd)
  }
}
