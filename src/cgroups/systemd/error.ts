import { TscrunError } from '../../model/errors.ts'

/** SYSTEMD for bytes that break the D-Bus specification. */
export function malformed(reason: string): TscrunError {
  return new TscrunError('SYSTEMD', `D-Bus: ${reason}`)
}

/** An error of systemd, its bus or the connection, with what was asked of whom in front; any other error as it is. */
export function inContext(what: string, error: unknown): unknown {
  if (!(error instanceof TscrunError) || error.code !== 'SYSTEMD') return error
  const { hint, subject = what } = error
  const details = hint === undefined ? { subject, cause: error } : { subject, hint, cause: error }
  return new TscrunError('SYSTEMD', `${what}: ${error.message}`, details)
}
