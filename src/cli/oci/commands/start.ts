import { startContainer } from '../../../runtime/start.ts'
import type { RuntimeCommand } from '../command.ts'
import { logWarning } from '../log.ts'

export const start: RuntimeCommand = {
  name: 'start',
  usage: 'ID',
  description: 'Run the command of a container that create has made',
  flags: [],
  operands: { min: 1, max: 1 },
  async run({ operands, globals }) {
    await startContainer(globals.root, operands[0] ?? '', (line) => logWarning(globals, line))
    return 0
  },
}
