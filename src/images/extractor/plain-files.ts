import { loadKoffi, loadLibrary } from '../../syscall/ffi.ts'

/** What may be written at once, and how. */
export interface PlainAllowance {
  readonly files: number
  readonly bytes: number
  /** Directories may hand their group on, so owners are set even where they are root. */
  readonly chown: boolean
}

export interface PlainFiles {
  /** Bytes of the tar that are done with. */
  readonly taken: number
  readonly files: number
  /** Bytes of their contents. */
  readonly bytes: number
}

/** Writes the files a piece of a tar begins with below the current directory, up to the first that is not plain. */
export type PlainFilesWriter = (tar: Buffer, allowance: PlainAllowance) => PlainFiles

/**
 * `ts_plain_files` of libtscrun.so (native/plain_files.c): the members that nearly all of a layer consists of, four system
 * calls each, without a line of JavaScript. What it does not take is left untouched. Must be called before the process is
 * confined.
 */
export function openPlainFiles(): PlainFilesWriter {
  const koffi = loadKoffi()
  const write = loadLibrary().func('ts_plain_files', 'int64', ['int64', 'int64', 'int64']) as unknown as (
    ...args: (number | bigint)[]
  ) => number | bigint
  // struct plain_files: files, bytes, chown; written, written_bytes.
  const fields = new BigInt64Array(5)
  const address = koffi.address(new Uint8Array(fields.buffer))
  return (tar, { files, bytes, chown }) => {
    fields[0] = BigInt(files)
    fields[1] = BigInt(bytes)
    fields[2] = chown ? 1n : 0n
    const taken = Number(write(koffi.address(tar), tar.length, address))
    return { taken, files: Number(fields[3]), bytes: Number(fields[4]) }
  }
}
