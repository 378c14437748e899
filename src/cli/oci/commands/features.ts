import { features } from '../../../spec/features.ts'
import { hostFacts } from '../../../runtime/host.ts'
import { print } from '../../output/print.ts'
import type { RuntimeCommand } from '../command.ts'

export const featuresCommand: RuntimeCommand = {
  name: 'features',
  usage: '',
  description: 'Print what this runtime can do, as JSON',
  flags: [],
  operands: { min: 0, max: 0 },
  async run() {
    print(`${JSON.stringify(features(hostFacts()), null, 2)}\n`)
    return 0
  },
}
