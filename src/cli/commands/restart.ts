import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { RESTART_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'
import { stopOptions } from '../parse/stop.ts'

export const restartCommand: Command = {
  name: 'restart',
  usage: 'CONTAINER [CONTAINER...]',
  description: 'Stop containers that run, and start them again',
  flags: RESTART_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const opened = await engine()
    const options = stopOptions(flags)
    const restartOne = async (name: string): Promise<void> => {
      await opened.restart(name, options)
      print(`${name}\n`)
    }
    return forEachOperand(operands, restartOne, globals.debug)
  },
}
