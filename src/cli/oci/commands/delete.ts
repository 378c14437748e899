import { TscrunError } from '../../../model/errors.ts'
import { deleteContainer } from '../../../runtime/delete.ts'
import type { RuntimeCommand } from '../command.ts'
import { logWarning } from '../log.ts'

export const remove: RuntimeCommand = {
  name: 'delete',
  usage: 'ID [ID...]',
  description: 'Remove a container that has stopped',
  flags: [
    { name: 'force', short: 'f', kind: 'bool', help: 'Kill it first; one that does not exist is no error' },
    {
      name: 'regex',
      short: 'r',
      kind: 'bool',
      help: 'Take the id for a regular expression, and remove all it matches',
    },
  ],
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  async run({ flags, operands, globals }) {
    const ids = flags.bool('regex') ? await matching(globals.root, operands) : operands
    const warn = (line: string): void => logWarning(globals, line)
    for (const id of ids) await deleteContainer(globals.root, id, flags.bool('force'), warn)
    return 0
  },
}

async function matching(root: string, patterns: readonly string[]): Promise<string[]> {
  const { containerIds } = await import('../../../runtime/list.ts')
  const expressions = patterns.map(toExpression)
  return containerIds(root).filter((id) => expressions.some((expression) => expression.test(id)))
}

function toExpression(pattern: string): RegExp {
  try {
    return new RegExp(pattern)
  } catch (error) {
    throw new TscrunError('USAGE', `delete --regex: ${(error as Error).message}`, { subject: pattern, cause: error })
  }
}
