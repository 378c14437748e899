import { containerStats, followEvents, type RuntimeEvent } from '../../../runtime/events.ts'
import { badFlag } from '../../errors.ts'
import { print } from '../../output/print.ts'
import { withSignals } from '../../signals.ts'
import type { RuntimeCommand } from '../command.ts'

export const events: RuntimeCommand = {
  name: 'events',
  usage: 'ID',
  description: 'Print statistics and kills for want of memory, one JSON object a line, until the container ends',
  flags: [
    { name: 'stats', kind: 'bool', help: 'Print the statistics once' },
    {
      name: 'interval',
      kind: 'string',
      value: 'time',
      help: 'Between two statistics, such as 500ms or 1m (default 5s)',
    },
  ],
  operands: { min: 1, max: 1 },
  async run({ flags, operands, globals }) {
    const id = operands[0] ?? ''
    if (flags.bool('stats')) {
      printEvent(containerStats(globals.root, id))
      return 0
    }
    const intervalMs = duration(flags.text('interval') ?? '5s')
    await withSignals(({ aborted }) =>
      followEvents(globals.root, id, { intervalMs, onEvent: printEvent, signal: aborted }),
    )
    return 0
  },
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Go's notation: `1.5s`, `1m30s`. */
function duration(text: string): number {
  const parts = [...text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g)]
  const total = parts.reduce((sum, [, number, unit = '']) => sum + Number(number) * (UNITS[unit] ?? 0), 0)
  if (parts.map(([part]) => part).join('') === text && total >= 1) return total
  throw badFlag('interval', text, 'not a time such as 500ms or 5s')
}

/** Numbers of 64 bits as they are, which JSON may hold and JSON.stringify has no way to write. */
function printEvent(event: RuntimeEvent): void {
  const marked = JSON.stringify(event, (_, value: unknown) => (typeof value === 'bigint' ? `bigint:${value}` : value))
  print(`${marked.replaceAll(/"bigint:([0-9]+)"/g, '$1')}\n`)
}
