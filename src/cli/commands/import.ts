import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { warningLine } from '../errors.ts'
import { IMPORT_FLAGS } from '../flags/archives.ts'
import { print, printError } from '../output/print.ts'
import { isTerminalFd } from '../output/terminal.ts'
import { parseUnpackLimit } from '../parse/numbers.ts'
import { parsePlatformFlag } from '../parse/words.ts'
import { withSignals } from '../signals.ts'

export const importCommand: Command = {
  name: 'import',
  usage: 'FILE|- [IMAGE]',
  description: 'Make an image of a root filesystem in a tar archive (plain, gzip or zstd), as export writes it',
  flags: IMPORT_FLAGS,
  operands: { min: 1, max: 2, noun: 'file' },
  async run({ flags, operands: [file = '', name], globals, engine }) {
    if (/^https?:\/\//.test(file)) {
      throw new TscrunError('USAGE', `import ${file}: files only`, { hint: 'curl -fsSL URL | tscrun import - IMAGE' })
    }
    if (file === '-' && (await isTerminalFd(0))) {
      throw new TscrunError('USAGE', 'import -: standard input is a terminal', { hint: 'pipe a tar archive to it' })
    }
    const [message, platform] = [flags.text('message'), flags.text('platform') ?? '']
    const archives = await (await engine()).archives()
    const id = await withSignals(({ aborted }) =>
      archives.import(file === '-' ? process.stdin : file, name, {
        changes: flags.list('change'),
        ...(message === undefined ? {} : { message }),
        ...(platform === '' ? {} : { platform: parsePlatformFlag(platform) }),
        ...parseUnpackLimit(flags),
        ...(globals.quietWarnings ? {} : { onWarning: (line: string) => printError(warningLine(line)) }),
        signal: aborted,
      }),
    )
    print(`${id}\n`)
    return 0
  },
}
