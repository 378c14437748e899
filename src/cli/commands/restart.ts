import { chooseContainers, forEachContainer } from '../choice.ts'
import type { Command } from '../command.ts'
import { RESTART_FLAGS } from '../flags/live.ts'
import { stopOptions } from '../parse/stop.ts'

const REST = ['created', 'stopped'] as const

export const restartCommand: Command = {
  name: 'restart',
  usage: '[CONTAINER...]',
  description: 'Stop containers that run, and start them again',
  flags: RESTART_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const options = stopOptions(flags)
    const chosen = await chooseContainers(engine, { verb: 'restart', flags, operands }, [
      ...(flags.bool('running') ? [] : REST),
      'running',
      'paused',
      'restarting',
    ])
    const opened = await engine()
    return forEachContainer(chosen, (name) => opened.restart(name, options), {
      ignore: flags.bool('ignore'),
      debug: globals.debug,
    })
  },
}
