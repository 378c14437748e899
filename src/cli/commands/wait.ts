import { namedContainers } from '../choice.ts'
import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { WAIT_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'

export const waitCommand: Command = {
  name: 'wait',
  usage: '[CONTAINER...]',
  description: 'Wait until containers have ended, and print their exit codes',
  flags: WAIT_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const named = await namedContainers(engine, { verb: 'wait', flags, operands })
    const opened = await engine()
    const waitForOne = async (name: string): Promise<void> => {
      const { exitCode } = await opened.wait(name)
      print(`${exitCode}\n`)
    }
    return forEachOperand(named, waitForOne, globals.debug)
  },
}
