import { TscrunError } from '../../model/errors.ts'
import { loadKoffi } from '../../syscall/ffi.ts'
import { badTar } from './tar-numbers.ts'

const OUTPUT = 1 << 18
/** ZSTD_error_frameParameter_windowTooLarge (zstd_errors.h), as a result. */
const WINDOW_TOO_LARGE = -16

type Call = (...args: (number | bigint)[]) => number | bigint

/** libzstd.so.1 in this process; undefined where the machine has none. */
export function openLibzstd(onData: (chunk: Buffer) => void): ZstdStream | undefined {
  const koffi = loadKoffi()
  const library = loadLibzstd()
  if (library === undefined) return undefined
  const create = define(library, 'ZSTD_createDStream', 0)
  const free = define(library, 'ZSTD_freeDStream', 1)
  const decompress = define(library, 'ZSTD_decompressStream', 3)
  const isError = define(library, 'ZSTD_isError', 1)
  const context = create()
  if (BigInt(context) === 0n) throw new TscrunError('STORE', 'ZSTD_createDStream: out of memory')
  // ZSTD_outBuffer and ZSTD_inBuffer (zstd.h): pointer, size, position.
  const output = Buffer.allocUnsafeSlow(OUTPUT)
  const outDescriptor = new BigUint64Array([koffi.address(output), BigInt(OUTPUT), 0n])
  const inDescriptor = new BigUint64Array(3)
  const outAddress = koffi.address(new Uint8Array(outDescriptor.buffer))
  const inAddress = koffi.address(new Uint8Array(inDescriptor.buffer))
  let complete = true

  function write(chunk: Buffer): void {
    inDescriptor[0] = koffi.address(chunk)
    inDescriptor[1] = BigInt(chunk.length)
    inDescriptor[2] = 0n
    for (;;) {
      outDescriptor[2] = 0n
      const result = decompress(context, outAddress, inAddress)
      if (Number(isError(result)) !== 0) {
        throw Number(result) === WINDOW_TOO_LARGE ? windowTooLarge() : badTar('its zstd compression is damaged')
      }
      const size = Number(outDescriptor[2])
      if (size > 0) onData(output.subarray(0, size))
      complete = Number(result) === 0
      const allRead = Number(inDescriptor[2]) === chunk.length
      // A full output buffer may mean that more is waiting inside.
      if (allRead && (size < OUTPUT || complete)) return
    }
  }

  function end(): void {
    free(context)
    if (!complete) throw badTar('its zstd compression is cut off')
  }

  return { write, end }
}

/** What both libraries take without being told otherwise. */
export function windowTooLarge(): TscrunError {
  return new TscrunError('LIMIT_EXCEEDED', 'unpack layer: its zstd compression needs a window of more than 128 MiB', {
    hint: 'compress it without --long, or with --long=27',
  })
}

export interface ZstdStream {
  write(chunk: Buffer): void
  /** Throws INVALID_IMAGE where a frame is not complete. */
  end(): void
}

type Library = ReturnType<ReturnType<typeof loadKoffi>['load']>

/** A function of the library that takes so many numbers or addresses. */
export function define(library: Library, name: string, count: number): Call {
  const parameters = Array.from({ length: count }, () => 'int64')
  return library.func(name, 'int64', parameters) as Call
}

/** Undefined where the machine has none. */
export function loadLibzstd(): Library | undefined {
  try {
    return loadKoffi().load('libzstd.so.1')
  } catch (error) {
    // koffi has no code for it; the text is dlopen's.
    if (error instanceof Error && /libzstd\.so\.1/.test(error.message)) return undefined
    throw error
  }
}
