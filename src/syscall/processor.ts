import { existsSync, readFileSync } from 'node:fs'
import { trySyscall } from './call.ts'

/** Room for the numbers of as many processors as Linux can be built for (CONFIG_NR_CPUS). */
const MASK_BYTES = 1024

const ONLINE = '/sys/devices/system/cpu/online'
const mask = Buffer.alloc(MASK_BYTES)
const current = Buffer.alloc(4)
let online: number | undefined

/**
 * Keeps a process of ours, which waits for us, off the processor that we are on, until it says otherwise: it is about to
 * be woken. Linux looks only briefly for an idle processor, the less the busier the machine just was, and otherwise lets
 * it wait behind us. False where nothing was changed: there is no other processor, or it is bound to some of them. What
 * to (sched_setaffinity(2)) cannot be read, so it could not be given back; otherwise it is given back by all ones.
 */
export function keepOff(pid: number): boolean {
  const size = trySyscall('sched_getaffinity', [pid, MASK_BYTES, mask])
  if (size <= 0 || trySyscall('getcpu', [current, 0, 0]) !== 0) return false
  const allowed = mask.subarray(0, size)
  const count = countBits(allowed)
  if (count < 2 || count !== onlineProcessors()) return false
  const processor = current.readUInt32LE()
  const byte = allowed[processor >> 3]
  if (byte === undefined) return false
  allowed[processor >> 3] = byte & ~(1 << (processor & 7))
  return trySyscall('sched_setaffinity', [pid, size, mask]) === 0
}

function countBits(bytes: Uint8Array): number {
  let count = 0
  for (const byte of bytes) for (let rest = byte; rest !== 0; rest &= rest - 1) count++
  return count
}

/** Read once: one that is switched off or on later only ends this. Format: `0-3,8` (Linux Documentation/admin-guide/cputopology.rst). */
function onlineProcessors(): number {
  online ??= (existsSync(ONLINE) ? readFileSync(ONLINE, 'latin1') : '')
    .trim()
    .split(',')
    .map((range) => range.split('-').map(Number))
    .reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0)
  return online
}
