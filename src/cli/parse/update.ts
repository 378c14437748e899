import type { UpdateOptions } from '../../engine/live/update.ts'
import type { FlagValues } from '../command.ts'
import { parseRestart } from './detached.ts'
import { parseLimits } from './limits.ts'

/** What `update` is to change; `--memory -1` takes the limit away. Throws USAGE. */
export function parseUpdate(flags: FlagValues): UpdateOptions {
  const restart = flags.text('restart') ?? ''
  const unlimited = flags.text('memory') === '-1'
  const text = (name: string): string | undefined => (unlimited && name === 'memory' ? undefined : flags.text(name))
  return {
    ...parseLimits({ ...flags, text }),
    ...(unlimited ? { memory: -1 } : {}),
    ...(restart === '' ? {} : { restart: parseRestart(restart) }),
  }
}
