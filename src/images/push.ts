import { hexOf, type Digest } from '../model/digest.ts'
import type { Descriptor } from '../model/image.ts'
import { parseReference, type Reference } from '../model/reference.ts'
import { copyImage } from './copy.ts'
import { parseManifest } from './documents.ts'
import { dockerTarget } from './docker-transport.ts'
import { readIfThere } from './files.ts'
import { blobPath } from './layout.ts'
import type { ReachOptions } from './open-registry.ts'
import { packedSource } from './packed-source.ts'
import type { Packing } from './packer.ts'
import { storeSource } from './store-source.ts'
import type { ImageStore } from './store.ts'

export interface PushImageOptions extends ReachOptions {
  /** Blobs on their way at once. */
  readonly parallel?: number
  /** Its layers are packed anew: it gets another digest then, and goes without the index it came from. */
  readonly packing?: Packing
}

/**
 * Sends an image of the store to a registry, byte for byte, so that it has the same digest there; an index goes whole
 * where it was stored whole. With `packing` the layers are others. Answers the digest.
 */
export async function pushImage(
  store: ImageStore,
  nameOrId: string,
  destination: Reference,
  options: PushImageOptions,
): Promise<Digest> {
  using _hold = await store.hold(options.signal)
  const stored = storeSource(store, nameOrId)
  const { packing, signal } = options
  const target = dockerTarget(destination, { ...options, mountFrom: neighbours(store, destination) })
  try {
    const place = {
      manifest: stored.image.manifest,
      work: store.paths.work,
      ...(signal === undefined ? {} : { signal }),
    }
    const source = packing === undefined ? stored : await packedSource(stored, packing, place)
    try {
      return await copyImage(source, target, { ...options, verb: 'push', platform: 'all' })
    } finally {
      await source.close()
    }
  } finally {
    await target.close()
  }
}

/** Which other repositories of a registry have a blob, by what was pulled from there. */
function neighbours(store: ImageStore, destination: Reference): (descriptor: Descriptor) => readonly string[] {
  let known: Map<string, Set<string>> | undefined
  const learn = (): Map<string, Set<string>> => {
    const found = new Map<string, Set<string>>()
    for (const image of store.list()) {
      const repositories = image.names
        .map((name) => parseReference(name))
        .filter(
          ({ registry, repository }) => registry === destination.registry && repository !== destination.repository,
        )
      if (repositories.length === 0) continue
      const bytes = readIfThere(blobPath(store.paths, image.manifest.digest))
      if (bytes === undefined) continue
      const manifest = parseManifest(bytes, undefined, `stored manifest ${image.manifest.digest}`, { artifacts: true })
      if ('manifests' in manifest) continue
      for (const { digest } of [manifest.config, ...manifest.layers]) {
        const set = found.get(hexOf(digest)) ?? new Set()
        found.set(hexOf(digest), set)
        for (const { repository } of repositories) set.add(repository)
      }
    }
    return found
  }
  return ({ digest }) => {
    known ??= learn()
    return [...(known.get(hexOf(digest)) ?? [])]
  }
}
