import { latestOrFirst } from '../choice.ts'
import type { Command } from '../command.ts'
import { TOP_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'
import { formatTop } from '../output/top.ts'

export const topCommand: Command = {
  name: 'top',
  usage: 'CONTAINER [COLUMN...|PS OPTIONS]',
  description: "Show the processes of a container, by the host's /proc",
  flags: TOP_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  passThrough: true,
  async run({ flags, operands, engine }) {
    const [container, ...words] = await latestOrFirst(engine, { verb: 'top', flags, operands })
    const opened = await engine()
    print(formatTop(await opened.top(container, words)))
    return 0
  },
}
