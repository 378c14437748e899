import { pauseContainer, resumeContainer } from '../../../runtime/pause.ts'
import type { RuntimeCommand } from '../command.ts'

export const pause: RuntimeCommand = {
  name: 'pause',
  usage: 'ID',
  description: 'Stop every process of a container where it is',
  flags: [],
  operands: { min: 1, max: 1 },
  async run({ operands, globals }) {
    await pauseContainer(globals.root, operands[0] ?? '')
    return 0
  },
}

export const resume: RuntimeCommand = {
  name: 'resume',
  usage: 'ID',
  description: 'Let the processes of a paused container go on',
  flags: [],
  operands: { min: 1, max: 1 },
  async run({ operands, globals }) {
    await resumeContainer(globals.root, operands[0] ?? '')
    return 0
  },
}
