import type { Command } from '../command.ts'
import { REPORT_FLAGS } from '../flags/store.ts'
import { formatChecks } from '../output/doctor.ts'
import { formatObject } from '../output/format.ts'
import { print } from '../output/print.ts'

export const doctorCommand: Command = {
  name: 'doctor',
  usage: '',
  description: 'Check what this host can do and how to mend what it cannot; exits with 1 if a check failed',
  flags: REPORT_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, engine }) {
    const checks = await (await engine()).doctor()
    const format = flags.text('format')
    if (format === undefined || format === '') {
      const { wantsColour } = await import('../output/terminal.ts')
      print(formatChecks(checks, await wantsColour(1, process.env)))
    } else print(await formatObject(checks, format))
    return checks.some(({ result }) => result === 'fail') ? 1 : 0
  },
}
