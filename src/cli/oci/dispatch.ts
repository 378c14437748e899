import { TscrunError } from '../../model/errors.ts'
import { DEFAULT_ROOT } from '../../runtime/container.ts'
import { explainProblem, flagValues } from '../command.ts'
import { HELP_FLAG } from '../flags/flag.ts'
import { normaliseArgv } from '../pflag.ts'
import type { RuntimeCommand, RuntimeGlobals } from './command.ts'
import { RUNTIME_FLAGS } from './flags.ts'
import { type LogTarget, logError } from './log.ts'

/** Each verb in a file of its own, loaded when it is called: every call costs its caller a start of Node. */
const COMMANDS: Readonly<Record<string, () => Promise<RuntimeCommand>>> = {
  create: async () => (await import('./commands/create.ts')).create,
  start: async () => (await import('./commands/start.ts')).start,
  state: async () => (await import('./commands/state.ts')).state,
  kill: async () => (await import('./commands/kill.ts')).kill,
  delete: async () => (await import('./commands/delete.ts')).remove,
}

/** The OCI runtime's command line: argv without the program, to the exit code. Tells every error; never rejects. */
export async function dispatch(argv: readonly string[]): Promise<number> {
  let target: LogTarget = { logFormat: 'text' }
  try {
    return await runArgv(argv, (globals) => {
      target = globals
    })
  } catch (error) {
    logError(target, describe(error))
    return 1
  }
}

function describe(error: unknown): string {
  if (error instanceof TscrunError) return error.hint === undefined ? error.message : `${error.message} (${error.hint})`
  return error instanceof Error ? `internal error: ${error.name}: ${error.message}` : String(error)
}

async function runArgv(argv: readonly string[], onGlobals: (globals: RuntimeGlobals) => void): Promise<number> {
  const top = normaliseArgv(argv, RUNTIME_FLAGS, { interspersed: false })
  if (!top.ok) throw await explainProblem('', top.problem, RUNTIME_FLAGS)
  const flags = flagValues(collect(top.occurrences))
  const log = flags.text('log')
  const globals: RuntimeGlobals = {
    root: flags.text('root') ?? DEFAULT_ROOT,
    systemdCgroup: flags.bool('systemd-cgroup'),
    logFormat: flags.text('log-format') === 'json' ? 'json' : 'text',
    debug: flags.bool('debug'),
    ...(log === undefined ? {} : { log }),
  }
  onGlobals(globals)
  const [name = '', ...words] = top.operands
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (load === undefined) throw new TscrunError('USAGE', `unknown command ${JSON.stringify(name)}`, { subject: name })
  const command = await load()
  const table = [...command.flags, HELP_FLAG]
  const parsed = normaliseArgv(words, table, { interspersed: command.passThrough !== true })
  if (!parsed.ok) throw await explainProblem(name, parsed.problem, table)
  const { operands } = parsed
  if (operands.length < command.operands.min || operands.length > command.operands.max) {
    throw new TscrunError('USAGE', `${name}: needs ${command.usage}`, { subject: name })
  }
  return command.run({ flags: flagValues(collect(parsed.occurrences)), operands, globals })
}

function collect(
  occurrences: readonly { readonly flag: { readonly name: string }; readonly value: string }[],
): Map<string, string[]> {
  const values = new Map<string, string[]>()
  for (const { flag, value } of occurrences) values.set(flag.name, [...(values.get(flag.name) ?? []), value])
  return values
}
