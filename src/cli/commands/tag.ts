import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { PLAIN_FLAGS } from '../flags/live.ts'

export const tagCommand: Command = {
  name: 'tag',
  usage: 'IMAGE NAME [NAME...]',
  description: 'Give an image further names',
  flags: PLAIN_FLAGS,
  operands: { min: 2, max: Number.POSITIVE_INFINITY, noun: 'image or the name' },
  async run({ operands: [image = '', ...names], globals, engine }) {
    const archives = await (await engine()).archives()
    return forEachOperand(names, (name) => archives.tag(image, name), globals.debug)
  },
}

export const untagCommand: Command = {
  name: 'untag',
  usage: 'IMAGE [NAME...]',
  description: 'Take names of an image away, all where none is given; the image stays',
  flags: PLAIN_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'image' },
  async run({ operands: [image = '', ...names], engine }) {
    await (await (await engine()).archives()).untag(image, names)
    return 0
  },
}
