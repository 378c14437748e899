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

const TIOCGWINSZ = 0x5413

/** Rows and columns of the first of these descriptors that is a terminal with a size; undefined where none is. */
export function terminalSize(fds: readonly number[]): { readonly rows: number; readonly columns: number } | undefined {
  const size = new Uint16Array(4)
  const bytes = new Uint8Array(size.buffer)
  for (const fd of fds) {
    const [rows = 0, columns = 0] = trySyscall('ioctl', [fd, TIOCGWINSZ, bytes]) < 0 ? [] : size
    if (columns > 0) return { rows, columns }
  }
  return undefined
}
