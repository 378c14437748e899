import type { FlagValues } from '../command.ts'
import { fstatSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { listenFds } from '../../runtime/activation.ts'
import { badFlag } from '../errors.ts'

/** A whole number from 0 on. Throws USAGE. */
function countOf(flags: FlagValues, name: string): number {
  const text = flags.text(name) ?? '0'
  if (/^[0-9]{1,9}$/.test(text)) return Number(text)
  throw badFlag(name, text, 'not a whole number')
}

/** How many of our descriptors, from 3 on, go to the command: `--preserve-fds` and LISTEN_FDS. Throws USAGE. */
export function preservedFds(flags: FlagValues): number {
  const count = countOf(flags, 'preserve-fds') + listenFds()
  for (let fd = 3; fd < 3 + count; fd++)
    if (!isOpen(fd)) throw badFlag('preserve-fds', String(count), `${fd} is not open`)
  return count
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EBADF') return false
    throw error
  }
}

/** `{ [key]: value }` where the flag was given, for options that may be absent. */
export function given<Key extends string>(flags: FlagValues, name: string, key: Key): { [K in Key]?: string } {
  const value = flags.text(name)
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: string }
}
