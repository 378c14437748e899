import type { FlagValues } from '../command.ts'
import { parseInteger } from './numbers.ts'
import { parseSignal } from './words.ts'

/** The flags of `stop` and `restart`. Throws USAGE. */
export function stopOptions(flags: FlagValues): {
  readonly timeoutMs?: number
  readonly signal?: string
  readonly shutdown?: boolean
} {
  const seconds = flags.text('time')
  const signal = flags.text('signal')
  return {
    ...(seconds === undefined ? {} : { timeoutMs: parseInteger('time', seconds, { min: 0, max: 2_147_483 }) * 1000 }),
    ...(signal === undefined || signal === '' ? {} : { signal: parseSignal('signal', signal) }),
    ...(flags.bool('shutdown') ? { shutdown: true } : {}),
  }
}
