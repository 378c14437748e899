import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, Manifest, Platform } from '../model/image.ts'
import { choosePlatform, type ImageIndex, LIMITS, wrongPlatform } from './documents.ts'

interface Document {
  readonly content: Manifest | ImageIndex
}
type OfOnePlatform<D extends Document> = D & { readonly content: Manifest }

/**
 * Follows indexes down to the manifest of a platform, one after the other where they do not say what is in them. Throws
 * WRONG_PLATFORM naming all that was seen, LIMIT_EXCEEDED.
 */
export async function findPlatform<D extends Document>(
  top: D,
  wanted: Platform,
  where: string,
  read: (entry: Descriptor) => Promise<D>,
): Promise<OfOnePlatform<D>> {
  const offered = new Set<string>()
  const seen = new Set<Digest>()
  const found = await search(top, 0)
  if (found !== undefined) return found
  throw wrongPlatform(where, wanted, [...offered])

  async function search(document: D, depth: number): Promise<OfOnePlatform<D> | undefined> {
    const { content } = document
    if (!('manifests' in content)) return { ...document, content }
    if (depth === LIMITS.indexDepth) throw tooDeep(where)
    const choice = choosePlatform(content, wanted)
    for (const platform of choice.offered) offered.add(platform)
    for (const entry of choice.entries) {
      if (seen.has(entry.digest)) continue
      seen.add(entry.digest)
      if (seen.size > LIMITS.indexes) throw tooMany(where, `more than ${LIMITS.indexes} indexes without the platform`)
      const below = await search(await read(entry), depth + 1)
      if (below !== undefined) return below
    }
    return undefined
  }
}

export function tooDeep(where: string): TscrunError {
  return tooMany(where, `indexes nested deeper than ${LIMITS.indexDepth}`)
}

function tooMany(where: string, what: string): TscrunError {
  return new TscrunError('LIMIT_EXCEEDED', `${where}: ${what}`, { subject: where })
}
