import { containerState } from '../../../runtime/state.ts'
import { print } from '../../output/print.ts'
import type { RuntimeCommand } from '../command.ts'

export const state: RuntimeCommand = {
  name: 'state',
  usage: 'ID',
  description: 'Print the state of a container as JSON',
  flags: [],
  operands: { min: 1, max: 1 },
  async run({ operands, globals }) {
    print(`${JSON.stringify(containerState(globals.root, operands[0] ?? ''), null, 2)}\n`)
    return 0
  },
}
