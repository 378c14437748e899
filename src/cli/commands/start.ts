import { TscrunError } from '../../model/errors.ts'
import { attachHere } from '../attached.ts'
import type { Command } from '../command.ts'
import { namedContainers } from '../choice.ts'
import { forEachOperand, namedOrAll } from '../each.ts'
import { START_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'
import { parseContainerFilter } from '../parse/filter.ts'
import { parseDetachKeys } from '../parse/times.ts'
import { DEFAULT_DETACH_KEYS } from './attach.ts'

export const startCommand: Command = {
  name: 'start',
  usage: 'CONTAINER [CONTAINER...]',
  description: 'Start containers that were made or have stopped, with what they have written',
  flags: START_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const latest = flags.bool('latest')
    const named = latest
      ? await namedContainers(engine, { verb: 'start', flags, operands })
      : namedOrAll('start', flags, operands)
    const [first = ''] = named ?? []
    const opened = await engine()
    if (flags.bool('attach') || flags.bool('interactive')) {
      if (named?.length !== 1) {
        throw new TscrunError('USAGE', 'start --attach: one container at a time', { subject: '--attach' })
      }
      return attachHere((options) => opened.startAttached(first, options), {
        stdin: flags.bool('interactive'),
        detachKeys: parseDetachKeys(flags.text('detach-keys') ?? opened.settings.detachKeys ?? DEFAULT_DETACH_KEYS),
        signals: flags.bool('sig-proxy', true),
      })
    }
    const pidfile = flags.text('monitor-pidfile') ?? ''
    if (pidfile !== '' && named?.length !== 1) {
      throw new TscrunError('USAGE', 'start --monitor-pidfile: one container at a time', {
        subject: '--monitor-pidfile',
      })
    }
    const startOne = async (name: string): Promise<void> => {
      await opened.start(name, pidfile === '' ? {} : { monitorPidfile: pidfile })
      print(`${name}\n`)
    }
    if (named !== undefined) return forEachOperand(named, startOne, globals.debug)
    const resting = await opened.startable(parseContainerFilter(flags.list('filter')))
    return forEachOperand(
      resting.map(({ name }) => name),
      startOne,
      globals.debug,
    )
  },
}
