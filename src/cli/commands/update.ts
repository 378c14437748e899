import { TscrunError } from '../../model/errors.ts'
import { forEachContainer, namedContainers } from '../choice.ts'
import type { Command } from '../command.ts'
import { UPDATE_FLAGS } from '../flags/live.ts'
import { parseUpdate } from '../parse/update.ts'

export const updateCommand: Command = {
  name: 'update',
  usage: '[CONTAINER...]',
  description: 'Change limits and the restart policy of containers, whether they run or not',
  flags: UPDATE_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const options = parseUpdate(flags)
    if (Object.keys(options).length === 0) {
      throw new TscrunError('USAGE', 'update: nothing to change', {
        subject: 'update',
        hint: 'see tscrun update --help',
      })
    }
    const named = await namedContainers(engine, { verb: 'update', flags, operands })
    const opened = await engine()
    return forEachContainer(named, (name) => opened.update(name, options), { ignore: false, debug: globals.debug })
  },
}
