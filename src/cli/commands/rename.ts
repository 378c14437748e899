import type { Command } from '../command.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'

export const renameCommand: Command = {
  name: 'rename',
  usage: 'CONTAINER NEW_NAME',
  description: 'Give a container another name, whether it runs or not',
  flags: PLAIN_FLAGS,
  operands: { min: 2, max: 2, noun: 'container or the new name' },
  async run({ operands, engine }) {
    const [container = '', name = ''] = operands
    await (await engine()).rename(container, name)
    return 0
  },
}
