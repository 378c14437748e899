import { foreseenPlan } from '../../../runtime/plan.ts'
import { print } from '../../output/print.ts'
import type { RuntimeCommand } from '../command.ts'
import { createOptions } from '../create-options.ts'
import { CREATE_FLAGS } from '../flags.ts'

export const plan: RuntimeCommand = {
  name: 'plan',
  usage: 'ID',
  description: 'Print what create would ask of the kernel, and do nothing',
  flags: CREATE_FLAGS,
  operands: { min: 1, max: 1 },
  async run(invocation) {
    print(await foreseenPlan(createOptions(invocation)))
    return 0
  },
}
