import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { LOAD_FLAGS } from '../flags/archives.ts'
import { shortName } from '../output/images.ts'
import { print } from '../output/print.ts'
import { isTerminalFd } from '../output/terminal.ts'
import { parseUnpackLimit } from '../parse/numbers.ts'
import { parsePlatformFlag } from '../parse/words.ts'
import { createReporter } from '../reporter.ts'
import { withSignals } from '../signals.ts'

export const loadCommand: Command = {
  name: 'load',
  usage: '',
  description: 'Take images in from an archive or a directory that save, docker, podman or skopeo has written',
  flags: LOAD_FLAGS,
  operands: { min: 0, max: 0, noun: 'argument' },
  async run({ flags, globals, engine }) {
    const [file, platform] = [flags.text('input') ?? '', flags.text('platform') ?? '']
    if (file === '' && (await isTerminalFd(0))) {
      throw new TscrunError('USAGE', 'load: standard input is a terminal', { hint: 'give a file with -i, or a pipe' })
    }
    const archives = await (await engine()).archives()
    const { onWarning, onProgress, finish } = createReporter(globals, { quiet: flags.bool('quiet') })
    const loaded = await withSignals(async ({ aborted }) => {
      try {
        return await archives.load(file === '' || file === '-' ? process.stdin : file, {
          ...(platform === '' ? {} : { platform: parsePlatformFlag(platform) }),
          ...parseUnpackLimit(flags),
          onWarning,
          onProgress,
          signal: aborted,
        })
      } finally {
        await finish()
      }
    })
    for (const { id, names } of loaded) {
      if (names.length === 0) print(`Loaded image ID: ${id}\n`)
      for (const name of names) print(`Loaded image: ${shortName(name)}\n`)
    }
    return 0
  },
}
