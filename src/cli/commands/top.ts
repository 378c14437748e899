import type { Command } from '../command.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'
import { print } from '../output/print.ts'
import { formatTop } from '../output/top.ts'

export const topCommand: Command = {
  name: 'top',
  usage: 'CONTAINER [COLUMN...|PS OPTIONS]',
  description: "Show the processes of a container, by the host's /proc",
  flags: PLAIN_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'container' },
  passThrough: true,
  async run({ operands, engine }) {
    const [container = '', ...words] = operands
    print(formatTop(await (await engine()).top(container, words)))
    return 0
  },
}
