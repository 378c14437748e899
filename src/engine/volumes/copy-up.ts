import { closeSync, constants, fstatSync, mkdirSync, openSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { copyAttributes } from '../../images/copy-file.ts'
import { unpackLimits } from '../../images/budget.ts'
import { finishExtraction, startMerge } from '../../images/extraction.ts'
import { syncDirectory } from '../../images/files.ts'
import { removeTree } from '../../images/remove-tree.ts'
import { TscrunError } from '../../model/errors.ts'
import { directoriesInLayers } from '../../rootfs/lookup.ts'
import { DATA } from './users.ts'

/** What of an image a volume is filled with. */
export interface CopyUp {
  /** Absolute directories of the layers, bottom to top. */
  readonly layers: readonly string[]
  /** Absolute path in the container. */
  readonly target: string
  /** Nobody has had the volume yet: it also gets owner and mode of a directory that has nothing in it. */
  readonly fresh: boolean
  readonly signal?: AbortSignal
}

/**
 * Fills an empty volume with what overlayfs would show at a path: owners, modes, times, attributes, links. Beside its place,
 * which is then replaced: nobody may have it mounted, and the caller holds its lock. Nothing of the image is run; a process
 * confined to the layers and the copy does the copying.
 */
export async function copyUp(volume: string, { layers, target, fresh, signal }: CopyUp): Promise<void> {
  const sources = directoriesInLayers(layers, target)
  const top = sources.at(-1)
  if (top === undefined) return
  const empty = sources.every((source) => readdirSync(source).length === 0)
  if (empty && !fresh) return
  const copy = join(volume, `${DATA}.new`)
  // What a killed command left of it.
  removeTree(copy, volume)
  mkdirSync(copy, { mode: 0o700 })
  try {
    if (empty) copyDirectory(top, copy)
    else
      await finishExtraction(startMerge({ directory: copy, layers: sources, limits: unpackLimits(0, 0, copy) }), signal)
    renameSync(copy, join(volume, DATA))
    syncDirectory(volume)
  } catch (error) {
    removeTree(copy, volume)
    if (!(error instanceof TscrunError)) throw error
    const { code, hint, errno } = error
    throw new TscrunError(code, `fill a volume with ${target} of the image: ${error.message}`, {
      subject: target,
      cause: error,
      ...(errno === undefined ? {} : { errno }),
      ...(code === 'NO_SPACE'
        ? { hint: 'make room, or mount the volume with nocopy' }
        : hint === undefined
          ? {}
          : { hint }),
    })
  }
}

function copyDirectory(source: string, destination: string): void {
  const [from, to] = [openDirectory(source), openDirectory(destination)]
  try {
    copyAttributes(from, to, fstatSync(from, { bigint: true }))
  } finally {
    closeSync(from)
    closeSync(to)
  }
}

function openDirectory(path: string): number {
  return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
}
