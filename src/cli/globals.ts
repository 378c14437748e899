import type { Globals } from './command.ts'
import { badFlag } from './errors.ts'

type Values = ReadonlyMap<string, readonly string[]>

/** The global flags, given before the command or after it; what stands after it wins. Throws USAGE. */
export function readGlobals(before: Values, after: Values): Globals {
  const last = (name: string): string | undefined => after.get(name)?.at(-1) ?? before.get(name)?.at(-1)
  const level = last('log-level') ?? 'warn'
  if (!['error', 'warn', 'warning', 'info', 'debug'].includes(level))
    throw badFlag('log-level', level, 'unknown level', 'error, warn or debug')
  const root = directory('root', last('root'))
  const runRoot = directory('runroot', last('runroot'))
  return {
    debug: last('debug') === 'true' || level === 'debug',
    quietWarnings: level === 'error',
    ...(root === undefined ? {} : { root }),
    ...(runRoot === undefined ? {} : { runRoot }),
  }
}

/** These become parts of mount options and of paths in state files, whatever the directory they are typed in. */
function directory(flag: string, text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined
  if (!text.startsWith('/')) throw badFlag(flag, text, 'must be an absolute path')
  return text
}
