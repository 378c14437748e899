import { syscall, trySyscall } from './call.ts'
import { loadKoffi } from './ffi.ts'
import { realTimers } from './pause.ts'

/** A descriptor that is being watched. */
export interface Watch {
  /** No more calls; `close` is still to come. */
  stop(): void
  close(): void
  /** From now on it does not keep the event loop alive. */
  unref(): void
}

/** Calls back whenever the descriptor is readable or its other end has gone, from Node's event loop, until stopped. */
export function watchReadable(fd: number, onReadable: () => void): Watch {
  // The first thread of a process has its number (gettid(2)).
  if (syscall('gettid', []) !== process.pid) return watchByTimer(fd, onReadable)
  return loadKoffi().node.poll(fd, { readable: true, disconnect: true }, onReadable)
}

const POLLIN = 1
const POLLRDHUP = 0x2000
const SOON_MS = 1
const LATER_MS = 8
/** So many looks in vain, and the next are later. */
const PATIENCE = 250

/**
 * In a Worker: koffi ends the whole process ("ThrowAsJavaScriptException napi_throw") where a Worker is terminated and its
 * callback may not run any more. A timer's callback that may not run is only left out.
 */
function watchByTimer(fd: number, onReadable: () => void): Watch {
  // struct pollfd and struct timespec, all zero: no waiting.
  const [asked, time] = [Buffer.alloc(8), Buffer.alloc(16)]
  asked.writeInt32LE(fd, 0)
  asked.writeUInt16LE(POLLIN | POLLRDHUP, 4)
  let [watching, referenced, vain] = [true, true, 0]
  const look = (): void => {
    const found = trySyscall('ppoll', [asked, 1, time, 0, 0]) > 0
    vain = found ? 0 : vain + 1
    if (found) onReadable()
    if (watching) timer = later(vain < PATIENCE ? SOON_MS : LATER_MS)
  }
  const later = (ms: number): NodeJS.Timeout => {
    const next = realTimers.setTimeout(look, ms)
    return referenced ? next : next.unref()
  }
  let timer = later(SOON_MS)
  const stop = (): void => {
    watching = false
    realTimers.clearTimeout(timer)
  }
  const unref = (): void => {
    referenced = false
    timer.unref()
  }
  return { stop, close: stop, unref }
}
