import type { Command } from '../command.ts'
import { IMAGES_FLAGS } from '../flags/store.ts'
import { formatListing } from '../output/format.ts'
import { IMAGE_HEADINGS, imageMatches, imageRow } from '../output/images.ts'
import { print } from '../output/print.ts'

export const imagesCommand: Command = {
  name: 'images',
  usage: '[REPOSITORY[:TAG]]',
  description: 'List images',
  flags: IMAGES_FLAGS,
  operands: { min: 0, max: 1, noun: 'repository' },
  async run({ flags, operands, engine }) {
    const [typed] = operands
    const all = await (await engine()).images()
    const named =
      typed === undefined ? all.filter(({ repository }) => repository !== undefined || flags.bool('all')) : all
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
    print(await formatListing({ headings: IMAGE_HEADINGS, columns, rows }, flags.text('format')))
    return 0
  },
}
