import { statSync } from 'node:fs'
import { TscrunError } from '../model/errors.ts'

/** Exit code of a program ended by SIGPIPE, which is what a write to a closed pipe is to a shell. */
const EXIT_SIGPIPE = 141

/** Thrown by the output functions when nobody reads any more; not an error a person should see. */
export const BROKEN_PIPE = new Error('the reader of the output has gone')

/** Longer than any path and what is said of it. */
const MAX_MESSAGE = 5000

export interface Outcome {
  /** Lines for standard error, each with its newline; empty for a quiet end. */
  readonly text: string
  readonly exitCode: number
}

/** How every failure ends: `tscrun: <message> (<hint>)` on one line, and the exit code; `debug` adds the stack. */
export function reportError(error: unknown, debug: boolean): Outcome {
  if (error === BROKEN_PIPE) return { text: '', exitCode: EXIT_SIGPIPE }
  if (error instanceof TscrunError) {
    const hint = error.hint === undefined ? '' : ` (${error.hint})`
    const text = `tscrun: ${oneLine(shorten(error.message) + hint)}\n`
    return { text: debug ? text + stackOf(error) : text, exitCode: error.exitCode }
  }
  const refusal = refusalOf(error)
  if (refusal !== undefined) return { text: debug ? refusal + stackOf(error) : refusal, exitCode: 125 }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  const text = `tscrun: internal error: ${oneLine(message)}${debug ? '' : ' (--debug shows where)'}\n`
  return { text: debug ? text + stackOf(error) : text, exitCode: 125 }
}

const NO_DIRECTORY = 'a part of the path is no directory; for the store choose another --root or --runroot'

/** What to do where this machine has no more of something, or the store is no place for files: that can come from anywhere. */
const REFUSALS: Readonly<Record<string, string>> = {
  EMFILE: 'raise the limit on open files: ulimit -n',
  ENFILE: 'the machine has no file handles left: fs.file-max',
  ENOMEM: 'the machine has no memory left',
  ENOSPC: 'free some space, or choose another --root',
  EDQUOT: 'the quota is used up: free some space, or choose another --root',
  EFBIG: 'raise the limit on the size of files: ulimit -f',
  EIO: 'the disk cannot be read or written: see dmesg',
  ENOTDIR: NO_DIRECTORY,
  EROFS: 'the filesystem is read-only; for the store choose another --root or --runroot',
}

/** `tscrun: open /x: EMFILE (...)` for a shortage or a store that is none; undefined for what must be a defect of tscrun. */
function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { code, syscall, path } = error as NodeJS.ErrnoException
  const isOverFile = code === 'EEXIST' && syscall === 'mkdir' && path !== undefined && isNoDirectory(path)
  const hint = isOverFile ? NO_DIRECTORY : Object.hasOwn(REFUSALS, code ?? '') ? REFUSALS[code ?? ''] : undefined
  if (hint === undefined) return undefined
  const what = [syscall ?? 'system call', path ?? ''].join(' ').trim()
  return `tscrun: ${oneLine(`${what}: ${code} (${hint})`)}\n`
}

function isNoDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === false
}

export function warningLine(message: string): string {
  return `tscrun: warning: ${oneLine(message)}\n`
}

/** A message can quote what an image says, which may be as long as a book. */
function shorten(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE)}...`
}

/** Names of files and images reach messages; a newline or an escape sequence in them must not reach the terminal. */
export function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim()
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const { stack = '', cause } = error
  return `${stack}\n${cause instanceof Error ? `caused by: ${stackOf(cause)}` : ''}`
}

/** A USAGE error about one flag: `--memory abc: not a size`. */
export function badFlag(flag: string, value: string, reason: string, hint?: string): TscrunError {
  return new TscrunError('USAGE', `--${flag} ${value === '' ? "''" : value}: ${reason}`, {
    subject: `--${flag}`,
    ...(hint === undefined ? {} : { hint }),
  })
}

/** A value docker or podman would take and tscrun does not yet. */
export function notYet(flag: string, value: string, hint?: string): TscrunError {
  return badFlag(flag, value, 'not supported yet', hint)
}
