import { join } from 'node:path'
import { type ChainId, type Digest, hexOf } from '../model/digest.ts'

/** Where everything of a store lies. */
export interface StorePaths {
  readonly root: string
  /** An OCI image layout (image-spec image-layout.md). */
  readonly images: string
  readonly index: string
  readonly blobs: string
  /** What the start of a container needs of an image, a file each, by config digest. */
  readonly records: string
  /** One directory a layer, which is its tree, by chain id; snapshot.ts says what else. */
  readonly layers: string
  /** Half-made blobs and layers, each beside a lock. */
  readonly work: string
  /** Held while the index is rewritten. */
  readonly indexLock: string
  /** Shared by who uses things no image names yet, exclusive for who deletes such things. */
  readonly useLock: string
}

export function storePaths(root: string): StorePaths {
  const images = join(root, 'images')
  return {
    root,
    images,
    index: join(images, 'index.json'),
    blobs: join(images, 'blobs', 'sha256'),
    records: join(root, 'records'),
    layers: join(root, 'layers'),
    work: join(root, 'work'),
    indexLock: join(root, 'index.lock'),
    useLock: join(root, 'use.lock'),
  }
}

export function blobPath(paths: StorePaths, digest: Digest): string {
  return join(paths.blobs, hexOf(digest))
}

export function layerPath(paths: StorePaths, chainId: ChainId): string {
  return join(paths.layers, hexOf(chainId))
}

/** In place of `layerPath` where overlayfs cannot be given the layer: its tree with marks by name. */
export function markedLayerPath(paths: StorePaths, chainId: ChainId): string {
  return `${layerPath(paths, chainId)}${MARKED}`
}

/** Whether `markedLayerPath` made it. */
export function isMarkedLayer(path: string): boolean {
  return path.endsWith(MARKED)
}

const MARKED = '.marked'

/** The layer and all below it, copied into one tree. */
export function wholePath(paths: StorePaths, chainId: ChainId): string {
  return `${layerPath(paths, chainId)}.whole`
}

/** What an image without layers has in their place: overlayfs wants one. */
export function emptyLayerPath(paths: StorePaths): string {
  return join(paths.layers, 'empty')
}

export function recordPath(paths: StorePaths, id: Digest): string {
  return join(paths.records, `${hexOf(id)}.json`)
}
