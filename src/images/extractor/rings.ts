import { readdirSync, readlinkSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { cString, syscall } from '../../syscall/call.ts'
import { loadKoffi } from '../../syscall/ffi.ts'

const PR_SET_NO_NEW_PRIVS = 38
const SECCOMP_SET_MODE_FILTER = 1
const F_SETFD = 2

/**
 * struct sock_filter, eight bytes each: the number of the call; is it io_uring_setup, 425 on every processor, or not (one
 * further); ENOSYS; allowed.
 */
const NO_RINGS = Buffer.from('200000000000000015000001a90100000600000026000500060000000000ff7f', 'hex')

/**
 * Some libuv (that of Debian 13) makes a ring of io_uring when Node starts, by which it speaks to epoll, and aborts where its
 * use is refused, as the extractor's filter does. So this process becomes Node once more where no ring can be made: libuv then
 * does without. `last` is the last descriptor that was handed to it, `argv` its words after Node's. Throws SyscallError.
 */
export function restartWithoutRings(last: number, argv: readonly string[]): void {
  if (!hasRing()) return
  syscall('prctl', [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0])
  const program = new BigUint64Array([BigInt(NO_RINGS.length / 8), loadKoffi().address(NO_RINGS)])
  syscall('seccomp', [SECCOMP_SET_MODE_FILTER, 0, new Uint8Array(program.buffer)])
  // Node has made them close-on-exec.
  for (let fd = 0; fd <= last; fd++) syscall('fcntl', [fd, F_SETFD, 0])
  const variables = Object.entries(process.env).map(([name, value]) => `${name}=${value}`)
  syscall(
    'execve',
    [cString(process.execPath), strings([process.execPath, ...argv]), strings(variables)],
    process.execPath,
  )
}

function hasRing(): boolean {
  return readdirSync('/proc/self/fd').some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[io_uring]'
    } catch (error) {
      // That of the listing itself.
      if (errnoOf(error) === 'ENOENT') return false
      throw error
    }
  })
}

/** A list of strings as execve(2) takes it: their addresses, a zero, and behind it the strings themselves. */
function strings(texts: readonly string[]): Uint8Array {
  const bytes = texts.map((text) => cString(text))
  const head = 8 * (texts.length + 1)
  const list = Buffer.concat([Buffer.alloc(head), ...bytes])
  let address = loadKoffi().address(list) + BigInt(head)
  for (const [index, { length }] of bytes.entries()) {
    list.writeBigUInt64LE(address, 8 * index)
    address += BigInt(length)
  }
  return list
}
