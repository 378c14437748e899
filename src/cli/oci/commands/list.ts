import { listContainers } from '../../../runtime/list.ts'
import type { StateDocument } from '../../../runtime/state.ts'
import { badFlag } from '../../errors.ts'
import { print } from '../../output/print.ts'
import type { RuntimeCommand } from '../command.ts'

export const list: RuntimeCommand = {
  name: 'list',
  usage: '',
  description: 'Print the containers of this root',
  flags: [
    { name: 'format', short: 'f', kind: 'string', value: 'format', help: 'table (default) or json' },
    { name: 'quiet', short: 'q', kind: 'bool', help: 'Print ids alone' },
  ],
  operands: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const format = flags.text('format') ?? 'table'
    if (format !== 'table' && format !== 'json') throw badFlag('format', format, 'not table or json')
    const containers = listContainers(globals.root)
    if (flags.bool('quiet')) print(containers.map(({ id }) => `${id}\n`).join(''))
    else if (format === 'json') print(`${JSON.stringify(containers)}\n`)
    else print(table(containers))
    return 0
  },
}

function table(containers: readonly StateDocument[]): string {
  const rows = containers.map(({ id, pid, status, bundle, created, owner }) => [
    id,
    String(pid),
    status,
    bundle,
    created,
    owner,
  ])
  const all = [['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'], ...rows]
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd((widths[column] ?? 0) + 3))).join('')
  return all.map((row) => `${line(row)}\n`).join('')
}
