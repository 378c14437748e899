import { isatty } from 'node:tty'

type Environment = Readonly<Record<string, string | undefined>>

/** Whether cursor movement may be written to a descriptor (a dumb terminal knows none). */
export function isTerminal(fd: number, env: Environment): boolean {
  return isatty(fd) && env['TERM'] !== 'dumb'
}

/** Whether colour may be: on terminals, unless NO_COLOR has any value (no-color.org). */
export function wantsColour(fd: number, env: Environment): boolean {
  return isTerminal(fd, env) && (env['NO_COLOR'] ?? '') === ''
}
