import { TscrunError } from '../../model/errors.ts'
import { attachHere } from '../attached.ts'
import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { START_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'
import { parseDetachKeys } from '../parse/times.ts'
import { DEFAULT_DETACH_KEYS } from './attach.ts'

export const startCommand: Command = {
  name: 'start',
  usage: 'CONTAINER [CONTAINER...]',
  description: 'Start containers that were made or have stopped, with what they have written',
  flags: START_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const opened = await engine()
    const [first = ''] = operands
    if (flags.bool('attach') || flags.bool('interactive')) {
      if (operands.length > 1) {
        throw new TscrunError('USAGE', 'start --attach: one container at a time', { subject: '--attach' })
      }
      return attachHere((options) => opened.startAttached(first, options), {
        stdin: flags.bool('interactive'),
        detachKeys: parseDetachKeys(flags.text('detach-keys') ?? DEFAULT_DETACH_KEYS),
        signals: true,
      })
    }
    const startOne = async (name: string): Promise<void> => {
      await opened.start(name)
      print(`${name}\n`)
    }
    return forEachOperand(operands, startOne, globals.debug)
  },
}
