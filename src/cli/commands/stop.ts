import type { Command } from '../command.ts'
import { forAllAtOnce, forEachOperand, namedOrAll } from '../each.ts'
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
    const opened = await engine()
    const options = stopOptions(flags)
    const stopOne = async (name: string): Promise<void> => {
      await opened.stop(name, options)
      print(`${name}\n`)
    }
    const named = namedOrAll('stop', flags, operands)
    if (named !== undefined) return forEachOperand(named, stopOne, globals.debug)
    const running = await opened.ps({ all: false, filter: parseContainerFilter(flags.list('filter')) })
    return forAllAtOnce(
      running.map(({ name }) => name),
      stopOne,
      globals.debug,
    )
  },
}
