import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'

function freezer(name: 'pause' | 'unpause', description: string): Command {
  return {
    name,
    usage: 'CONTAINER [CONTAINER...]',
    description,
    flags: PLAIN_FLAGS,
    operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container' },
    async run({ operands, globals, engine }) {
      const opened = await engine()
      const doOne = async (container: string): Promise<void> => {
        await opened[name](container)
        print(`${container}\n`)
      }
      return forEachOperand(operands, doOne, globals.debug)
    },
  }
}

export const pauseCommand = freezer('pause', 'Freeze all processes of containers')
export const unpauseCommand = freezer('unpause', 'Let frozen containers go on')
