import type { CopyEnd } from '../../engine/copy/copy.ts'
import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { warningLine } from '../errors.ts'
import { CP_FLAGS } from '../flags/files.ts'
import { toArchive } from '../output/archive.ts'
import { printError } from '../output/print.ts'
import { isTerminalFd } from '../output/terminal.ts'
import { withSignals } from '../signals.ts'

export const cpCommand: Command = {
  name: 'cp',
  usage: 'CONTAINER:SRC DST|-  |  SRC|- CONTAINER:DST',
  description: 'Copy files between a container and this machine; `-` is a tar archive on standard input or output',
  flags: CP_FLAGS,
  operands: { min: 2, max: 2, noun: 'source or the destination' },
  async run({ flags, operands: [source = '', target = ''], globals, engine }) {
    const quiet = flags.bool('quiet') || globals.quietWarnings
    const [from, to] = [endOf(source), endOf(target)]
    if (from.container === undefined && to.container === undefined) {
      throw new TscrunError('USAGE', `cp ${source} ${target}: neither is in a container`, {
        hint: 'write one as CONTAINER:PATH',
      })
    }
    if (source === '-' && (await isTerminalFd(0))) {
      throw new TscrunError('USAGE', 'cp -: standard input is a terminal', { hint: 'pipe a tar archive to it' })
    }
    const files = await (await engine()).files()
    await withSignals(({ aborted }) => {
      const options = {
        archive: flags.bool('archive'),
        followLink: flags.bool('follow-link'),
        overwrite: flags.bool('overwrite'),
        ...(quiet ? {} : { onWarning: (line: string) => printError(warningLine(line)) }),
        signal: aborted,
      }
      if (target === '-') return toArchive('cp', undefined, (sink) => files.copyOut(from, sink, options))
      return source === '-' ? files.copyIn(process.stdin, to, options) : files.copy(from, to, options)
    })
    return 0
  },
}

/** As docker reads it: what begins like a path is one, whatever colons follow. */
function endOf(text: string): CopyEnd {
  const colon = text.indexOf(':')
  if (colon < 1 || /^[./]/.test(text)) return { path: text }
  return { container: text.slice(0, colon), path: text.slice(colon + 1) }
}
