import { syscall } from './call.ts'

/** 64 hex digits from getrandom(2); node:crypto, which could give them too, takes 10 ms to load. */
export function randomId(): string {
  const bytes = Buffer.alloc(32)
  syscall('getrandom', [bytes, bytes.length, 0])
  return bytes.toString('hex')
}
