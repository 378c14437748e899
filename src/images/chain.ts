import { createHash } from 'node:crypto'
import type { ChainId, Digest, DiffId } from '../model/digest.ts'

/** sha256 of bytes as a digest. */
export function digestOf(bytes: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest
}

/** The chain id of each layer, bottom to top (image-spec config.md, Layer ChainID). */
export function chainIds(diffIds: readonly DiffId[]): readonly ChainId[] {
  const chain: ChainId[] = []
  for (const diffId of diffIds) {
    const below = chain.at(-1)
    chain.push((below === undefined ? diffId : digestOf(`${below} ${diffId}`)) as unknown as ChainId)
  }
  return chain
}
