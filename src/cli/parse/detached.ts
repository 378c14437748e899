import type { DetachedOptions } from '../../model/run-options.ts'
import type { FlagValues } from '../command.ts'
import { badFlag, notYet } from '../errors.ts'
import { parseInteger, parseSize } from './numbers.ts'

/** What only a container in the background has, beside its log. Undefined in the foreground. Throws USAGE. */
export function parseDetached(
  flags: FlagValues,
  background: boolean,
  log: DetachedOptions['log'],
): DetachedOptions | undefined {
  const restart = flags.text('restart')
  if (!background) {
    if (restart !== undefined && restart !== '' && restart !== 'no') {
      throw badFlag('restart', restart, 'needs --detach', 'in the foreground your shell starts it again')
    }
    return undefined
  }
  return {
    ...(restart === undefined || restart === '' ? {} : { restart: parseRestart(restart) }),
    ...(log === undefined ? {} : { log }),
  }
}

/** `on-failure:3`. Throws USAGE. */
export function parseRestart(text: string): NonNullable<DetachedOptions['restart']> {
  const [, name = '', most] = /^(no|on-failure|always|unless-stopped)(?::(.*))?$/.exec(text) ?? []
  if (name === 'on-failure') {
    return { name, most: most === undefined ? 0 : parseInteger('restart', most, { min: 0, max: 2 ** 31 - 1 }) }
  }
  if ((name === 'no' || name === 'always' || name === 'unless-stopped') && most === undefined) return { name, most: 0 }
  throw badFlag('restart', text, 'unknown policy', 'no, on-failure[:N], always or unless-stopped')
}

/** In the foreground nothing is kept: it counts when the container is started again, or says `passthrough`. Throws USAGE. */
export function parseLog(flags: FlagValues): DetachedOptions['log'] {
  const driver = flags.text('log-driver') ?? ''
  const options = flags.list('log-opt')
  if (driver === '' && options.length === 0) return undefined
  const log: { driver?: LogDriver; maxSize?: number; maxFiles?: number } = {}
  if (driver !== '') log.driver = parseDriver(driver)
  for (const option of options) {
    const equals = option.indexOf('=')
    const [key, value] = [option.slice(0, equals), option.slice(equals + 1)]
    if (key === 'max-size') log.maxSize = value === '-1' ? 0 : parseSize('log-opt', value)
    else if (key === 'max-file') log.maxFiles = parseInteger('log-opt', value, { min: 1, max: 1000 })
    else throw badFlag('log-opt', option, 'unknown option', 'max-size=SIZE or max-file=NUMBER')
  }
  return log
}

type LogDriver = NonNullable<NonNullable<DetachedOptions['log']>['driver']>

function parseDriver(text: string): LogDriver {
  if (text === 'k8s-file' || text === 'json-file' || text === 'none' || text === 'passthrough') return text
  if (text === 'journald' || text === 'syslog') throw notYet('log-driver', text)
  throw badFlag('log-driver', text, 'unknown driver', 'k8s-file, json-file, none or passthrough')
}
