import { writeFileSync } from 'node:fs'
import type { Command } from '../command.ts'
import { warningLine } from '../errors.ts'
import { COMMIT_FLAGS } from '../flags/files.ts'
import { print, printError } from '../output/print.ts'
import { withSignals } from '../signals.ts'

export const commitCommand: Command = {
  name: 'commit',
  usage: 'CONTAINER [IMAGE]',
  description: 'Make an image of a container and its changes',
  flags: COMMIT_FLAGS,
  operands: { min: 1, max: 2, noun: 'container' },
  async run({ flags, operands: [container = '', image], globals, engine }) {
    const files = await (await engine()).files()
    const [author, message, iidfile] = [flags.text('author'), flags.text('message'), flags.text('iidfile') ?? '']
    const quiet = flags.bool('quiet') || globals.quietWarnings
    const id = await withSignals(({ aborted }) =>
      files.commit(container, image, {
        ...(author === undefined ? {} : { author }),
        ...(message === undefined ? {} : { message }),
        changes: flags.list('change'),
        pause: flags.bool('pause', true),
        squash: flags.bool('squash'),
        ...(quiet ? {} : { onWarning: (line: string) => printError(warningLine(line)) }),
        signal: aborted,
      }),
    )
    if (iidfile !== '') writeFileSync(iidfile, id)
    print(`${id}\n`)
    return 0
  },
}
