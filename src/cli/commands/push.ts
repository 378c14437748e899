import { writeFileSync } from 'node:fs'
import type { ImageSummary } from '../../engine/api.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { parseReference } from '../../model/reference.ts'
import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { badFlag } from '../errors.ts'
import { COPY_FLAGS, PUSH_FLAGS } from '../flags/registry.ts'
import { print } from '../output/print.ts'
import { parsePacking } from '../parse/packing.ts'
import { parseAccess, parseProgressFormat } from '../parse/registry.ts'
import { createReporter } from '../reporter.ts'
import { withSignals } from '../signals.ts'

export const pushCommand: Command = {
  name: 'push',
  usage: 'IMAGE [DESTINATION]',
  description: 'Send an image to a registry, under its own name or another',
  flags: PUSH_FLAGS,
  operands: { min: 1, max: 2, noun: 'image' },
  async run({ flags, operands, globals, engine }) {
    const [image = '', typed] = operands
    const json = parseProgressFormat(flags.text('format'))
    const packing = parsePacking(flags)
    const access = await parseAccess(flags)
    // podman's way to write it.
    const destination = typed?.replace(/^docker:\/\//, '')
    const opened = await engine()
    const registry = await opened.registry()
    const push = async (source: string, target: string | undefined, signal: AbortSignal): Promise<void> => {
      const reporter = createReporter(globals, { quiet: flags.bool('quiet'), json })
      const { onWarning, onProgress } = reporter
      try {
        const digest = await registry.push(source, target, { ...access, ...packing, onWarning, onProgress, signal })
        writeDigest(flags.text('digestfile'), digest)
      } finally {
        await reporter.finish()
      }
    }
    const names = flags.bool('all-tags') ? storedTags(await opened.images(), image, destination) : undefined
    return withSignals(async ({ aborted }) => {
      if (names !== undefined) return forEachOperand(names, (name) => push(name, undefined, aborted), globals.debug)
      await push(image, destination, aborted)
      return 0
    })
  },
}

export const copyCommand: Command = {
  name: 'copy',
  usage: 'SOURCE TARGET',
  description: 'Copy an image between registries, directories and archives without unpacking it',
  flags: COPY_FLAGS,
  operands: { min: 2, max: 2, noun: 'source or target' },
  async run({ flags, operands, globals, engine }) {
    const [source = '', target = ''] = operands
    const json = parseProgressFormat(flags.text('format'))
    const sides = { source: await parseAccess(flags, 'src-'), target: await parseAccess(flags, 'dest-') }
    const platform = flags.bool('all-platforms') ? 'all' : flags.text('platform')
    const registry = await (await engine()).registry()
    const reporter = createReporter(globals, { quiet: flags.bool('quiet'), json })
    return withSignals(async ({ aborted }) => {
      const { onWarning, onProgress } = reporter
      try {
        const digest = await registry.copy(source, target, {
          ...sides,
          ...(platform === undefined || platform === '' ? {} : { platform }),
          onWarning,
          onProgress,
          signal: aborted,
        })
        writeDigest(flags.text('digestfile'), digest)
        await reporter.finish()
        if (!json) print(`${digest}\n`)
      } finally {
        await reporter.finish()
      }
      return 0
    })
  },
}

/** The names of a repository in the store. Throws USAGE, NO_SUCH_IMAGE. */
function storedTags(
  images: readonly ImageSummary[],
  repository: string,
  destination: string | undefined,
): readonly string[] {
  const { registry, repository: path, tag, digest } = parseReference(repository)
  const named = /[:@][^/]*$/.test(repository) && (tag !== undefined || digest !== undefined)
  if (destination !== undefined || named) {
    throw new TscrunError('USAGE', 'push --all-tags: takes a repository without a tag, and nothing else', {
      subject: repository,
      hint: 'e.g. tscrun push --all-tags localhost:5000/app',
    })
  }
  const whole = `${registry}/${path}`
  const names = images.flatMap((image) =>
    image.repository === whole && image.tag !== undefined ? [`${whole}:${image.tag}`] : [],
  )
  if (names.length > 0) return names
  throw new TscrunError('NO_SUCH_IMAGE', `push --all-tags ${repository}: no image of this repository is stored`, {
    subject: repository,
    hint: '`tscrun images` lists them',
  })
}

function writeDigest(path: string | undefined, digest: string): void {
  if (path === undefined || path === '') return
  try {
    writeFileSync(path, digest)
  } catch (error) {
    throw badFlag('digestfile', path, errnoOf(error) ?? 'not writable')
  }
}
