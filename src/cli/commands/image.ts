import type { Command } from '../command.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'
import { formatSize, shortName } from '../output/images.ts'
import { print } from '../output/print.ts'

export const imageExistsCommand: Command = {
  name: 'image exists',
  usage: 'IMAGE',
  description: 'End with 0 where there is an image of this name, with 1 where not; prints nothing',
  flags: PLAIN_FLAGS,
  operands: { min: 1, max: 1, noun: 'image' },
  async run({ operands: [image = ''], engine }) {
    return (await (await engine()).archives()).exists(image) ? 0 : 1
  },
}

export const imageTreeCommand: Command = {
  name: 'image tree',
  usage: 'IMAGE',
  description: 'Show the layers of an image, the lowest first, and which images end with them',
  flags: PLAIN_FLAGS,
  operands: { min: 1, max: 1, noun: 'image' },
  async run({ operands: [image = ''], engine }) {
    const { id, names, size, layers } = (await (await engine()).archives()).layers(image)
    const short = (digest: string): string => digest.replace(/^sha256:/, '').slice(0, 12)
    const lines = layers.map(({ diffId, size: bytes, topOf }, index) => {
      const branch = index === layers.length - 1 ? '└──' : '├──'
      const top = topOf.length === 0 ? '' : ` Top Layer of: [${topOf.map(shortName).join(' ')}]`
      return `${branch} ID: ${short(diffId)} Size: ${formatSize(bytes).padStart(8)}${top}`
    })
    const head = [
      `Image ID: ${short(id)}`,
      `Tags:     [${names.map(shortName).join(' ')}]`,
      `Size:     ${formatSize(size)}`,
    ]
    print([...head, 'Image Layers', ...lines].map((line) => `${line}\n`).join(''))
    return 0
  },
}
