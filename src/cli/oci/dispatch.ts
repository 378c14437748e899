import { TscrunError } from '../../model/errors.ts'
import { DEFAULT_ROOT } from '../../runtime/container.ts'
import { flagValues, type FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { HELP_FLAG } from '../flags/flag.ts'
import { print } from '../output/print.ts'
import { type FlagProblem, normaliseArgv, parseBool } from '../pflag.ts'
import type { RuntimeCommand, RuntimeGlobals } from './command.ts'
import { RUNTIME_FLAGS } from './flags.ts'
import { logDebug, logError, type LogTarget, openLog } from './log.ts'

/** Verbs by name. */
export type RuntimeCommands = Readonly<Record<string, () => Promise<RuntimeCommand>>>

const FAILURE = 1

/** The OCI runtime's command line: argv without the program, to the exit code. Tells every error; never rejects. */
export async function dispatch(argv: readonly string[], commands: RuntimeCommands): Promise<number> {
  const call: Call = { commands, target: { logFormat: 'text' }, failure: FAILURE }
  try {
    return await runArgv(argv, call)
  } catch (error) {
    // Whoever sent the signal knows.
    if (error instanceof TscrunError && error.code === 'ABORTED') return error.exitCode
    logError(call.target, describe(error))
    return call.failure
  }
}

/** What is known so far of how a failure is to be told. */
interface Call {
  readonly commands: RuntimeCommands
  target: LogTarget & { readonly debug?: boolean }
  failure: number
}

function describe(error: unknown): string {
  if (error instanceof TscrunError) return error.hint === undefined ? error.message : `${error.message} (${error.hint})`
  if (!(error instanceof Error)) return String(error)
  // A failed call of the kernel names itself and its subject.
  return 'syscall' in error ? error.message : `internal error: ${error.name}: ${error.message}`
}

async function runArgv(argv: readonly string[], call: Call): Promise<number> {
  const top = normaliseArgv(argv, RUNTIME_FLAGS, { interspersed: false })
  if (!top.ok) throw problemError('', top.problem)
  const flags = flagValues(collect(top.occurrences))
  const globals = globalsOf(flags)
  call.target = globals
  openLog(globals)
  const [name = '', ...words] = top.operands
  if (flags.bool('version')) return (await import('./version.ts')).printVersion()
  if (name === '' || name === 'help' || flags.bool('help')) return help(call, flags.bool('help'), [name, ...words])
  const command = await load(call, name)
  call.failure = command.failure ?? FAILURE
  const table = [...command.flags, HELP_FLAG]
  const parsed = normaliseArgv(words, table, { interspersed: command.passThrough !== true })
  if (!parsed.ok) throw problemError(name, parsed.problem)
  const values = flagValues(collect(parsed.occurrences))
  if (values.bool('help')) return helpOf(command)
  checkOperands(command, parsed.operands)
  if (globals.debug) logDebug(globals, `tscrun-runtime ${argv.join(' ')}`)
  return command.run({ flags: values, operands: parsed.operands, globals })
}

async function load({ commands }: Call, name: string): Promise<RuntimeCommand> {
  const loadCommand = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (loadCommand !== undefined) return loadCommand()
  throw new TscrunError('USAGE', `unknown command ${JSON.stringify(name)}`, {
    subject: name,
    hint: 'see tscrun-runtime --help',
  })
}

function checkOperands({ name, operands, usage }: RuntimeCommand, words: readonly string[]): void {
  if (words.length >= operands.min && words.length <= operands.max) return
  const reason = words.length < operands.min ? 'an argument is missing' : `${words.length} arguments are too many`
  throw new TscrunError('USAGE', `${name}: ${reason}`, {
    subject: name,
    hint: `usage: tscrun-runtime ${name} [OPTIONS] ${usage}`,
  })
}

async function help(call: Call, asked: boolean, [name = '', word]: readonly string[]): Promise<number> {
  const { topHelp } = await import('./help.ts')
  const subject = name === 'help' ? word : name === '' ? undefined : name
  if (subject !== undefined) return helpOf(await load(call, subject))
  print(topHelp(Object.keys(call.commands)))
  return asked || name === 'help' ? 0 : FAILURE
}

async function helpOf(command: RuntimeCommand): Promise<number> {
  const { commandHelp } = await import('./help.ts')
  // `checkpoint --help` is how podman asks whether there is one.
  if (command.name === 'checkpoint') return command.run({ ...NOTHING, operands: [] })
  print(commandHelp(command))
  return 0
}

const NOTHING = {
  flags: flagValues(new Map()),
  globals: { root: DEFAULT_ROOT, cgroups: 'cgroupfs', logFormat: 'text', debug: false },
} as const

/** `flag needs an argument` are the words by which callers find out whether a flag is known. */
function problemError(command: string, problem: FlagProblem): TscrunError {
  const hint = `see tscrun-runtime ${command === '' ? '' : `${command} `}--help`
  const usage = (message: string, subject: string): TscrunError => new TscrunError('USAGE', message, { subject, hint })
  switch (problem.kind) {
    case 'missing-value':
      return usage(`flag needs an argument: ${problem.word}`, problem.word)
    case 'bad-bool':
      return usage(`--${problem.flag.name} ${problem.value}: neither true nor false`, `--${problem.flag.name}`)
    case 'bad-syntax':
      return usage(`${problem.word}: not a flag`, problem.word)
    case 'unknown':
      return usage(`unknown flag ${problem.short ? '-' : '--'}${problem.name}`, problem.word)
    default:
      return problem satisfies never
  }
}

function globalsOf(flags: FlagValues): RuntimeGlobals {
  const log = flags.text('log')
  const format = flags.text('log-format') ?? 'text'
  if (format !== 'text' && format !== 'json') throw badFlag('log-format', format, 'not text or json')
  const rootless = flags.text('rootless') ?? 'auto'
  if (rootless !== 'auto' && parseBool(rootless) === undefined)
    throw badFlag('rootless', rootless, 'not true, false or auto')
  return {
    root: flags.text('root') ?? defaultRoot(),
    cgroups: flags.bool('systemd-cgroup') ? 'systemd' : cgroupManager(flags.text('cgroup-manager') ?? 'cgroupfs'),
    logFormat: format,
    debug: flags.bool('debug'),
    ...(log === undefined || log === '' ? {} : { log }),
  }
}

function defaultRoot(): string {
  const directory = process.env['XDG_RUNTIME_DIR']
  return process.geteuid?.() === 0 || directory === undefined ? DEFAULT_ROOT : `${directory}/tscrun-runtime`
}

function cgroupManager(name: string): RuntimeGlobals['cgroups'] {
  if (name === 'cgroupfs' || name === 'systemd' || name === 'disabled') return name
  throw badFlag('cgroup-manager', name, 'not cgroupfs, systemd or disabled')
}

function collect(
  occurrences: readonly { readonly flag: { readonly name: string }; readonly value: string }[],
): Map<string, string[]> {
  const values = new Map<string, string[]>()
  for (const { flag, value } of occurrences) values.set(flag.name, [...(values.get(flag.name) ?? []), value])
  return values
}
