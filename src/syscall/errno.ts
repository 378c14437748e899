import { errnoName } from '../model/kernel-names.ts'

export { errnoName }

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
