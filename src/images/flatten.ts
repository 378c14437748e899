import * as fs from 'node:fs'
import { basename, join } from 'node:path'
import type { ChainId } from '../model/digest.ts'
import type { UnpackLimits } from './budget.ts'
import { finishExtraction, startMerge } from './extraction.ts'
import { syncDirectory } from './files.ts'
import { emptyLayerPath, layerPath, type StorePaths, wholePath } from './layout.ts'
import { waitForLock } from './lock.ts'
import { removeTree } from './remove-tree.ts'
import { unpackedPath } from './snapshot.ts'
import { syncFileSystem } from './sync.ts'

export interface FlattenOptions {
  readonly signal?: AbortSignal
  readonly limits: UnpackLimits
  /** Called before anything is copied. */
  readonly onCopy: () => void
}

/**
 * Makes an image's snapshot complete whose layers are all unpacked: where overlayfs cannot be given one of them, the
 * topmost of these and all below it are copied into one tree, beside its place, and renamed when it is whole; where there
 * are no layers, an empty directory is made. Answers whether something was made.
 */
export async function flatten(paths: StorePaths, chain: readonly ChainId[], options: FlattenOptions): Promise<boolean> {
  if (chain.length === 0) return makeEmpty(emptyLayerPath(paths))
  const count = 1 + chain.findLastIndex((chainId) => !fs.existsSync(layerPath(paths, chainId)))
  const top = chain[count - 1]
  if (top === undefined || fs.existsSync(wholePath(paths, top))) return false
  const place = wholePath(paths, top)
  const tree = join(paths.work, basename(place))
  using lock = await waitForLock(`${tree}.lock`, 'exclusive', options.signal)
  const made = !fs.existsSync(place)
  if (made) {
    options.onCopy()
    try {
      removeTree(tree, paths.work)
      fs.mkdirSync(tree, { mode: 0o755 })
      const layers = sourcesOf(paths, chain.slice(0, count))
      await finishExtraction(startMerge({ directory: tree, layers, limits: options.limits }), options.signal)
      // Its name alone says that it is whole: it has it only when it would survive a power cut, and so would the layers.
      await syncFileSystem(paths.work)
      fs.renameSync(tree, place)
      syncDirectory(paths.layers)
    } catch (error) {
      removeTree(tree, paths.work)
      throw error
    }
  }
  lock.unlink()
  return made
}

function makeEmpty(path: string): boolean {
  const made = fs.mkdirSync(path, { recursive: true }) !== undefined
  // Whatever the caller's umask is: it is the root directory of containers.
  fs.chmodSync(path, 0o755)
  return made
}

/** The directories to copy, bottom to top; a tree that was made of some of the layers for another image serves too. */
function sourcesOf(paths: StorePaths, chain: readonly ChainId[]): readonly string[] {
  const sources: string[] = []
  for (const chainId of chain.toReversed()) {
    const whole = wholePath(paths, chainId)
    if (fs.existsSync(whole)) return [whole, ...sources.toReversed()]
    const layer = unpackedPath(paths, chainId)
    if (layer === undefined) throw new Error(`layer ${chainId} has not been unpacked`)
    sources.push(layer)
  }
  return sources.toReversed()
}
