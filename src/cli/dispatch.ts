import { TscrunError } from '../model/errors.ts'
import { type Command, explainProblem, flagValues, type Globals, parseCommand } from './command.ts'
import { openEngine } from './engine.ts'
import { reportError } from './errors.ts'
import { TOP_FLAGS } from './flags/flag.ts'
import { readGlobals } from './globals.ts'
import { print, printError } from './output/print.ts'
import { normaliseArgv } from './pflag.ts'
import { GROUPS, type Group } from './groups.ts'
import { ENTRIES } from './registry.ts'

/** The whole command line: argv without the program, to the exit code. Prints every error; never rejects. */
export async function dispatch(argv: readonly string[]): Promise<number> {
  // Until the flags are understood, whoever typed --debug gets to see where they are not.
  const state = { debug: argv.includes('--debug') }
  try {
    return await runArgv(argv, (globals) => {
      state.debug = globals.debug
    })
  } catch (error) {
    const { text, exitCode } = reportError(error, state.debug)
    printError(text)
    return exitCode
  }
}

async function runArgv(argv: readonly string[], onGlobals: (globals: Globals) => void): Promise<number> {
  if (argv[0] === '__complete') return answerCompletion(argv.slice(argv[1] === '--' ? 2 : 1))
  const top = normaliseArgv(argv, TOP_FLAGS, { interspersed: false })
  if (!top.ok) throw await explainProblem('', top.problem, TOP_FLAGS)
  const before = new Map(top.occurrences.map(({ flag, value }) => [flag.name, [value]]))
  const [name, ...rest] = top.operands
  if (before.get('version')?.[0] === 'true') {
    const { versionLine } = await import('./commands/version.ts')
    print(versionLine())
    return 0
  }
  if (name === undefined || name === 'help' || before.get('help')?.[0] === 'true') {
    return printHelp(name === 'help' ? rest : top.operands)
  }
  const target = resolve(name, rest)
  if (target === undefined) throw await unknownCommand(name)
  if ('group' in target) return groupWithoutCommand(target.group, rest)
  const command = await target.load()
  const parsed = await parseCommand(command, target.words)
  if (parsed.values.has('help')) return printHelp([command.name])
  const globals = readGlobals(before, parsed.values)
  onGlobals(globals)
  const flags = flagValues(parsed.values)
  return command.run({ flags, operands: parsed.operands, globals, engine: () => openEngine(globals) })
}

/** For the scripts of the shells. */
async function answerCompletion(words: readonly string[]): Promise<number> {
  const { complete, completionText } = await import('./completion/complete.ts')
  print(completionText(await complete(words)))
  return 0
}

/** What the first words mean: a command with the words left for it, or a group without a command of its own. */
function resolve(
  name: string,
  rest: readonly string[],
):
  | { readonly load: () => Promise<Command>; readonly words: readonly string[] }
  | { readonly group: Group }
  | undefined {
  const entry = ENTRIES.find((candidate) => candidate.name === name)
  if (entry !== undefined) return { load: entry.load, words: rest }
  const group = GROUPS.find((candidate) => candidate.name === name)
  if (group === undefined) return undefined
  const word = rest[0] ?? ''
  const [target, ...words] = Object.hasOwn(group.members, word) ? (group.members[word] ?? []) : []
  const member = ENTRIES.find((candidate) => candidate.name === target)
  return member === undefined ? { group } : { load: member.load, words: [...words, ...rest.slice(1)] }
}

async function groupWithoutCommand(group: Group, rest: readonly string[]): Promise<number> {
  const word = rest.find((candidate) => !candidate.startsWith('-'))
  if (word !== undefined) throw await unknownCommand(word, group)
  return printHelp([group.name])
}

/** `tscrun help run`, `tscrun help image ls`, `tscrun run --help`. */
async function printHelp(words: readonly string[]): Promise<number> {
  const [help, { isTerminalFd }] = await Promise.all([import('./help.ts'), import('./output/terminal.ts')])
  // Off a terminal docker's 80 columns.
  const columns = (await isTerminalFd(1)) ? process.stdout.columns || 80 : 80
  const [name, ...rest] = words
  if (name === undefined) {
    print(help.topHelp(columns))
    return 0
  }
  const target = resolve(name, rest)
  if (target === undefined) throw await unknownCommand(name)
  print('group' in target ? help.groupHelp(target.group, columns) : help.commandHelp(await target.load(), columns))
  return 0
}

async function unknownCommand(word: string, group?: Group): Promise<TscrunError> {
  const { isUnsupportedCommand } = await import('./flags/unsupported.ts')
  const typed = group === undefined ? word : `${group.name} ${word}`
  const where = group === undefined ? 'tscrun --help' : `tscrun ${group.name} --help`
  if (isUnsupportedCommand(word)) {
    return new TscrunError('USAGE', `${typed}: not supported yet`, { subject: typed, hint: `${where} lists what is` })
  }
  const { closest } = await import('../model/closest.ts')
  const names = group === undefined ? [...ENTRIES, ...GROUPS].map(({ name }) => name) : Object.keys(group.members)
  const near = closest(word, names)
  return new TscrunError('USAGE', `unknown command ${JSON.stringify(typed)}`, {
    subject: typed,
    hint: near === undefined ? `see ${where}` : `did you mean ${group === undefined ? near : `${group.name} ${near}`}?`,
  })
}
