import { deleteContainer } from '../../../runtime/delete.ts'
import type { RuntimeCommand } from '../command.ts'

export const remove: RuntimeCommand = {
  name: 'delete',
  usage: 'ID',
  description: 'Remove a container that has stopped',
  flags: [{ name: 'force', short: 'f', kind: 'bool', help: 'Kill it first; one that does not exist is no error' }],
  operands: { min: 1, max: 1 },
  async run({ flags, operands, globals }) {
    await deleteContainer(globals.root, operands[0] ?? '', flags.bool('force'))
    return 0
  },
}
