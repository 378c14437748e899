import type { Command } from '../command.ts'
import { forEachContainer, namedContainers } from '../choice.ts'
import { forAllAtOnce, namedOrAll } from '../each.ts'
import { STOP_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'
import { parseContainerFilter } from '../parse/filter.ts'
import { stopOptions } from '../parse/stop.ts'

export const stopCommand: Command = {
  name: 'stop',
  usage: 'CONTAINER [CONTAINER...]',
  description: 'Stop containers: their stop signal, and after a time SIGKILL',
  flags: STOP_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const options = stopOptions(flags)
    if (!flags.bool('all') && !flags.has('filter')) {
      const named = await namedContainers(engine, { verb: 'stop', flags, operands })
      const opened = await engine()
      const ignore = flags.bool('ignore')
      return forEachContainer(named, (name) => opened.stop(name, options), { ignore, debug: globals.debug })
    }
    namedOrAll('stop', flags, operands)
    const opened = await engine()
    const stopOne = async (name: string): Promise<void> => {
      await opened.stop(name, options)
      print(`${name}\n`)
    }
    const running = await opened.ps({ all: false, filter: parseContainerFilter(flags.list('filter')) })
    return forAllAtOnce(
      running.map(({ name }) => name),
      stopOne,
      globals.debug,
    )
  },
}
