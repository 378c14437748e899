import { open, rename, rm, stat } from 'node:fs/promises'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { printBytes } from './print.ts'
import { isTerminalFd } from './terminal.ts'

/** Gets the bytes of an archive in order. */
type Sink = (chunk: Buffer) => Promise<void> | void

/**
 * Lets something write an archive to standard output, or to a file that has its name only when it is whole. Throws USAGE
 * where standard output is a terminal.
 */
export async function toArchive(
  command: string,
  file: string | undefined,
  write: (sink: Sink) => Promise<void>,
): Promise<void> {
  if (file === undefined || file === '' || file === '-') {
    if (await isTerminalFd(1)) {
      throw new TscrunError('USAGE', `${command}: standard output is a terminal`, {
        subject: command,
        hint: 'give a file with -o, or a pipe',
      })
    }
    return write((chunk) => printBytes(1, chunk))
  }
  try {
    await toFile(file, write)
  } catch (error) {
    throw fileError(file, error)
  }
}

async function toFile(file: string, write: (sink: Sink) => Promise<void>): Promise<void> {
  // A device or a pipe is written as it is: nothing could take its place.
  const special = await isSpecial(file)
  const place = special ? file : `${file}.tscrun-${process.pid}`
  const handle = await open(place, special ? 'w' : 'wx', 0o600)
  try {
    try {
      await write(async (chunk) => {
        await handle.writeFile(chunk)
      })
    } finally {
      await handle.close()
    }
    if (!special) await rename(place, file)
  } catch (error) {
    if (!special) await rm(place, { force: true })
    throw error
  }
}

async function isSpecial(file: string): Promise<boolean> {
  try {
    const stats = await stat(file)
    if (stats.isDirectory()) throw new TscrunError('USAGE', `open ${file}: it is a directory`, { subject: file })
    return !stats.isFile()
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}

function fileError(file: string, error: unknown): unknown {
  const errno = errnoOf(error)
  if (error instanceof TscrunError || errno === undefined || !/^E[A-Z]+$/.test(errno)) return error
  const call = error instanceof Error && 'syscall' in error ? String(error.syscall) : 'write'
  if (error instanceof Error && 'path' in error && !String(error.path).startsWith(file)) return error
  return new TscrunError(errno === 'ENOSPC' ? 'NO_SPACE' : 'USAGE', `${call} ${file}: ${errno}`, {
    errno,
    subject: file,
    cause: error,
  })
}
