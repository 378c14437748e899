import type { Flag } from '../flags/flag.ts'
import { HELP_FLAG } from '../flags/flag.ts'
import type { RuntimeCommand } from './command.ts'
import { RUNTIME_FLAGS } from './flags.ts'

/** `tscrun-runtime --help`. */
export function topHelp(commands: readonly string[]): string {
  return `Usage:  tscrun-runtime [OPTIONS] COMMAND

An OCI runtime: runs the container that a bundle's config.json describes

Commands:
${commands.map((name) => `  ${name}\n`).join('')}
Options:
${rows(RUNTIME_FLAGS)}
Run 'tscrun-runtime COMMAND --help' for more information on a command.
`
}

/** `tscrun-runtime create --help`. */
export function commandHelp(command: RuntimeCommand): string {
  return `Usage:  tscrun-runtime ${command.name} [OPTIONS] ${command.usage}

${command.description}

Options:
${rows([...command.flags, HELP_FLAG])}`
}

function rows(flags: readonly Flag[]): string {
  const terms = flags.map(({ short, name, value }) => {
    const letter = short === undefined ? '    ' : `-${short}, `
    return `${letter}--${name}${value === undefined ? '' : ` ${value}`}`
  })
  const width = Math.max(...terms.map((term) => term.length)) + 3
  return flags.map(({ help }, index) => `  ${(terms[index] ?? '').padEnd(width)}${help}\n`).join('')
}
