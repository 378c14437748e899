import * as zlib from 'node:zlib'
import { TscrunError } from '../../model/errors.ts'
import { badTar } from './tar-numbers.ts'
import { openLibzstd, windowTooLarge } from './zstd.ts'

/** Turns the bytes of a blob into those of its tar, which go to a callback. */
export interface Decompressor {
  /** Resolves once `chunk` may be used for something else. */
  write(chunk: Buffer): Promise<void>
  end(): Promise<void>
}

export type Compression = 'gzip' | 'zstd' | 'none'

/** Long enough that no name of a first member, with which a plain tar begins, is taken for one. */
const OTHERS: readonly (readonly [name: string, start: RegExp])[] = [
  ['xz', /^\xfd7zXZ\0/],
  ['bzip2', /^BZh[1-9]1AY&/],
  ['lz4', /^\x04"M\x18/],
  ['lzip', /^LZIP[\0\x01]/],
]

/** Tells the compression by the first bytes; the media type is only a label. Throws INVALID_IMAGE for others. */
export function compressionOf(start: Buffer): Compression {
  const begins = (...bytes: number[]): boolean => bytes.every((byte, i) => start[i] === byte)
  if (begins(0x1f, 0x8b)) return 'gzip'
  // A frame, or a skippable frame in front of it (RFC 8878).
  if (begins(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd'
  if (start.length >= 4 && ((start[0] ?? 0) & 0xf0) === 0x50 && start.readUIntLE(1, 3) === 0x184d2a) return 'zstd'
  const other = OTHERS.find(([, magic]) => magic.test(start.toString('latin1')))
  if (other !== undefined) throw badTar(`it is compressed with ${other[0]}, which is not supported`)
  return 'none'
}

/** Must be called before the process is confined: libzstd is loaded here, or not at all. */
export function createDecompressor(compression: Compression, onData: (chunk: Buffer) => void): Decompressor {
  switch (compression) {
    case 'none':
      return { write: async (chunk) => onData(chunk), end: async () => undefined }
    case 'gzip':
      return throughStreams(() => zlib.createGunzip({ chunkSize: 1 << 18 }), onData, 'gzip')
    case 'zstd': {
      // Node has it from 22.15 on.
      const create = (zlib as { createZstdDecompress?: (options: object) => zlib.Gunzip }).createZstdDecompress
      if (create !== undefined) return throughStreams(() => create({ chunkSize: 1 << 18 }), onData, 'zstd')
      const stream = openLibzstd(onData)
      if (stream !== undefined) return { write: async (chunk) => stream.write(chunk), end: async () => stream.end() }
      throw new TscrunError(
        'HOST_UNSUPPORTED',
        'unpack layer: it is compressed with zstd and libzstd.so.1 is missing',
        {
          hint: 'install libzstd1, or use Node 22.15 or newer',
        },
      )
    }
    default:
      return compression satisfies never
  }
}

/** `create` makes a stream for what is left where one of them ends before the bytes do: Node's zstd takes one frame. */
export function throughStreams(
  create: () => zlib.Gunzip,
  onData: (chunk: Buffer) => void,
  what: 'gzip' | 'zstd',
): Decompressor {
  let failure: Error | undefined
  /** Whoever waits for a write or for the end: a stream that fails does not answer writes under way. */
  let waiting: ((reason: Error) => void) | undefined
  const fail = (error: Error): void => {
    failure ??= error
    waiting?.(failure)
  }
  const consume = (chunk: Buffer): void => {
    if (failure !== undefined) return
    try {
      onData(chunk)
    } catch (error) {
      fail(error as Error)
      stream.destroy()
    }
  }
  let ended: Promise<void>
  const begin = (): zlib.Gunzip => {
    const begun = create()
    // Deferred until the stream has handed the next piece to its thread: both then work at the same time.
    begun.on('data', (chunk: Buffer) => queueMicrotask(() => consume(chunk)))
    begun.on('error', (error: Error & { code?: string }) => fail(faultOf(what, error)))
    ended = new Promise((resolve) => begun.once('end', resolve))
    return begun
  }
  let stream = begin()
  const waitFor = (start: (done: () => void) => void): Promise<void> =>
    new Promise((resolve, reject) => {
      if (failure !== undefined) return reject(failure)
      waiting = reject
      start(resolve)
    })
  return {
    write: async (chunk) => {
      for (let rest = chunk; rest.length > 0; ) {
        const before = stream.bytesWritten
        await waitFor((done) => stream.write(rest, done))
        const taken = stream.bytesWritten - before
        if (taken === rest.length) return
        await waitFor((done) => void ended.then(done))
        rest = rest.subarray(taken)
        stream = begin()
      }
    },
    end: async () => {
      await waitFor((done) => {
        void ended.then(done)
        stream.end()
      })
      // The last piece is consumed after the stream has ended.
      await Promise.resolve()
      if (failure !== undefined) throw failure
    },
  }
}

function faultOf(what: 'gzip' | 'zstd', error: Error & { readonly code?: string }): Error {
  if (error.code === 'ZSTD_error_frameParameter_windowTooLarge') return windowTooLarge()
  return error.code?.startsWith('Z') === true ? badTar(`its ${what} compression is damaged or cut off`) : error
}
