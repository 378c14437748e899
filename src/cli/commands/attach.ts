import { attachHere } from '../attached.ts'
import { latestOrFirst } from '../choice.ts'
import type { Command } from '../command.ts'
import { ATTACH_FLAGS } from '../flags/live.ts'
import { parseDetachKeys } from '../parse/times.ts'

export const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q'

export const attachCommand: Command = {
  name: 'attach',
  usage: 'CONTAINER',
  description: 'Connect standard input, output and error with a detached container',
  flags: ATTACH_FLAGS,
  operands: { min: 0, max: 1, noun: 'container' },
  async run({ flags, operands, engine }) {
    const [container] = await latestOrFirst(engine, { verb: 'attach', flags, operands })
    const opened = await engine()
    return attachHere((options) => opened.attach(container, options), {
      stdin: !flags.bool('no-stdin'),
      detachKeys: parseDetachKeys(flags.text('detach-keys') ?? opened.settings.detachKeys ?? DEFAULT_DETACH_KEYS),
      signals: flags.bool('sig-proxy', true),
    })
  },
}
