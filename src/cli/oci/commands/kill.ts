import { constants } from 'node:os'
import { TscrunError } from '../../../model/errors.ts'
import { killContainer } from '../../../runtime/kill.ts'
import type { RuntimeCommand } from '../command.ts'

export const kill: RuntimeCommand = {
  name: 'kill',
  usage: 'ID [SIGNAL]',
  description: 'Send a signal (default TERM) to the first process of a container',
  flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'To everyone in the container' }],
  operands: { min: 1, max: 2 },
  async run({ flags, operands, globals }) {
    killContainer(globals.root, operands[0] ?? '', signalNumber(operands[1] ?? 'TERM'), flags.bool('all'))
    return 0
  },
}

const SIGRTMIN = 34
const SIGRTMAX = 64

/** `15`, `TERM`, `SIGTERM`, `RTMIN+3`. Throws USAGE. */
function signalNumber(text: string): number {
  if (/^[0-9]+$/.test(text) && Number(text) <= SIGRTMAX) return Number(text)
  const name = text.toUpperCase().replace(/^(?:SIG)?/, 'SIG')
  const known = Object.entries(constants.signals).find(([candidate]) => candidate === name)?.[1]
  if (known !== undefined) return known
  const [, end, sign, offset = '0'] = /^SIGRTM(IN|AX)(?:([+-])([0-9]+))?$/.exec(name) ?? []
  const number = (end === 'IN' ? SIGRTMIN : SIGRTMAX) + Number(offset) * (sign === '-' ? -1 : 1)
  if (end !== undefined && number >= SIGRTMIN && number <= SIGRTMAX) return number
  throw new TscrunError('USAGE', `kill: unknown signal ${JSON.stringify(text)}`, {
    subject: text,
    hint: 'a number, or a name such as TERM or SIGTERM',
  })
}
