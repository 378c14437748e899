import { loadedSyscall } from '../syscall/ffi.ts'
import { syscallNumber } from '../syscall/numbers.ts'

/**
 * Ends the program. Node's own end frees its heaps and joins its threads for a millisecond, so where the kernel can be
 * asked it is. All output is written by then: it goes through writeSync.
 */
export function endProcess(exitCode: number): void {
  const call = loadedSyscall()
  if (call === undefined) process.exit(exitCode)
  process.emit('exit', exitCode)
  call(syscallNumber('exit_group'), exitCode, 0, 0, 0, 0, 0)
}
