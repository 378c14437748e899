/**
 * One flag of a command. The tables made of these are the only place where flags are named: the parser, the help
 * texts and the suggestions all read them.
 *
 * - `bool` never takes the next word: `--rm`, `--rm=false`.
 * - `string` takes the next word or what follows `=`; the last one given wins.
 * - `list` may be given several times; with `split` one value may hold several, separated by commas.
 * - `word` takes the next word unless that is a flag; then it is `implied`.
 */
export interface Flag {
  /** Long name without the dashes. */
  readonly name: string
  /** One letter. */
  readonly short?: string
  readonly kind: 'bool' | 'string' | 'list' | 'word'
  /** What the help calls the value, e.g. `bytes`. */
  readonly value?: string
  readonly help: string
  /** Heading in the help; absent is `Options`. */
  readonly group?: string
  /** Other long names that docker or podman accept, not shown in the help. */
  readonly aliases?: readonly string[]
  readonly split?: true
  readonly implied?: string
}

/** Every command has it; `-h` belongs to it except where the command's own table uses that letter. */
export const HELP_FLAG: Flag = { name: 'help', short: 'h', kind: 'bool', help: 'Print usage' }

/** Flags that stand before the command or, as in podman, after it. */
export const GLOBAL_FLAGS: readonly Flag[] = [
  {
    name: 'debug',
    short: 'D',
    kind: 'bool',
    help: 'Print the steps as they run with their times, and stacks of internal errors',
  },
  {
    name: 'log-level',
    kind: 'string',
    value: 'level',
    help: 'Least serious messages to print: error, warn or debug (default warn)',
  },
  { name: 'root', kind: 'string', value: 'dir', help: 'Directory of images and containers (default /var/lib/tscrun)' },
  { name: 'runroot', kind: 'string', value: 'dir', help: 'Directory of the running state (default /run/tscrun)' },
]

/** `-v` means something else after a command, so these are taken only before it. */
export const TOP_FLAGS: readonly Flag[] = [
  ...GLOBAL_FLAGS,
  HELP_FLAG,
  { name: 'version', short: 'v', kind: 'bool', help: 'Print the version' },
]
