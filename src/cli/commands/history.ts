import type { Command } from '../command.ts'
import { HISTORY_FLAGS } from '../flags/archives.ts'
import { formatListing } from '../output/format.ts'
import { formatSize } from '../output/images.ts'
import { print } from '../output/print.ts'
import { formatAgo } from '../output/relative-time.ts'

const HEADINGS = {
  ID: 'IMAGE',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  CreatedBy: 'CREATED BY',
  Size: 'SIZE',
  Comment: 'COMMENT',
} as const
const COLUMNS = ['ID', 'CreatedSince', 'CreatedBy', 'Size', 'Comment'] as const
/** docker cuts a command here. */
const MAX_COMMAND = 45

export const historyCommand: Command = {
  name: 'history',
  usage: 'IMAGE',
  description: 'Show how an image came to be, the newest step first',
  flags: HISTORY_FLAGS,
  operands: { min: 1, max: 1, noun: 'image' },
  async run({ flags, operands: [image = ''], engine }) {
    const lines = await (await (await engine()).archives()).history(image)
    const whole = flags.bool('no-trunc')
    const human = flags.bool('human', true)
    const rows = lines.map(({ id, createdMs, createdBy, comment, size }) => {
      const at = createdMs === undefined ? '' : new Date(createdMs).toISOString().replace(/\.\d+Z$/, 'Z')
      const since = createdMs === undefined ? '' : human ? formatAgo(createdMs, Date.now()) : at
      return {
        ID: id === undefined ? '<missing>' : whole ? id : id.replace(/^sha256:/, '').slice(0, 12),
        CreatedSince: since,
        CreatedAt: at,
        CreatedBy: whole || createdBy.length <= MAX_COMMAND ? createdBy : `${createdBy.slice(0, MAX_COMMAND - 1)}…`,
        Size: human ? formatSize(size) : `${size}`,
        Comment: comment,
      }
    })
    if (flags.bool('quiet')) print(rows.map(({ ID }) => `${ID}\n`).join(''))
    else print(await formatListing({ headings: HEADINGS, columns: COLUMNS, rows }, flags.text('format')))
    return 0
  },
}
