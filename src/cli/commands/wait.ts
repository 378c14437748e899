import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'

export const waitCommand: Command = {
  name: 'wait',
  usage: 'CONTAINER [CONTAINER...]',
  description: 'Wait until containers have ended, and print their exit codes',
  flags: PLAIN_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ operands, globals, engine }) {
    const opened = await engine()
    const waitForOne = async (name: string): Promise<void> => {
      const { exitCode } = await opened.wait(name)
      print(`${exitCode}\n`)
    }
    return forEachOperand(operands, waitForOne, globals.debug)
  },
}
