import { chooseContainers, forEachContainer } from '../choice.ts'
import type { Command } from '../command.ts'
import { PAUSE_FLAGS } from '../flags/live.ts'

function freezer(name: 'pause' | 'unpause', description: string): Command {
  return {
    name,
    usage: '[CONTAINER...]',
    description,
    flags: PAUSE_FLAGS,
    operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
    async run({ flags, operands, globals, engine }) {
      const statuses = [name === 'pause' ? 'running' : 'paused'] as const
      const chosen = await chooseContainers(engine, { verb: name, flags, operands }, statuses)
      const opened = await engine()
      return forEachContainer(chosen, (container) => opened[name](container), { ignore: false, debug: globals.debug })
    },
  }
}

export const pauseCommand = freezer('pause', 'Freeze all processes of containers')
export const unpauseCommand = freezer('unpause', 'Let frozen containers go on')
