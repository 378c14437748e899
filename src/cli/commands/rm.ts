import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { RM_FLAGS } from '../flags/store.ts'
import { print } from '../output/print.ts'

export const rmCommand: Command = {
  name: 'rm',
  usage: 'CONTAINER [CONTAINER...]',
  description: 'Remove containers, by name or id',
  flags: RM_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const opened = await engine()
    const removeOne = async (name: string): Promise<void> => {
      await opened.remove(name, { force: flags.bool('force'), volumes: flags.bool('volumes') })
      print(`${name}\n`)
    }
    return forEachOperand(operands, removeOne, globals.debug)
  },
}
