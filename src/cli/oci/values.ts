import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'

/** A whole number from 0 on. Throws USAGE. */
export function countOf(flags: FlagValues, name: string): number {
  const text = flags.text(name) ?? '0'
  if (/^[0-9]{1,9}$/.test(text)) return Number(text)
  throw badFlag(name, text, 'not a whole number')
}

/** `{ [key]: value }` where the flag was given, for options that may be absent. */
export function given<Key extends string>(flags: FlagValues, name: string, key: Key): { [K in Key]?: string } {
  const value = flags.text(name)
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: string }
}
