import type { Command } from '../command.ts'
import { EVENTS_FLAGS } from '../flags/live.ts'
import { eventFields, eventJson, eventLine } from '../output/events.ts'
import { compileFormat } from '../output/format.ts'
import { print } from '../output/print.ts'
import { parseEventFilter } from '../parse/filter.ts'
import { optionalMoment } from '../parse/times.ts'
import { withSignals } from '../signals.ts'

export const eventsCommand: Command = {
  name: 'events',
  usage: '',
  description: 'Show what happens to containers and images, as it happens',
  flags: EVENTS_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const now = Date.now()
    const [sinceMs, untilMs] = [optionalMoment(flags, 'since', now), optionalMoment(flags, 'until', now)]
    const filter = parseEventFilter(flags.list('filter'))
    const show = await eventPrinter(flags.text('format') ?? '')
    const opened = await engine()
    return withSignals(async ({ aborted, takeOver }) => {
      const stop = new AbortController()
      // Ctrl-C is how one ends this: no error.
      takeOver(() => stop.abort())
      const events = opened.events({
        filter,
        follow: flags.bool('stream', true),
        signal: AbortSignal.any([aborted, stop.signal]),
        ...(sinceMs === undefined ? {} : { sinceMs }),
        ...(untilMs === undefined ? {} : { untilMs }),
      })
      for await (const event of events) print(`${show(event)}\n`)
      return stop.signal.aborted ? 130 : 0
    })
  },
}

async function eventPrinter(format: string): Promise<(event: Parameters<typeof eventLine>[0]) => string> {
  if (format === '') return eventLine
  if (format === 'json' || /^\{\{\s*json \.\s*\}\}$/.test(format)) return eventJson
  const render = await compileFormat(format)
  return (event) => render(eventFields(event))
}
