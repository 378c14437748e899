import { syscall } from './call.ts'

/** A hard limit of this process by its RLIMIT_ number (prlimit(2)); infinity is Number.MAX_SAFE_INTEGER. */
export function hardLimit(resource: number): number {
  const pair = Buffer.alloc(16)
  syscall('prlimit64', [0, resource, 0, pair])
  const hard = pair.readBigUInt64LE(8)
  return hard > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(hard)
}
