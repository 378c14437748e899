import type { Command } from '../command.ts'
import { DIFF_FLAGS } from '../flags/files.ts'
import { formatListing } from '../output/format.ts'
import { print } from '../output/print.ts'

const HEADINGS = { Kind: 'KIND', Path: 'PATH' } as const

export const diffCommand: Command = {
  name: 'diff',
  usage: 'CONTAINER',
  description: 'Show what a container has otherwise than its image: A added, C changed, D deleted',
  flags: DIFF_FLAGS,
  operands: { min: 1, max: 1, noun: 'container' },
  async run({ flags, operands: [container = ''], engine }) {
    const changes = await (await (await engine()).files()).diff(container)
    const format = flags.text('format') ?? ''
    if (format === 'json') {
      const of = (letter: string): readonly string[] =>
        changes.flatMap(({ kind, path }) => (kind === letter ? [path] : []))
      print(`${JSON.stringify({ changed: of('C'), added: of('A'), deleted: of('D') })}\n`)
      return 0
    }
    const rows = changes.map(({ kind, path }) => ({ Kind: kind, Path: path }))
    const listing = { headings: HEADINGS, columns: ['Kind', 'Path'] as const, rows }
    print(await formatListing(listing, format === '' ? '{{.Kind}} {{.Path}}' : format))
    return 0
  },
}
