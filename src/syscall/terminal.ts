import { trySyscall } from './call.ts'

/** ioctl_tty(2); struct termios has 36 bytes on x86-64 and aarch64. */
const TCGETS = 0x5401
const TCSETSW = 0x5403
const BYTES = 64

/** Remembers the mode of a terminal; answers what puts it back. Does nothing for what is no terminal. */
export function keepTerminalMode(fd: number): () => void {
  const mode = new Uint8Array(BYTES)
  if (trySyscall('ioctl', [fd, TCGETS, mode]) < 0) return () => undefined
  // A terminal that has gone away meanwhile needs nothing.
  return () => void trySyscall('ioctl', [fd, TCSETSW, mode])
}
