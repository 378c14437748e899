import { readIfThere } from './files.ts'

/** Another one at each start of the machine (random(4)). */
const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/** What this start of the machine is called; undefined where /proc does not tell. */
export function bootId(): string | undefined {
  return readIfThere(BOOT_ID)?.toString('latin1').trim()
}
