import { syscall } from '../../syscall/call.ts'
import { loadKoffi } from '../../syscall/ffi.ts'
import { EXTRACTOR_FILTERS } from './filter-bytes.ts'

const SECCOMP_SET_MODE_FILTER = 1
const SECCOMP_FILTER_FLAG_TSYNC = 1

/** Puts all threads of this process under the filter (filter-profile.ts); needs no_new_privs. Throws SyscallError. */
export function applyFilter(): void {
  const program = Buffer.from(EXTRACTOR_FILTERS[process.arch === 'arm64' ? 'arm64' : 'x64'], 'base64')
  // struct sock_fprog: how many, padding, where.
  const description = new BigUint64Array([BigInt(program.length / 8), loadKoffi().address(program)])
  const bytes = new Uint8Array(description.buffer)
  syscall('seccomp', [SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, bytes])
}
