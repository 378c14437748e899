import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { TscrunError, errnoOf } from '../model/errors.ts'

/** Makes a directory only its owner may enter: what lies in it has set-id files of images (CVE-2021-41091). */
export function makePrivateDirectory(path: string): void {
  fs.mkdirSync(path, { recursive: true, mode: 0o700 })
}

/** What files are called in the work directory before they have their content and their name. */
export const TEMPORARY_FILE = 'file-'

/** For temporary names in our own directories; node:crypto would cost each start of a container 3 ms to load. */
export function uniqueWord(): string {
  const word = (): string => Math.floor(Math.random() * 2 ** 48).toString(36)
  return `${process.pid}-${word()}${word()}`
}

/** Replaces a file so that a crash leaves the old or the new content; `work` is a directory of the same file system. */
export function writeDurably(path: string, content: string | Uint8Array, work: string): void {
  const temporary = join(work, `${TEMPORARY_FILE}${uniqueWord()}`)
  const fd = fs.openSync(temporary, 'wx', 0o600)
  try {
    fs.writeFileSync(fd, content)
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
  fs.renameSync(temporary, path)
  syncDirectory(dirname(path))
}

/** Makes the names in a directory survive a power cut. */
export function syncDirectory(path: string): void {
  const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
  try {
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}

/** The content of a file, or undefined where there is none. */
export function readIfThere(path: string): Buffer | undefined {
  try {
    return fs.readFileSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** False only where there is none: a place that cannot be looked at is an error. */
export function isThere(path: string): boolean {
  try {
    fs.accessSync(path)
    return true
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}

/** Undefined for what is not JSON: a file of ours that a power cut caught between its name and its content. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

export function listDirectory(path: string): readonly string[] {
  try {
    return fs.readdirSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

/** The sentence for a failure of the store's own files. */
export function storeError(error: unknown, subject: string): unknown {
  if (error instanceof TscrunError || !(error instanceof Error)) return error
  const errno = errnoOf(error)
  if (errno === undefined || !/^E[A-Z0-9]+$/.test(errno)) return error
  const details = { subject, errno, cause: error }
  const call = 'syscall' in error && typeof error.syscall === 'string' ? error.syscall : 'write'
  const path = 'path' in error && typeof error.path === 'string' ? error.path : subject
  const message = `${call} ${path}: ${errno}`
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new TscrunError('NO_SPACE', message, { ...details, hint: 'make room, or move the store with --root' })
  }
  if (errno === 'EACCES' || errno === 'EPERM') {
    return new TscrunError('PERMISSION_DENIED', message, {
      ...details,
      hint: 'run it with sudo, or choose a store with --root',
    })
  }
  if (errno === 'ENOTDIR' || errno === 'EROFS' || errno === 'EIO' || errno === 'ENOENT' || errno === 'EMFILE') {
    return new TscrunError('STORE', message, { ...details, hint: 'choose another store with --root' })
  }
  return error
}

/** Deletes files that never got their name; the caller holds the use lock alone, so nobody is writing one. */
export function sweepFiles(paths: { readonly work: string }): void {
  for (const name of listDirectory(paths.work)) {
    if (name.startsWith(TEMPORARY_FILE)) fs.rmSync(join(paths.work, name), { recursive: true, force: true })
  }
}
