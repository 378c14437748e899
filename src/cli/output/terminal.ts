import { fstatSync } from 'node:fs'

type Environment = Readonly<Record<string, string | undefined>>

/** Major device numbers that are terminals only: tty and ttyS, /dev/tty and console, pts (Linux devices.txt). */
const TERMINAL_MAJORS = [4, 5, 136, 137, 138, 139, 140, 141, 142, 143]
const MEMORY_MAJOR = 1

/** isatty(3), without loading node:tty (and with it streams and sockets, 7 ms) where the kind of file says it all. */
export async function isTerminalFd(fd: number): Promise<boolean> {
  const stat = fstatSync(fd)
  const major = Number((BigInt(stat.rdev) >> 8n) & 0xfffn)
  if (!stat.isCharacterDevice() || major === MEMORY_MAJOR) return false
  if (TERMINAL_MAJORS.includes(major)) return true
  const { isatty } = await import('node:tty')
  return isatty(fd)
}

/** Whether cursor movement may be written to a descriptor (a dumb terminal knows none). */
export async function isTerminal(fd: number, env: Environment): Promise<boolean> {
  return env['TERM'] !== 'dumb' && isTerminalFd(fd)
}

/** Whether colour may be: on terminals, unless NO_COLOR has any value (no-color.org). */
export async function wantsColour(fd: number, env: Environment): Promise<boolean> {
  return (env['NO_COLOR'] ?? '') === '' && isTerminal(fd, env)
}
