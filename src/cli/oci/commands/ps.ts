import { processIds, processTable } from '../../../runtime/ps.ts'
import { badFlag } from '../../errors.ts'
import { print } from '../../output/print.ts'
import type { RuntimeCommand } from '../command.ts'

export const ps: RuntimeCommand = {
  name: 'ps',
  usage: 'ID [PS-OPTION...]',
  description: 'Print the processes of a container, by their pids on the host',
  flags: [{ name: 'format', short: 'f', kind: 'string', value: 'format', help: 'table (default) or json' }],
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  passThrough: true,
  async run({ flags, operands, globals }) {
    const [id = '', ...words] = operands
    // Callers put the flag behind the id, too; everything else there is ps(1)'s.
    const { format, options } = ownFlag(words, flags.text('format') ?? 'table')
    if (format === 'json') print(`${JSON.stringify(processIds(globals.root, id))}\n`)
    else if (format === 'table') print(processTable(globals.root, id, options))
    else throw badFlag('format', format, 'not table or json')
    return 0
  },
}

function ownFlag(words: readonly string[], before: string): { format: string; options: readonly string[] } {
  const [first = '', second] = words
  if (first === '--format' && second !== undefined) return { format: second, options: words.slice(2) }
  const [, value] = /^--format=(.*)$/.exec(first) ?? []
  return value === undefined ? { format: before, options: words } : { format: value, options: words.slice(1) }
}
