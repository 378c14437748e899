import { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { openZstdEncoder } from './zstd-encoder.ts'

/** How layers are packed anew. */
export interface Packing {
  readonly format: 'gzip' | 'zstd'
  /** 1 to 9 for gzip, 1 to 22 for zstd; what the format takes without it. */
  readonly level?: number
  /** Also what has the format already. */
  readonly force?: boolean
}

const CHUNK = 1 << 18

/** A stream that packs what is written to it. Throws HOST_UNSUPPORTED where the machine has no zstd. */
export function createPacker({ format, level }: Packing): Transform {
  if (format === 'gzip') return zlib.createGzip({ chunkSize: CHUNK, ...(level === undefined ? {} : { level }) })
  const encode = openZstdEncoder(level)
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      attempt(done, () => encode(chunk, false))
    },
    flush(done) {
      attempt(done, () => encode(Buffer.alloc(0), true))
    },
  })
}

function attempt(done: (error: Error | null, data?: Buffer) => void, make: () => Buffer): void {
  let made: Buffer
  try {
    made = make()
  } catch (error) {
    done(error as Error)
    return
  }
  done(null, made)
}
