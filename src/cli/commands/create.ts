import type { Command } from '../command.ts'
import { currentDirectory, readUserFile } from '../caller.ts'
import { RUN_FLAGS } from '../flags/run.ts'
import { madeBy } from '../made-by.ts'
import { print } from '../output/print.ts'
import { parseRun } from '../parse/run.ts'
import { createReporter } from '../reporter.ts'
import { withSignals } from '../signals.ts'

export const createCommand: Command = {
  name: 'create',
  usage: 'IMAGE [COMMAND] [ARG...]',
  description: 'Make a container as `run` does, without starting it, and print its id',
  flags: RUN_FLAGS.filter(({ name }) => !['detach', 'detach-keys', 'dry-run', 'monitor-pidfile'].includes(name)),
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'image' },
  passThrough: true,
  async run({ flags, operands, globals, engine }) {
    const caller = { env: process.env, cwd: currentDirectory(), readFile: readUserFile }
    const { image, args, options, notes, detached } = parseRun(flags, operands, caller, 'create')
    const { onWarning, onProgress, finish } = createReporter(globals, { quiet: flags.bool('quiet') })
    for (const note of notes) onWarning(note)
    const cidfile = flags.text('cidfile') ?? ''
    const opened = await engine()
    try {
      return await withSignals(async ({ aborted }) => {
        const made = madeBy(process.argv.slice(2), operands, caller.cwd)
        const given = { ...options, ...detached, madeBy: made, ...(cidfile === '' ? {} : { cidfile }) }
        print(`${await opened.create(image, args, { ...given, onWarning, onProgress, signal: aborted })}\n`)
        return 0
      })
    } finally {
      await finish()
    }
  },
}
