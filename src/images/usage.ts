import type { ChainId, Digest } from '../model/digest.ts'
import { readFacts } from './layer-facts.ts'
import type { StorePaths } from './layout.ts'
import { readRecord } from './record.ts'
import type { StoredImage } from './store.ts'

/** What an image's layers take, and how much of it is its alone. */
export interface ImageUsage {
  readonly image: StoredImage
  readonly bytes: number
  /** Of layers that no other image has. */
  readonly uniqueBytes: number
}

export interface ImagesUsage {
  readonly images: readonly ImageUsage[]
  /** Every layer once. */
  readonly bytes: number
  /** Every layer once that an image in use has. */
  readonly usedBytes: number
}

/** Bytes of file data, as they were counted when the layers were unpacked. */
export function imagesUsage(
  paths: StorePaths,
  stored: readonly StoredImage[],
  isUsed: (id: Digest) => boolean,
): ImagesUsage {
  const chains = stored.map((image) => ({ image, chain: readRecord(paths, image.id)?.chain ?? [] }))
  const sizes = new Map<ChainId, number>()
  const owners = new Map<ChainId, number>()
  for (const chainId of chains.flatMap(({ chain }) => chain)) {
    if (!sizes.has(chainId)) sizes.set(chainId, readFacts(paths, chainId)?.bytes ?? 0)
    owners.set(chainId, (owners.get(chainId) ?? 0) + 1)
  }
  const sum = (chain: Iterable<ChainId>): number =>
    [...chain].reduce((total, chainId) => total + (sizes.get(chainId) ?? 0), 0)
  const used = chains.flatMap(({ image, chain }) => (isUsed(image.id) ? chain : []))
  return {
    images: chains.map(({ image, chain }) => ({
      image,
      bytes: sum(chain),
      uniqueBytes: sum(chain.filter((chainId) => owners.get(chainId) === 1)),
    })),
    bytes: sum(sizes.keys()),
    usedBytes: sum(new Set(used)),
  }
}
