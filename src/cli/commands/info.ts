import type { Command } from '../command.ts'
import { REPORT_FLAGS } from '../flags/store.ts'
import { formatObject } from '../output/format.ts'
import { print } from '../output/print.ts'
import { formatReport } from '../output/report.ts'

export const infoCommand: Command = {
  name: 'info',
  usage: '',
  description: 'Show the settings in effect, where each comes from, and what the store holds',
  flags: REPORT_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const format = flags.text('format')
    const info = await (await engine()).info()
    print(format === undefined || format === '' ? formatReport(info) : await formatObject(info, format))
    return 0
  },
}
