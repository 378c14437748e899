import type { HealthAction, HealthOptions } from '../../model/health.ts'
import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { parseInteger } from './numbers.ts'
import { durationMs } from './times.ts'

const ACTIONS: readonly HealthAction[] = ['none', 'kill', 'restart', 'stop']
const TIMES = [
  ['health-interval', 'intervalMs'],
  ['health-timeout', 'timeoutMs'],
  ['health-start-period', 'startPeriodMs'],
  ['health-start-interval', 'startIntervalMs'],
] as const

/** A day is more than anybody means; the monitor counts in milliseconds. */
const LONGEST_MS = 86_400_000

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Undefined where nothing is asked for; as in docker a 0 is the default. Throws USAGE. */
export function parseHealth(flags: FlagValues, background: boolean): HealthOptions | false | undefined {
  const options: Mutable<HealthOptions> = {}
  const command = flags.text('health-cmd') ?? ''
  if (command !== '') options.command = parseCommand(command)
  for (const [flag, key] of TIMES) {
    const ms = parseTime(flag, flags.text(flag) ?? '')
    if (ms > 0) options[key] = ms
  }
  const retries = flags.text('health-retries') ?? ''
  const count = retries === '' ? 0 : parseInteger('health-retries', retries, { min: 0, max: 2 ** 31 - 1 })
  if (count > 0) options.retries = count
  const action = flags.text('health-on-failure') ?? ''
  if (action !== '') options.onFailure = parseAction(action, background)
  if (command === 'none') return false
  if (!flags.bool('no-healthcheck')) return Object.keys(options).length === 0 ? undefined : options
  const [other] = ['health-cmd', ...TIMES.map(([flag]) => flag), 'health-retries'].filter((flag) => flags.has(flag))
  if (other !== undefined) throw badFlag(other, flags.text(other) ?? '', 'does not go with --no-healthcheck')
  return false
}

/** A JSON array of words, as podman takes it too; anything else is a line for the shell. */
function parseCommand(text: string): string | readonly string[] {
  if (!text.startsWith('[')) return text
  let words: unknown
  try {
    words = JSON.parse(text)
  } catch (error) {
    // `[ -f /ready ]` is a command of the shell.
    if (error instanceof SyntaxError) return text
    throw error
  }
  if (!Array.isArray(words) || words.some((word) => typeof word !== 'string')) return text
  const [kind, ...rest] = words as string[]
  if (kind === 'CMD-SHELL') return rest.join(' ')
  return kind === 'CMD' ? rest : (words as string[])
}

function parseTime(flag: string, text: string): number {
  if (text === '' || text === '0') return 0
  const ms = durationMs(text)
  if (ms === undefined) throw badFlag(flag, text, 'no duration', 'a number with ms, s, m or h, e.g. 30s')
  if (ms > LONGEST_MS) throw badFlag(flag, text, 'too long', 'at most 24h')
  if (ms > 0 && ms < 1) throw badFlag(flag, text, 'too short', 'at least 1ms')
  return Math.round(ms)
}

function parseAction(text: string, background: boolean): HealthAction {
  const action = ACTIONS.find((candidate) => candidate === text)
  if (action === undefined) throw badFlag('health-on-failure', text, 'unknown action', ACTIONS.join(', '))
  if (action === 'restart' && !background) {
    throw badFlag('health-on-failure', text, 'needs --detach', 'in the foreground kill or stop ends it')
  }
  return action
}
