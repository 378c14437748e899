import type { Engine } from '../engine/api.ts'
import { TscrunError } from '../model/errors.ts'
import type { Flag } from './flags/flag.ts'
import { GLOBAL_FLAGS } from './flags/flag.ts'
import { canonicalArgv, type FlagProblem, type Normalised, normaliseArgv } from './pflag.ts'

/** A command of the tool: what is typed, and the thin function behind it. */
export interface Command {
  readonly name: string
  /** After the name in the usage line, e.g. `IMAGE [IMAGE...]`; capitals as docker writes them. */
  readonly usage: string
  readonly description: string
  readonly flags: readonly Flag[]
  readonly operands: OperandRule
  /** Flags end at the first operand. */
  readonly passThrough?: true
  /** Resolves to the exit code. */
  run(invocation: Invocation): Promise<number>
}

export interface OperandRule {
  readonly min: number
  readonly max: number
  /** What the message calls a missing one: `image`. */
  readonly noun: string
}

/** What a command is called with, after parsing. */
export interface Invocation {
  readonly flags: FlagValues
  readonly operands: readonly string[]
  readonly globals: Globals
  /** Loads the engine, for the commands that need it. */
  readonly engine: () => Promise<Engine>
}

export interface Globals {
  readonly root?: string
  readonly runRoot?: string
  readonly debug: boolean
  readonly quietWarnings: boolean
}

/** The values given for each flag, by long name, in the order typed. */
export interface FlagValues {
  has(name: string): boolean
  /** The last one given. */
  text(name: string): string | undefined
  /** The last one given, or `fallback`. */
  bool(name: string, fallback?: boolean): boolean
  /** All of them; comma-separated ones taken apart where the table says so. */
  list(name: string): readonly string[]
}

/** Parses the words after the command's name. Throws USAGE. */
export async function parseCommand(command: Command, argv: readonly string[]): Promise<Parsed> {
  if (argv.length === 0 && command.operands.min === 0) return { values: new Map(), operands: [] }
  const flags = [...command.flags, ...GLOBAL_FLAGS]
  const normalised = normaliseArgv(argv, flags, { interspersed: command.passThrough !== true })
  if (!normalised.ok) throw await explainProblem(command.name, normalised.problem, flags)
  if (normalised.occurrences.some(({ flag, value }) => flag.name === 'help' && value === 'true')) {
    return { values: new Map([['help', ['true']]]), operands: [] }
  }
  return command.passThrough === true ? parseDirectly(command, normalised) : parseWithCommander(command, normalised)
}

export interface Parsed {
  readonly values: ReadonlyMap<string, readonly string[]>
  readonly operands: readonly string[]
}

/**
 * For `run` alone: loading commander and parsing with it takes 4 ms, half of what may be added to Node's own start.
 * The same answer as commander's, which a test holds.
 */
export function parseDirectly(command: Command, normalised: Extract<Normalised, { ok: true }>): Parsed {
  const { operands } = normalised
  if (operands.length < command.operands.min) throw operandError(command, 'commander.missingArgument')
  if (operands.length > command.operands.max) throw operandError(command, 'commander.excessArguments')
  const values = new Map<string, string[]>()
  for (const { flag, value } of normalised.occurrences) {
    const list = values.get(flag.name) ?? []
    values.set(flag.name, list)
    list.push(...valuesOf(flag, value))
  }
  return { values, operands }
}

function valuesOf(flag: Flag, value: string): string[] {
  return flag.split === true ? value.split(',') : [value]
}

/** Every other command: commander reads the canonical argv. It is given the flags that occur and no others. */
export async function parseWithCommander(
  command: Command,
  normalised: Extract<Normalised, { ok: true }>,
): Promise<Parsed> {
  const { Command: Parser, CommanderError, Option } = await import('commander')
  const values = new Map<string, string[]>()
  const parser = new Parser(command.name)
    .exitOverride()
    .helpOption(false)
    .configureOutput({ writeErr: () => {} })
  for (const flag of new Set(normalised.occurrences.map(({ flag }) => flag))) {
    const list: string[] = []
    values.set(flag.name, list)
    parser.addOption(
      new Option(`--${flag.name} <value>`).argParser((value: string) => {
        list.push(...valuesOf(flag, value))
      }),
    )
  }
  const { min, max } = command.operands
  for (let index = 0; index < Math.min(max, min + 1); index++) {
    const name = max === Number.POSITIVE_INFINITY && index === min ? 'more...' : `operand${index}`
    parser.argument(index < min ? `<${name}>` : `[${name}]`)
  }
  parser.action(() => {})
  try {
    parser.parse(canonicalArgv(normalised), { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) throw operandError(command, error.code)
    throw error
  }
  return { values, operands: parser.args }
}

function operandError(command: Command, code: string): TscrunError {
  const usage = { hint: `usage: tscrun ${command.name} ${`[OPTIONS] ${command.usage}`.trim()}`, subject: command.name }
  const { noun, max } = command.operands
  if (code === 'commander.missingArgument') {
    return new TscrunError('USAGE', `${command.name}: the ${noun} is missing`, usage)
  }
  if (code !== 'commander.excessArguments') throw new Error(`commander refused a canonical argv: ${code}`)
  const allowed = max === 0 ? 'no arguments' : `at most ${max} argument${max === 1 ? '' : 's'}`
  return new TscrunError('USAGE', `${command.name}: takes ${allowed}`, usage)
}

/** Puts what pflag would refuse into one line; `command` is empty for flags before the command. */
export async function explainProblem(
  command: string,
  problem: FlagProblem,
  flags: readonly Flag[],
): Promise<TscrunError> {
  const where = command === '' ? 'tscrun' : `tscrun ${command}`
  const help = `see ${where} --help`
  switch (problem.kind) {
    case 'missing-value': {
      const { flag, word } = problem
      return new TscrunError('USAGE', `${word}: needs a value: --${flag.name} ${flag.value ?? 'value'}`, {
        hint: help,
        subject: word,
      })
    }
    case 'bad-bool': {
      const { flag, value } = problem
      return new TscrunError('USAGE', `--${flag.name} ${value}: neither true nor false`, {
        hint: help,
        subject: `--${flag.name}`,
      })
    }
    case 'bad-syntax':
      return new TscrunError('USAGE', `${problem.word}: not a flag`, { hint: help, subject: problem.word })
    case 'unknown':
      return explainUnknown(command, problem, flags)
    default:
      return problem satisfies never
  }
}

async function explainUnknown(
  command: string,
  problem: Extract<FlagProblem, { kind: 'unknown' }>,
  flags: readonly Flag[],
): Promise<TscrunError> {
  const { unsupportedFlag } = await import('./flags/unsupported.ts')
  const known = unsupportedFlag(command, problem.name)
  if (known !== undefined) {
    return new TscrunError('USAGE', `--${known.name}: not supported yet`, {
      subject: `--${known.name}`,
      ...(known.hint === undefined ? {} : { hint: known.hint }),
    })
  }
  const where = command === '' ? 'tscrun' : `tscrun ${command}`
  if (problem.short) {
    const inside = problem.word.length > 2 ? ` in ${problem.word}` : ''
    return new TscrunError('USAGE', `unknown flag -${problem.name}${inside}`, {
      hint: `see ${where} --help`,
      subject: problem.word,
    })
  }
  const { closest } = await import('../model/closest.ts')
  const near = closest(
    problem.name,
    flags.map((flag) => flag.name),
  )
  const hint = near === undefined ? `see ${where} --help` : `did you mean --${near}?`
  return new TscrunError('USAGE', `unknown flag --${problem.name}`, { hint, subject: `--${problem.name}` })
}

/** Typed access to what was parsed. */
export function flagValues(values: ReadonlyMap<string, readonly string[]>): FlagValues {
  const last = (name: string): string | undefined => values.get(name)?.at(-1)
  return {
    has: (name) => values.has(name),
    text: last,
    bool: (name, fallback = false) => {
      const value = last(name)
      return value === undefined ? fallback : value === 'true'
    },
    list: (name) => values.get(name) ?? [],
  }
}
