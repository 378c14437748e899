import type { ContainerStats } from '../../engine/show/stats.ts'
import type { Command, FlagValues } from '../command.ts'
import { STATS_FLAGS } from '../flags/live.ts'
import { formatListing } from '../output/format.ts'
import { createLiveTable } from '../output/live-table.ts'
import { print } from '../output/print.ts'
import { STATS_COLUMNS, STATS_HEADINGS, statsRow } from '../output/stats.ts'
import { isTerminal } from '../output/terminal.ts'
import { parseInteger } from '../parse/numbers.ts'
import { withSignals } from '../signals.ts'

export const statsCommand: Command = {
  name: 'stats',
  usage: '[CONTAINER...]',
  description: 'Show what containers use: those that are named, or all that run',
  flags: STATS_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, engine }) {
    const opened = await engine()
    const seconds = flags.text('interval')
    const intervalMs = seconds === undefined ? 1000 : parseInteger('interval', seconds, { min: 1, max: 86_400 }) * 1000
    const show = await printer(flags)
    return withSignals(async ({ aborted, takeOver }) => {
      const stop = new AbortController()
      takeOver(() => stop.abort())
      const signal = AbortSignal.any([aborted, stop.signal])
      for await (const stats of opened.stats(operands, { all: flags.bool('all'), intervalMs, signal })) {
        await show(stats)
        if (flags.bool('no-stream')) break
      }
      return stop.signal.aborted ? 130 : 0
    })
  },
}

/** On a terminal the table stays where it is; elsewhere each sample is printed behind the one before. */
async function printer(flags: FlagValues): Promise<(stats: readonly ContainerStats[]) => Promise<void>> {
  const format = flags.text('format')
  const text = (stats: readonly ContainerStats[]): Promise<string> => {
    const rows = stats.map((one) => statsRow(one, flags.bool('no-trunc')))
    return formatListing({ headings: STATS_HEADINGS, columns: STATS_COLUMNS, rows }, format)
  }
  const redraws =
    !flags.bool('no-stream') &&
    !flags.bool('no-reset') &&
    (format === undefined || format === '' || format.startsWith('table')) &&
    (await isTerminal(1, process.env))
  if (!redraws) return async (stats) => print(await text(stats))
  const size = (): { columns: number; rows: number } => ({
    columns: process.stdout.columns || 80,
    rows: process.stdout.rows || 24,
  })
  const table = createLiveTable({ write: print, size })
  return async (stats) => table.draw(await text(stats))
}
