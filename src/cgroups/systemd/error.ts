import { TscrunError } from '../../model/errors.ts'

/** SYSTEMD for bytes that break the D-Bus specification. */
export function malformed(reason: string): TscrunError {
  return new TscrunError('SYSTEMD', `D-Bus: ${reason}`)
}
