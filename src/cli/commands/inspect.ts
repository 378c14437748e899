import { TscrunError } from '../../model/errors.ts'
import { namedContainers } from '../choice.ts'
import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { badFlag } from '../errors.ts'
import { INSPECT_FLAGS } from '../flags/store.ts'
import { formatObjects } from '../output/format.ts'
import { print } from '../output/print.ts'

export const inspectCommand: Command = {
  name: 'inspect',
  usage: '[NAME|ID...]',
  description: 'Show what is known about containers, images and volumes, as JSON or through a template',
  flags: INSPECT_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'name or id' },
  async run({ flags, operands, globals, engine }) {
    const type = parseType(flags.text('type'))
    const size = flags.bool('size')
    const names = await namedContainers(engine, { verb: 'inspect', flags, operands })
    const opened = await engine()
    const found: Readonly<Record<string, unknown>>[] = []
    const exitCode = await forEachOperand(
      names,
      async (name) => void found.push(await opened.inspect(name, type, { size })),
      globals.debug,
    )
    // Like docker, an empty array where nothing was found, so that scripts always get JSON.
    print(await formatObjects(found, flags.text('format')))
    return exitCode
  },
}

function parseType(text: string | undefined): 'container' | 'image' | 'volume' | undefined {
  if (text === undefined || text === '' || text === 'all') return undefined
  if (text === 'container' || text === 'image' || text === 'volume') return text
  const known = ['network', 'pod', 'plugin', 'secret', 'service', 'node', 'task', 'config'].includes(text)
  if (known) throw new TscrunError('USAGE', `--type ${text}: not supported yet`, { hint: 'container, image or volume' })
  throw badFlag('type', text, 'unknown type', 'container, image or volume')
}
