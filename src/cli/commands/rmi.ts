import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { RMI_FLAGS } from '../flags/store.ts'
import { shortName } from '../output/images.ts'
import { print } from '../output/print.ts'

export const rmiCommand: Command = {
  name: 'rmi',
  usage: 'IMAGE [IMAGE...]',
  description: 'Remove images, by name or id',
  flags: RMI_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY, noun: 'image' },
  async run({ flags, operands, globals, engine }) {
    const opened = await engine()
    const removeOne = async (name: string): Promise<void> => {
      const { untagged, deleted } = await opened.removeImage(name, { force: flags.bool('force') })
      print(
        [
          ...untagged.map((gone) => `Untagged: ${shortName(gone)}\n`),
          ...deleted.map((gone) => `Deleted: ${gone}\n`),
        ].join(''),
      )
    }
    return forEachOperand(operands, removeOne, globals.debug)
  },
}
