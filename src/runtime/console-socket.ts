import type { OciProcess } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'

/** A terminal without us needs somebody who takes its master; a socket for no terminal is a mistake. Throws USAGE. */
export function checkConsoleSocket(
  process: OciProcess | undefined,
  socket: string | undefined,
  detached: boolean,
): void {
  const terminal = process?.terminal === true
  if (terminal && detached && socket === undefined) {
    throw refuse('cannot allocate a terminal: it goes to whoever listens there, and none is given')
  }
  if (!terminal && socket !== undefined) throw refuse('the process has no terminal (process.terminal is not true)')
}

function refuse(reason: string): TscrunError {
  return new TscrunError('USAGE', `--console-socket: ${reason}`, { subject: '--console-socket' })
}
