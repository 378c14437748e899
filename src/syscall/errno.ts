import { constants } from 'node:os'

const NAMES = new Map<number, string>(Object.entries(constants.errno).map(([name, value]) => [value, name]))
// Two names, one number: the one that man pages use wins.
NAMES.set(constants.errno.EAGAIN, 'EAGAIN')
NAMES.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP')
for (const [name, value] of [
  ['EUCLEAN', 117],
  ['ENOTBLK', 15],
  ['ENOKEY', 126],
  ['EKEYEXPIRED', 127],
  ['ESHUTDOWN', 108],
  ['EHWPOISON', 133],
] as const)
  NAMES.set(value, name)

/** `EPERM` for 1. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`
}

/** A system call that failed. Layers above add what it was about. */
export class SyscallError extends Error {
  override readonly name = 'SyscallError'
  readonly syscall: string
  readonly errno: number
  /** Symbolic, as on Node's own errors. */
  readonly code: string

  constructor(syscall: string, errno: number, subject?: string) {
    super(`${syscall}${subject === undefined ? '' : ` ${subject}`}: ${errnoName(errno)}`)
    this.syscall = syscall
    this.errno = errno
    this.code = errnoName(errno)
  }
}
