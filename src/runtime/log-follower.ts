import { SyscallError } from '../syscall/errno.ts'
import { closeFd, makeNonBlocking, sendMessage } from '../syscall/process.ts'
import { connectUnix, takeFd } from '../syscall/socket.ts'
import { encodeMessage, MESSAGE } from './messages.ts'

/** A connection to a monitor that hands over each file of the log as rotation begins it (native/clients.c). */
export interface LogFollower {
  /** The next file, for reading, to be closed by the caller; undefined where there is none yet. */
  next(): number | undefined
  close(): void
}

/** Undefined where nobody listens. */
export function followLog(socket: string): LogFollower | undefined {
  const fd = tryConnect(socket)
  if (fd === undefined) return undefined
  makeNonBlocking(fd)
  sendMessage(fd, encodeMessage(MESSAGE.follow))
  return { next: () => takeFd(fd), close: () => closeFd(fd) }
}

function tryConnect(path: string): number | undefined {
  try {
    return connectUnix(path, 'seqpacket')
  } catch (error) {
    if (error instanceof SyscallError && (error.code === 'ENOENT' || error.code === 'ECONNREFUSED')) return undefined
    throw error
  }
}
