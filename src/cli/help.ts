import type { Command } from './command.ts'
import { type Flag, GLOBAL_FLAGS, TOP_FLAGS } from './flags/flag.ts'
import { GROUPS, type Group } from './groups.ts'
import { ENTRIES, type Entry } from './registry.ts'

const LARGEST_WIDTH = 120
/** Narrower than this nothing is wrapped: a column of single words helps nobody. */
const SMALLEST_TEXT = 20

/** `tscrun --help`. `columns`: width of the terminal. */
export function topHelp(columns: number): string {
  const groups: [string, readonly (readonly [string, string])[]][] = [
    ['Common Commands', entryRows(ENTRIES.filter(({ group }) => group === 'Common Commands'))],
    ['Management Commands', GROUPS.map(({ name, summary }) => [name, summary] as const)],
    ['Commands', entryRows(ENTRIES.filter(({ group }) => group === 'Commands'))],
  ]
  const commands = groups.map(([heading, rows]) => section(heading, rows, columns)).join('')
  return `Usage:  tscrun [OPTIONS] COMMAND

Linux containers without a daemon
${commands}${section('Global Options', flagRows(TOP_FLAGS), columns)}
Run 'tscrun COMMAND --help' for more information on a command.
`
}

/** `tscrun image --help`. */
export function groupHelp(group: Group, columns: number): string {
  const summaries = new Map(ENTRIES.map(({ name, summary }) => [name, summary]))
  const rows = Object.entries(group.members).map(([word, [command]]) => [word, summaries.get(command) ?? ''] as const)
  return `Usage:  tscrun ${group.name} COMMAND

${group.summary}
${section('Commands', rows, columns)}
Run 'tscrun ${group.name} COMMAND --help' for more information on a command.
`
}

/** `tscrun run --help`: made from the command's table of flags. */
export function commandHelp(command: Command, columns: number): string {
  const headings = [...new Set(command.flags.map(headingOf))]
  const width = Math.max(...command.flags.map((flag) => flagTerm(flag).length))
  const sections = headings.map((heading) =>
    section(heading, flagRows(command.flags.filter((flag) => headingOf(flag) === heading)), columns, width),
  )
  const aliases = GROUPS.flatMap(({ name, members }) =>
    Object.entries(members).flatMap(([word, [target]]) => (target === command.name ? [`tscrun ${name} ${word}`] : [])),
  ).filter((alias) => alias !== `tscrun ${command.name}`)
  const aliasText = aliases.length === 0 ? '' : `\nAliases:\n  ${[`tscrun ${command.name}`, ...aliases].join(', ')}\n`
  return `Usage:  tscrun ${command.name} ${`[OPTIONS] ${command.usage}`.trim()}

${command.description}
${aliasText}${sections.join('')}${section('Global Options', flagRows(GLOBAL_FLAGS), columns, width)}`
}

function entryRows(entries: readonly Entry[]): (readonly [string, string])[] {
  return entries.map(({ name, summary }) => [name, summary])
}

function headingOf(flag: Flag): string {
  return flag.group ?? 'Options'
}

function flagRows(flags: readonly Flag[]): (readonly [string, string])[] {
  return flags.map((flag) => [flagTerm(flag), flag.help])
}

/** `-m, --memory bytes`, `    --rm`. */
function flagTerm(flag: Flag): string {
  const short = flag.short === undefined ? '    ' : `-${flag.short}, `
  const value = flag.value === undefined ? '' : ` ${flag.value}`
  return `${short}--${flag.name}${value}`
}

/** A heading and its rows in two columns, the second wrapped to the terminal. */
function section(heading: string, rows: readonly (readonly [string, string])[], columns: number, minWidth = 0): string {
  const width = Math.max(minWidth, ...rows.map(([term]) => term.length)) + 3
  const room = Math.min(columns, LARGEST_WIDTH) - width - 2
  const lines = rows.map(([term, text]) => {
    const [first = '', ...more] = room < SMALLEST_TEXT ? [text] : wrap(text, room)
    return [`  ${term.padEnd(width)}${first}`, ...more.map((line) => ' '.repeat(width + 2) + line)].join('\n')
  })
  return `\n${heading}:\n${lines.join('\n')}\n`
}

/** Lines of at most `room` characters, broken at blanks. */
function wrap(text: string, room: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
