import { chooseContainers, forEachContainer } from '../choice.ts'
import type { Command } from '../command.ts'
import { KILL_FLAGS } from '../flags/live.ts'
import { parseSignal } from '../parse/words.ts'

export const killCommand: Command = {
  name: 'kill',
  usage: '[CONTAINER...]',
  description: 'Send a signal (default SIGKILL) to the first process of containers',
  flags: KILL_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const signal = parseSignal('signal', flags.text('signal') ?? 'SIGKILL')
    const chosen = await chooseContainers(engine, { verb: 'kill', flags, operands }, [
      'running',
      'paused',
      'restarting',
    ])
    const opened = await engine()
    return forEachContainer(chosen, (name) => opened.kill(name, signal), {
      ignore: flags.bool('ignore'),
      debug: globals.debug,
    })
  },
}
