import { TscrunError } from '../model/errors.ts'
import { loadKoffi } from '../syscall/ffi.ts'
import { define, loadLibzstd } from './extractor/zstd.ts'

const OUTPUT = 1 << 18
/** zstd.h */
const [ZSTD_C_COMPRESSION_LEVEL, ZSTD_E_CONTINUE, ZSTD_E_END] = [100, 0, 2]

/** Packs pieces into one frame with the machine's libzstd.so.1; after the last one it is freed. Throws HOST_UNSUPPORTED. */
export function openZstdEncoder(level = 3): (piece: Buffer, isLast: boolean) => Buffer {
  const koffi = loadKoffi()
  const library = loadLibzstd()
  if (library === undefined) {
    throw new TscrunError('HOST_UNSUPPORTED', 'pack layers: libzstd.so.1 is missing', { hint: 'install libzstd1' })
  }
  const context = define(library, 'ZSTD_createCCtx', 0)()
  if (BigInt(context) === 0n) throw new TscrunError('STORE', 'ZSTD_createCCtx: out of memory')
  const compress = define(library, 'ZSTD_compressStream2', 4)
  const isError = define(library, 'ZSTD_isError', 1)
  define(library, 'ZSTD_CCtx_setParameter', 3)(context, ZSTD_C_COMPRESSION_LEVEL, level)
  const output = Buffer.allocUnsafeSlow(OUTPUT)
  // ZSTD_outBuffer and ZSTD_inBuffer (zstd.h): pointer, size, position.
  const outDescriptor = new BigUint64Array([koffi.address(output), BigInt(OUTPUT), 0n])
  const inDescriptor = new BigUint64Array(3)
  const outAddress = koffi.address(new Uint8Array(outDescriptor.buffer))
  const inAddress = koffi.address(new Uint8Array(inDescriptor.buffer))

  return (piece, isLast) => {
    const made: Buffer[] = []
    inDescriptor[0] = piece.length === 0 ? 0n : koffi.address(piece)
    inDescriptor[1] = BigInt(piece.length)
    inDescriptor[2] = 0n
    for (;;) {
      outDescriptor[2] = 0n
      const left = compress(context, outAddress, inAddress, isLast ? ZSTD_E_END : ZSTD_E_CONTINUE)
      if (Number(isError(left)) !== 0) throw new Error('ZSTD_compressStream2 has failed')
      made.push(Buffer.from(output.subarray(0, Number(outDescriptor[2]))))
      if (isLast ? Number(left) === 0 : Number(inDescriptor[2]) === piece.length) break
    }
    if (isLast) define(library, 'ZSTD_freeCCtx', 1)(context)
    return Buffer.concat(made)
  }
}
