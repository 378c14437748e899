import type { NamedMount } from '../../engine/image-verbs/stored.ts'
import { TscrunError } from '../../model/errors.ts'
import type { Command } from '../command.ts'
import { forEachOperand } from '../each.ts'
import { IMAGE_MOUNT_FLAGS, IMAGE_UNMOUNT_FLAGS } from '../flags/image.ts'
import { shortName } from '../output/images.ts'
import { print } from '../output/print.ts'
import { parseProgressFormat } from '../parse/registry.ts'

export const imageMountCommand: Command = {
  name: 'image mount',
  usage: '[IMAGE...]',
  description: 'Mount the files of images read-only and print where; without an image list those that are mounted',
  flags: IMAGE_MOUNT_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'image' },
  async run({ flags, operands, globals, engine }) {
    const json = parseProgressFormat(flags.text('format'))
    const all = flags.bool('all')
    if (all && operands.length > 0) throw new TscrunError('USAGE', 'image mount --all: no image can be named')
    const opened = await engine()
    const images = await opened.storedImages()
    if (!all && operands.length === 0) {
      print(listing(await images.mounts(), json))
      return 0
    }
    const wanted = all ? [...new Set((await opened.images()).map(({ id }) => id))] : operands
    const mounted: NamedMount[] = []
    const mountOne = async (name: string): Promise<void> => void mounted.push(await images.mount(name))
    const exitCode = await forEachOperand(wanted, mountOne, globals.debug)
    // One that is named is what a script wants: its path and nothing else.
    const [only] = mounted
    print(!json && operands.length === 1 ? (only === undefined ? '' : `${only.path}\n`) : listing(mounted, json))
    return exitCode
  },
}

export const imageUnmountCommand: Command = {
  name: 'image unmount',
  usage: '[IMAGE...]',
  description: 'Take images off that `image mount` has mounted',
  flags: IMAGE_UNMOUNT_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'image' },
  async run({ flags, operands, globals, engine }) {
    const all = flags.bool('all')
    if (all === operands.length > 0) {
      throw new TscrunError('USAGE', `image unmount: ${all ? '--all, or images, not both' : 'the image is missing'}`, {
        hint: 'usage: tscrun image unmount IMAGE [IMAGE...], or image unmount --all',
      })
    }
    const images = await (await engine()).storedImages()
    const wanted = all ? (await images.mounts()).map(({ id }) => id) : operands
    const unmountOne = async (name: string): Promise<void> => {
      const id = await images.unmount(name, { force: flags.bool('force') })
      print(`${id.replace(/^sha256:/, '')}\n`)
    }
    return forEachOperand(wanted, unmountOne, globals.debug)
  },
}

/** podman's: a name and a path in each line. */
function listing(mounts: readonly NamedMount[], json: boolean): string {
  if (json) {
    const objects = mounts.map(({ id, names, path }) => ({ Id: id, Repositories: names, Mountpoint: path }))
    return `${JSON.stringify(objects, undefined, 2)}\n`
  }
  const rows = mounts.map(({ id, names, path }) => [names.map(shortName).join(',') || id.slice(7, 19), path] as const)
  const width = Math.max(0, ...rows.map(([name]) => name.length))
  return rows.map(([name, path]) => `${name.padEnd(width)}  ${path}\n`).join('')
}
