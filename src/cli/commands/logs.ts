import type { LogLine } from '../../engine/live/logs.ts'
import { TscrunError } from '../../model/errors.ts'
import { latestOrFirst } from '../choice.ts'
import type { Command } from '../command.ts'
import { LOGS_FLAGS } from '../flags/live.ts'
import { printPatiently } from '../output/print.ts'
import { parseInteger } from '../parse/numbers.ts'
import { optionalMoment } from '../parse/times.ts'
import { withSignals } from '../signals.ts'

export const logsCommand: Command = {
  name: 'logs',
  usage: 'CONTAINER',
  description: 'Show what a detached container wrote: its output on standard output, its errors on standard error',
  flags: LOGS_FLAGS,
  operands: { min: 0, max: 1, noun: 'container' },
  async run({ flags, operands, engine }) {
    const [container] = await latestOrFirst(engine, { verb: 'logs', flags, operands })
    const opened = await engine()
    const tail = flags.text('tail') ?? 'all'
    const now = Date.now()
    const [sinceMs, untilMs] = [optionalMoment(flags, 'since', now), optionalMoment(flags, 'until', now)]
    const timestamps = flags.bool('timestamps')
    return withSignals(async ({ aborted }) => {
      const batches = opened.logs(container, {
        follow: flags.bool('follow'),
        signal: aborted,
        ...(tail === 'all' || tail === '-1' ? {} : { tail: parseInteger('tail', tail, { min: 0, max: 2 ** 31 }) }),
        ...(sinceMs === undefined ? {} : { sinceMs }),
        ...(untilMs === undefined ? {} : { untilMs }),
      })
      const print = printer(timestamps)
      for await (const lines of batches) await print(lines)
      if (aborted.aborted) throw new TscrunError('ABORTED', 'logs: ended by a signal')
      return 0
    })
  },
}

/** Lines of one stream that follow each other are written together. */
function printer(timestamps: boolean): (lines: readonly LogLine[]) => Promise<void> {
  // A long line comes in pieces, with what the other stream wrote meanwhile between them.
  const begins = { stdout: true, stderr: true }
  return async (lines) => {
    let pieces: Uint8Array[] = []
    for (const [index, { stream, time, bytes }] of lines.entries()) {
      if (timestamps && begins[stream]) pieces.push(Buffer.from(`${time} `))
      pieces.push(bytes)
      begins[stream] = bytes.at(-1) === 0x0a
      if (lines[index + 1]?.stream === stream) continue
      await printPatiently(stream === 'stderr' ? 2 : 1, Buffer.concat(pieces))
      pieces = []
    }
  }
}
