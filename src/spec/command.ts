import type { RunOptions } from '../model/run-options.ts'
import { TscrunError } from '../model/errors.ts'

/**
 * What is run: entrypoint and arguments (image-spec config.md, Entrypoint and Cmd). An entrypoint of the user's
 * drops the image's cmd. Throws USAGE where nothing is left.
 */
export function commandOf(
  image: { readonly entrypoint: readonly string[]; readonly cmd: readonly string[] },
  args: readonly string[],
  entrypoint: readonly string[] | undefined,
): string[] {
  const first = entrypoint?.filter((word) => word !== '') ?? image.entrypoint
  const rest = args.length > 0 || entrypoint !== undefined ? args : image.cmd
  const command = [...first, ...rest]
  if (command.length === 0) {
    throw new TscrunError('USAGE', 'no command: the image names none', { hint: 'give one after the image, e.g. `sh`' })
  }
  return command
}

/** Variables of every container. */
const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

interface EnvironmentInputs {
  readonly image: readonly string[]
  readonly options: Pick<RunOptions, 'env'>
  readonly hostname: string
  readonly home: string
  readonly terminal: boolean
}

/** `NAME=value` each, the last word on a name wins: defaults, then the image's, then the user's. */
export function environmentOf({ image, options, hostname, home, terminal }: EnvironmentInputs): string[] {
  const merged = new Map<string, string>()
  const put = (entry: string): void => {
    const equals = entry.indexOf('=')
    if (equals > 0) merged.set(entry.slice(0, equals), entry)
  }
  for (const entry of [DEFAULT_PATH, `HOSTNAME=${hostname}`, ...(terminal ? ['TERM=xterm'] : [])]) put(entry)
  for (const entry of [...image, ...(options.env ?? [])]) put(entry)
  // A newline would smuggle a line into whatever is written from it (CVE-2022-4318).
  if (!merged.has('HOME') && !/[:\n\0]/.test(home)) put(`HOME=${home}`)
  return [...merged.values()]
}
