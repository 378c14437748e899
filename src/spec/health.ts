import { TscrunError } from '../model/errors.ts'
import type { HealthCheck, HealthOptions, ImageHealthcheck } from '../model/health.ts'

/** docker's defaults. */
const DEFAULTS = {
  intervalMs: 30_000,
  timeoutMs: 30_000,
  retries: 3,
  startPeriodMs: 0,
  startIntervalMs: 5000,
  onFailure: 'none',
} as const satisfies Omit<HealthCheck, 'args'>

const SHELL = ['/bin/sh', '-c']

/**
 * The check that image and caller ask for together: what the caller leaves open is the image's, what both leave open the
 * default. Undefined where there is none. Throws USAGE where the caller asks how often to check, and nobody what.
 */
export function resolveHealth(
  image: ImageHealthcheck | undefined,
  options: HealthOptions | false | undefined,
): HealthCheck | undefined {
  if (options === false) return undefined
  const { command, ...asked } = options ?? {}
  const args = command === undefined ? imageArgs(image?.test ?? []) : commandArgs(command)
  if (args === undefined) {
    const [option] = Object.keys(asked)
    if (option === undefined || command !== undefined) return undefined
    throw new TscrunError('USAGE', 'health: there is no check to be made', {
      subject: option,
      hint: 'the image has none: name a command with --health-cmd',
    })
  }
  const { test: _, ...ofImage } = image ?? { test: [] }
  return { ...DEFAULTS, ...ofImage, ...asked, args }
}

function imageArgs([kind, ...words]: readonly string[]): readonly string[] | undefined {
  if (kind === 'CMD' && words.length > 0) return words
  if (kind === 'CMD-SHELL' && words.length > 0) return [...SHELL, ...words]
  return undefined
}

/** An empty command is none. */
function commandArgs(command: string | readonly string[]): readonly string[] | undefined {
  const args = typeof command === 'string' ? (command === '' ? [] : [...SHELL, command]) : command
  return args.length === 0 ? undefined : args
}
