import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { KILL_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'
import { parseSignal } from '../parse/words.ts'

export const killCommand: Command = {
  name: 'kill',
  usage: 'CONTAINER [CONTAINER...]',
  description: 'Send a signal (default SIGKILL) to the first process of containers',
  flags: KILL_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const opened = await engine()
    const signal = parseSignal('signal', flags.text('signal') ?? 'SIGKILL')
    const killOne = async (name: string): Promise<void> => {
      await opened.kill(name, signal)
      print(`${name}\n`)
    }
    return forEachOperand(operands, killOne, globals.debug)
  },
}
