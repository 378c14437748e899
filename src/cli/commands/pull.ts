import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { PULL_FLAGS } from '../flags/registry.ts'
import { print } from '../output/print.ts'
import { parseUnpackLimit } from '../parse/numbers.ts'
import { parseAccess, parseProgressFormat } from '../parse/registry.ts'
import { parsePlatformFlag } from '../parse/words.ts'
import { createReporter } from '../reporter.ts'
import { withSignals } from '../signals.ts'

export const pullCommand: Command = {
  name: 'pull',
  usage: 'IMAGE [IMAGE...]',
  description: 'Download images from their registries',
  flags: PULL_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'image' },
  async run({ flags, operands, globals, engine }) {
    const platform = flags.text('platform')
    const json = parseProgressFormat(flags.text('format'))
    const options = {
      ...(platform === undefined || platform === '' ? {} : { platform: parsePlatformFlag(platform) }),
      ...(flags.bool('all-platforms') ? { allPlatforms: true } : {}),
      ...parseUnpackLimit(flags),
      ...(await parseAccess(flags)),
    }
    const opened = await engine()
    return withSignals(({ aborted }) => {
      const pullOne = async (name: string): Promise<void> => {
        aborted.throwIfAborted()
        const { onWarning, onProgress, finish } = createReporter(globals, { quiet: flags.bool('quiet'), json })
        try {
          const text = name.replace(/^docker:\/\//, '')
          const { reference } = await opened.pull(text, { ...options, onWarning, onProgress, signal: aborted })
          await finish()
          if (!json) print(`${reference}\n`)
        } finally {
          await finish()
        }
      }
      return forEachOperand(operands, pullOne, globals.debug)
    })
  },
}
