import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'

export const healthcheckCommand: Command = {
  name: 'healthcheck',
  usage: 'run CONTAINER',
  description: 'Make the health check of a container now: exit code 0 if it passed, 1 if it failed',
  flags: PLAIN_FLAGS,
  operands: { min: 2, max: 2, noun: 'container' },
  async run({ operands, engine }) {
    const [verb = '', name = ''] = operands
    if (verb !== 'run') {
      throw new TscrunError('USAGE', `unknown command "healthcheck ${verb}"`, {
        subject: verb,
        hint: 'usage: tscrun healthcheck run CONTAINER',
      })
    }
    if (await (await engine()).checkHealth(name)) return 0
    print('unhealthy\n')
    return 1
  },
}
