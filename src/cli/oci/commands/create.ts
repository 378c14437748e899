import { createContainer } from '../../../runtime/create.ts'
import type { RuntimeCommand } from '../command.ts'
import { createOptions } from '../create-options.ts'
import { CREATE_FLAGS } from '../flags.ts'

export const create: RuntimeCommand = {
  name: 'create',
  usage: 'ID',
  description: 'Make a container; its command waits for start',
  flags: CREATE_FLAGS,
  operands: { min: 1, max: 1 },
  async run(invocation) {
    await createContainer(createOptions(invocation))
    return 0
  },
}
