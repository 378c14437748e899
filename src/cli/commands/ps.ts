import type { ContainerFilter, ContainerSummary } from '../../engine/api.ts'
import type { Command, FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { PS_FLAGS } from '../flags/store.ts'
import { CONTAINER_HEADINGS, containerRow, labelHeading } from '../output/containers.ts'
import { formatListing } from '../output/format.ts'
import { print } from '../output/print.ts'
import { parseContainerFilter } from '../parse/filter.ts'
import { parseInteger } from '../parse/numbers.ts'

const COLUMNS = ['ID', 'Image', 'Command', 'RunningFor', 'Status', 'Ports', 'Names'] as const

export const psCommand: Command = {
  name: 'ps',
  usage: '',
  description: 'List containers',
  flags: PS_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const filter: ContainerFilter = parseContainerFilter(flags.list('filter'))
    const last = lastOf(flags)
    // Asking for a state, or for an exit code, asks for containers that do not run too, as in docker.
    const all = flags.bool('all') || filter.status !== undefined || filter.exited !== undefined
    const order = orderOf(flags.text('sort') ?? 'created')
    const format = flags.text('format')
    const size = flags.bool('size') || /\.Size\b/.test(format ?? '')
    const found = await (await engine()).ps({ all, filter, size, ...(last === undefined ? {} : { last }) })
    const rows = found
      .toSorted(order)
      .map((container) => containerRow(container, { nowMs: Date.now(), noTrunc: flags.bool('no-trunc') }))
    if (flags.bool('quiet')) {
      print(rows.map(({ ID }) => `${ID}\n`).join(''))
      return 0
    }
    const columns = [...COLUMNS, ...(flags.bool('size') ? (['Size'] as const) : [])]
    const headings = { ...CONTAINER_HEADINGS, Label: labelHeading }
    print(await formatListing({ headings, columns, rows, bare: flags.bool('noheading') }, format))
    return 0
  },
}

/** `--last 3`, `--latest`; -1 is docker's word for none. */
function lastOf(flags: FlagValues): number | undefined {
  const text = flags.text('last')
  if (text !== undefined && text !== '-1') return parseInteger('last', text, { min: 1, max: 2 ** 31 })
  return flags.bool('latest') ? 1 : undefined
}

type Order = (a: ContainerSummary, b: ContainerSummary) => number

function orderOf(field: string): Order {
  const by =
    (text: (container: ContainerSummary) => string): Order =>
    (a, b) =>
      text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : 0
  const newest: Order = (a, b) => b.createdMs - a.createdMs
  const orders: Readonly<Record<string, Order>> = {
    created: newest,
    runningfor: newest,
    id: by(({ id }) => id),
    image: by(({ image }) => image),
    names: by(({ name }) => name),
    command: by(({ command }) => command.join(' ')),
    status: by(({ status }) => status),
    size: (a, b) => (b.size?.writable ?? 0) - (a.size?.writable ?? 0),
  }
  const order = orders[field.toLowerCase()]
  if (order === undefined) throw badFlag('sort', field, 'unknown field', Object.keys(orders).join(', '))
  return order
}
