import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { warningLine } from '../errors.ts'
import { NETWORK_CONNECT_FLAGS, NETWORK_DISCONNECT_FLAGS } from '../flags/network.ts'
import { printError } from '../output/print.ts'
import { addressOptions } from '../parse/network.ts'

export const networkConnectCommand: Command = {
  name: 'network connect',
  usage: 'NETWORK CONTAINER',
  description: 'Connect a container to one more network, now if it runs, and for its further starts',
  flags: NETWORK_CONNECT_FLAGS,
  operands: { min: 2, max: 2, noun: 'network and a container' },
  async run({ flags, operands, engine }) {
    const [name = '', container = ''] = operands
    const request = { name, ...addressOptions(flags, 'alias') }
    await (await (await engine()).networks()).connect(container, request, (line) => printError(warningLine(line)))
    return 0
  },
}

export const networkDisconnectCommand: Command = {
  name: 'network disconnect',
  usage: 'NETWORK CONTAINER',
  description: 'Take a container from a network, now if it runs, and for its further starts',
  flags: NETWORK_DISCONNECT_FLAGS,
  operands: { min: 2, max: 2, noun: 'network and a container' },
  async run({ flags, operands, engine }) {
    const [name = '', container = ''] = operands
    try {
      await (await (await engine()).networks()).disconnect(container, name)
    } catch (error) {
      if (!flags.bool('force') || !isGone(error)) throw error
    }
    return 0
  },
}

/** There is nothing to take, or nobody to take it from. */
function isGone(error: unknown): boolean {
  if (!(error instanceof TscrunError)) return false
  return error.code === 'NO_SUCH_CONTAINER' || error.message.endsWith('it is not connected to it')
}
