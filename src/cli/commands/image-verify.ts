import type { ImageFinding, ImageVerdict } from '../../images/verify/image.ts'
import type { Command } from '../command.ts'
import { IMAGE_VERIFY_FLAGS } from '../flags/image.ts'
import { shortName } from '../output/images.ts'
import { print } from '../output/print.ts'
import { parseProgressFormat } from '../parse/registry.ts'
import { withSignals } from '../signals.ts'

export const imageVerifyCommand: Command = {
  name: 'image verify',
  usage: '[IMAGE...]',
  description:
    'Look images over, all where none is named: blobs, documents, layers; end with 1 where something is wrong',
  flags: IMAGE_VERIFY_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'image' },
  async run({ flags, operands, engine }) {
    const json = parseProgressFormat(flags.text('format'))
    const images = await (await engine()).storedImages()
    const verdicts: ImageVerdict[] = []
    await withSignals(async ({ aborted }) => {
      for await (const verdict of images.verify(operands, { deep: flags.bool('deep'), signal: aborted })) {
        verdicts.push(verdict)
        if (!json) print(verdictText(verdict, flags.bool('quiet')))
      }
      return 0
    })
    if (json) print(`${JSON.stringify(verdicts.map(objectOf), undefined, 2)}\n`)
    return verdicts.some(({ findings }) => findings.length > 0) ? 1 : 0
  },
}

function verdictText(verdict: ImageVerdict, quiet: boolean): string {
  const { findings } = verdict
  if (findings.length === 0) return quiet ? '' : `${titleOf(verdict)}: whole\n`
  return findings.map((finding) => `${titleOf(verdict)}: ${findingText(finding)}\n`).join('')
}

/** What a person calls it: its first name, else its id. */
function titleOf({ id, names: [name] }: ImageVerdict): string {
  return name === undefined ? id.replace(/^sha256:/, '').slice(0, 12) : shortName(name)
}

/** `layer 0123456789ab: "etc/passwd" has other content`. */
export function findingText({ part, digest, what }: ImageFinding): string {
  return `${part} ${digest.replace(/^sha256:/, '').slice(0, 12)}: ${what}`
}

function objectOf({ id, names, findings }: ImageVerdict): Readonly<Record<string, unknown>> {
  const found = findings.map(({ part, digest, what }) => ({ Part: part, Digest: digest, What: what }))
  return { Id: id, Names: names, Whole: findings.length === 0, Findings: found }
}
