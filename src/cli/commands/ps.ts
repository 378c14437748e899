import type { ContainerFilter } from '../../engine/api.ts'
import type { Command } from '../command.ts'
import { PS_FLAGS } from '../flags/store.ts'
import { CONTAINER_HEADINGS, containerRow } from '../output/containers.ts'
import { formatListing } from '../output/format.ts'
import { print } from '../output/print.ts'
import { parseContainerFilter } from '../parse/filter.ts'

const COLUMNS = ['ID', 'Image', 'Command', 'RunningFor', 'Status', 'Names'] as const

export const psCommand: Command = {
  name: 'ps',
  usage: '',
  description: 'List containers',
  flags: PS_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const filter: ContainerFilter = parseContainerFilter(flags.list('filter'))
    // Asking for a state, or for an exit code, asks for containers that do not run too, as in docker.
    const all = flags.bool('all') || filter.status !== undefined || filter.exited !== undefined
    const containers = await (await engine()).ps({ all, filter })
    const rows = containers.map((container) =>
      containerRow(container, { nowMs: Date.now(), noTrunc: flags.bool('no-trunc') }),
    )
    if (flags.bool('quiet')) print(rows.map(({ ID }) => `${ID}\n`).join(''))
    else print(await formatListing({ headings: CONTAINER_HEADINGS, columns: COLUMNS, rows }, flags.text('format')))
    return 0
  },
}
