import { TscrunError } from '../model/errors.ts'

/** Exit code of a program ended by SIGPIPE, which is what a write to a closed pipe is to a shell. */
const EXIT_SIGPIPE = 141

/** Thrown by the output functions when nobody reads any more; not an error a person should see. */
export const BROKEN_PIPE = new Error('the reader of the output has gone')

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
    const text = `tscrun: ${oneLine(error.message + hint)}\n`
    return { text: debug ? text + stackOf(error) : text, exitCode: error.exitCode }
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  const text = `tscrun: internal error: ${oneLine(message)}${debug ? '' : ' (--debug shows where)'}\n`
  return { text: debug ? text + stackOf(error) : text, exitCode: 125 }
}

export function warningLine(message: string): string {
  return `tscrun: warning: ${oneLine(message)}\n`
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
