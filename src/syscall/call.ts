import { SyscallError } from './errno.ts'
import { loadKoffi, rawSyscall } from './ffi.ts'
import { syscallNumber, type SyscallName } from './numbers.ts'

/** A register's worth: an integer, or memory the kernel reads or writes during the call. */
export type Argument = number | bigint | Uint8Array

/**
 * One system call from Node's thread; a failure throws SyscallError naming call and subject.
 * Only for calls that do not change the thread: never fork, unshare or join a user or mount namespace from here.
 */
export function syscall(name: SyscallName, args: readonly Argument[], subject?: string): number {
  const result = trySyscall(name, args)
  if (result < 0) throw new SyscallError(name, -result, subject)
  return result
}

/** As `syscall`, but a failure is answered as -errno. */
export function trySyscall(name: SyscallName, args: readonly Argument[]): number {
  const call = rawSyscall()
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = args
  const result = call(syscallNumber(name), register(a), register(b), register(c), register(d), register(e), register(f))
  return Number(result)
}

function register(value: Argument): number | bigint {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new RangeError(`not an integer for a system call: ${value}`)
    return value
  }
  return typeof value === 'bigint' ? value : loadKoffi().address(value)
}

/** A NUL-terminated copy for the kernel. Throws RangeError on an inner NUL, which the kernel would silently cut at. */
export function cString(text: string | Uint8Array): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : Buffer.from(text)
  if (bytes.includes(0)) throw new RangeError('a name with a NUL byte')
  return Buffer.concat([bytes, Buffer.of(0)])
}

export const AT_FDCWD = -100
