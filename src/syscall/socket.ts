import { closeSync, constants, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { cString, syscall, trySyscall } from './call.ts'
import { SyscallError } from './errno.ts'
import { loadKoffi } from './ffi.ts'
import { closeFd } from './process.ts'

const AF_UNIX = 1
const SOCK_CLOEXEC = 0o2000000
const TYPES = { stream: 1, seqpacket: 5 } as const
/** sun_path of struct sockaddr_un (unix(7)), with its NUL. */
const PATH_BYTES = 108

/** A socket that listens at a path which must not exist; close-on-exec. Throws SyscallError naming the path. */
export function listenUnix(path: string, type: keyof typeof TYPES): number {
  return withSocket(path, type, 'bind', (fd) => syscall('listen', [fd, 1], path))
}

/** A socket connected to the one that listens at a path; close-on-exec, blocking. Throws SyscallError naming the path. */
export function connectUnix(path: string, type: keyof typeof TYPES): number {
  return withSocket(path, type, 'connect', () => undefined)
}

function withSocket(
  path: string,
  type: keyof typeof TYPES,
  call: 'bind' | 'connect',
  then: (fd: number) => void,
): number {
  const fd = syscall('socket', [AF_UNIX, TYPES[type] | SOCK_CLOEXEC, 0], path)
  try {
    withShortPath(path, (short) => {
      const name = cString(short)
      const address = Buffer.concat([Buffer.of(AF_UNIX, 0), name])
      syscall(call, [fd, address, address.length], path)
    })
    then(fd)
    return fd
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

/** Callers keep their containers in deep directories: what does not fit is reached by its directory's descriptor. */
function withShortPath(path: string, action: (short: string) => void): void {
  if (Buffer.byteLength(path) < PATH_BYTES) return action(path)
  // O_PATH: no right to read the directory is needed.
  const directory = openSync(dirname(path), constants.O_DIRECTORY | 0o10000000)
  try {
    action(`/proc/self/fd/${directory}/${basename(path)}`)
  } finally {
    closeSync(directory)
  }
}

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_NOSIGNAL = 0x4000

/** One message with descriptors beside it (unix(7), SCM_RIGHTS); the caller keeps its own copies. */
export function sendWithFds(socket: number, message: Uint8Array, fds: readonly number[]): void {
  const address = loadKoffi().address
  // struct cmsghdr: length, level, type; then the descriptors, padded to 8.
  const control = Buffer.alloc(16 + ((4 * fds.length + 7) & ~7))
  control.writeBigUInt64LE(BigInt(16 + 4 * fds.length), 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  fds.forEach((fd, index) => control.writeInt32LE(fd, 16 + 4 * index))
  // struct iovec, struct msghdr.
  const part = Buffer.alloc(16)
  part.writeBigUInt64LE(address(message), 0)
  part.writeBigUInt64LE(BigInt(message.length), 8)
  const header = Buffer.alloc(56)
  header.writeBigUInt64LE(address(part), 16)
  header.writeBigUInt64LE(1n, 24)
  if (fds.length > 0) {
    header.writeBigUInt64LE(address(control), 32)
    header.writeBigUInt64LE(BigInt(control.length), 40)
  }
  syscall('sendmsg', [socket, header, MSG_NOSIGNAL])
}

const MSG_CMSG_CLOEXEC = 0x40000000

/** The descriptor that came with the next message; close-on-exec, to be closed by `closeFd`. Throws SyscallError. */
export function receiveFd(socket: number): number {
  const { result, fd } = receiveWithFd(socket)
  if (result < 0) throw new SyscallError('recvmsg', -result)
  if (fd === undefined) throw new Error('a message without a descriptor')
  return fd
}

/** The same of a socket that does not wait: undefined where no message with a descriptor is there. */
export function takeFd(socket: number): number | undefined {
  return receiveWithFd(socket).fd
}

function receiveWithFd(socket: number): { readonly result: number; readonly fd?: number } {
  const address = loadKoffi().address
  const [text, control, part, header] = [Buffer.alloc(64), Buffer.alloc(24), Buffer.alloc(16), Buffer.alloc(56)]
  part.writeBigUInt64LE(address(text), 0)
  part.writeBigUInt64LE(BigInt(text.length), 8)
  header.writeBigUInt64LE(address(part), 16)
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(address(control), 32)
  header.writeBigUInt64LE(BigInt(control.length), 40)
  const result = trySyscall('recvmsg', [socket, header, MSG_CMSG_CLOEXEC])
  if (result <= 0 || control.readBigUInt64LE(0) !== 20n || control.readInt32LE(12) !== SCM_RIGHTS) return { result }
  return { result, fd: control.readInt32LE(16) }
}
