import type { Command } from '../command.ts'
import type { RemovedImage } from '../../engine/api.ts'
import { TscrunError } from '../../model/errors.ts'
import { forEachOperand, namedOrAll } from '../each.ts'
import { RMI_FLAGS } from '../flags/store.ts'
import { shortName } from '../output/images.ts'
import { print } from '../output/print.ts'

export const rmiCommand: Command = {
  name: 'rmi',
  usage: '[IMAGE...]',
  description: 'Remove images, by name or id',
  flags: RMI_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'image' },
  async run({ flags, operands, globals, engine }) {
    const opened = await engine()
    const named = namedOrAll('rmi', flags, operands, 'image')
    const ids = async (): Promise<readonly string[]> => [...new Set((await opened.images()).map(({ id }) => id))]
    const removal = { force: flags.bool('force'), ...(named === undefined ? { allNames: true } : {}) }
    const removeOne = async (name: string): Promise<void> => {
      const { untagged, deleted } = await removed(() => opened.removeImage(name, removal), flags.bool('ignore'))
      print(
        [
          ...untagged.map((gone) => `Untagged: ${shortName(gone)}\n`),
          ...deleted.map((gone) => `Deleted: ${gone}\n`),
        ].join(''),
      )
    }
    return forEachOperand(named ?? (await ids()), removeOne, globals.debug)
  },
}

async function removed(remove: () => Promise<RemovedImage>, ignore: boolean): Promise<RemovedImage> {
  try {
    return await remove()
  } catch (error) {
    if (!ignore || !(error instanceof TscrunError) || error.code !== 'NO_SUCH_IMAGE') throw error
    return { untagged: [], deleted: [] }
  }
}
