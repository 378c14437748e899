import type { Engine, Listener } from '../../engine/api.ts'
import { TscrunError } from '../../model/errors.ts'
import type { RegistryAccess } from '../../registry/session.ts'
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
    let exitCode = 0
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
      if (!flags.bool('all-tags')) return forEachOperand(operands, pullOne, globals.debug)
      return forEachOperand(
        operands,
        async (name) => {
          const tagged = await allTags(opened, name, { ...options, signal: aborted })
          const failed = await forEachOperand(tagged, pullOne, globals.debug)
          exitCode ||= failed
        },
        globals.debug,
      ).then((code) => code || exitCode)
    })
  },
}

/** Names of all tags that the registry has of a repository. */
async function allTags(engine: Engine, name: string, access: RegistryAccess & Listener): Promise<readonly string[]> {
  const repository = name.replace(/^docker:\/\//, '')
  // A port has a slash behind it.
  if (/[:@][^/]*$/.test(repository)) {
    throw new TscrunError('USAGE', `pull --all-tags ${name}: a repository has no tag`, {
      subject: name,
      hint: 'leave the tag out, or leave --all-tags out',
    })
  }
  const registry = await engine.registry()
  const tags = await registry.tags(repository, { ...access, limit: Number.POSITIVE_INFINITY })
  return tags.map((tag) => `${repository}:${tag}`)
}
