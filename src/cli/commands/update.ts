import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { UPDATE_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'
import { parseUpdate } from '../parse/update.ts'

export const updateCommand: Command = {
  name: 'update',
  usage: 'CONTAINER [CONTAINER...]',
  description: 'Change limits and the restart policy of containers, whether they run or not',
  flags: UPDATE_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const options = parseUpdate(flags)
    if (Object.keys(options).length === 0) {
      throw new TscrunError('USAGE', 'update: nothing to change', {
        subject: 'update',
        hint: 'see tscrun update --help',
      })
    }
    const opened = await engine()
    const updateOne = async (name: string): Promise<void> => {
      await opened.update(name, options)
      print(`${name}\n`)
    }
    return forEachOperand(operands, updateOne, globals.debug)
  },
}
