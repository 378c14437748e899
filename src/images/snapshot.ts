import * as fs from 'node:fs'
import type { ChainId } from '../model/digest.ts'
import { emptyLayerPath, layerPath, markedLayerPath, type StorePaths, wholePath } from './layout.ts'

/**
 * What of a layer lies in `layers/`, each under a name of its own, so that a directory is what its name says whatever
 * filesystem or version made it:
 *
 * - `CHAINID`: the layer as overlayfs takes it;
 * - `CHAINID.marked`, in its place: the layer with marks by name, on a filesystem that takes no others;
 * - `CHAINID.whole`: the layer and all below it in one tree, made of those for an image that needs it;
 * - `empty`: an empty directory, for images that have no layer.
 *
 * A *snapshot* is the directories overlayfs is given for an image.
 */

/** Where a layer has been unpacked, in either form. */
export function unpackedPath(paths: StorePaths, chainId: ChainId): string | undefined {
  return [layerPath(paths, chainId), markedLayerPath(paths, chainId)].find((path) => fs.existsSync(path))
}

/**
 * The directories of a snapshot, bottom to top; undefined where something of it is missing. Where all layers are as
 * overlayfs takes them it costs a call a layer: every start of a container asks for it.
 */
export function findSnapshot(paths: StorePaths, chain: readonly ChainId[]): readonly string[] | undefined {
  const empty = emptyLayerPath(paths)
  if (chain.length === 0) return fs.existsSync(empty) ? [empty] : undefined
  const found: string[] = []
  for (const chainId of chain.toReversed()) {
    const layer = layerPath(paths, chainId)
    if (fs.existsSync(layer)) {
      found.push(layer)
      continue
    }
    const whole = wholePath(paths, chainId)
    return fs.existsSync(whole) ? [whole, ...found.toReversed()] : undefined
  }
  return found.toReversed()
}
