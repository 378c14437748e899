import type { Command } from '../command.ts'
import { IMAGES_FLAGS } from '../flags/store.ts'
import { formatListing } from '../output/format.ts'
import { IMAGE_HEADINGS, imageMatches, imageRow } from '../output/images.ts'
import { print } from '../output/print.ts'
import { parseImageFilter } from '../parse/image-filter.ts'
import type { ImageSummary } from '../../engine/api.ts'
import { badFlag } from '../errors.ts'

export const imagesCommand: Command = {
  name: 'images',
  usage: '[REPOSITORY[:TAG]]',
  description: 'List images',
  flags: IMAGES_FLAGS,
  operands: { min: 0, max: 1, noun: 'repository' },
  async run({ flags, operands, engine }) {
    const [typed] = operands
    const order = orderOf(flags.text('sort'))
    const filter = parseImageFilter(flags.list('filter'), Date.now())
    const all = (await (await engine()).images(filter)).toSorted(order)
    const named =
      typed === undefined
        ? all.filter(({ repository }) => repository !== undefined || flags.bool('all') || filter.dangling === true)
        : all
    const chosen = typed === undefined ? named : named.filter((image) => imageMatches(image, typed))
    const rows = chosen.map((image) => imageRow(image, { nowMs: Date.now(), noTrunc: flags.bool('no-trunc') }))
    if (flags.bool('quiet')) {
      // One image may have several names.
      print([...new Set(rows.map(({ ID }) => `${ID}\n`))].join(''))
      return 0
    }
    const columns = [
      'Repository',
      'Tag',
      ...(flags.bool('digests') ? (['Digest'] as const) : []),
      'ID',
      'CreatedSince',
      'Size',
    ] as const
    print(
      await formatListing(
        { headings: IMAGE_HEADINGS, columns, rows, bare: flags.bool('noheading') },
        flags.text('format'),
      ),
    )
    return 0
  },
}

type Order = (a: ImageSummary, b: ImageSummary) => number

const text = (a = '', b = ''): number => (a < b ? -1 : a > b ? 1 : 0)
const ORDERS: Readonly<Record<string, Order>> = {
  // As they come: the newest first.
  created: () => 0,
  id: (a, b) => text(a.id, b.id),
  repository: (a, b) => text(a.repository, b.repository),
  size: (a, b) => b.size - a.size,
  tag: (a, b) => text(a.tag, b.tag),
}

function orderOf(field = 'created'): Order {
  const order = Object.hasOwn(ORDERS, field) ? ORDERS[field] : undefined
  if (order === undefined) throw badFlag('sort', field, 'unknown field', Object.keys(ORDERS).join(', '))
  return order
}
