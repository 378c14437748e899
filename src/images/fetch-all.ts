import type { Reference } from '../model/reference.ts'
import { storeBlob } from './blobs.ts'
import { copyImage } from './copy.ts'
import { dockerSource } from './docker-transport.ts'
import { fetchImage } from './fetch.ts'
import { storeError, writeDurably } from './files.ts'
import { hasBlob } from './garbage.ts'
import { blobPath, type StorePaths } from './layout.ts'
import type { PullProgress } from './progress.ts'
import type { PullImageOptions } from './pull.ts'
import { collectRefused, noteRefused } from './refused.ts'
import type { ImageStore, StoredImage } from './store.ts'
import type { ImageTarget } from './transport.ts'

/** Stores everything an index names, attestations too; then unpacks the image of one platform from that. */
export async function fetchAllPlatforms(
  store: ImageStore,
  reference: Reference,
  options: PullImageOptions,
): Promise<StoredImage> {
  try {
    // Until the name is in the index nobody may take the blobs for garbage.
    using _hold = await store.hold(options.signal)
    await fetchBlobs(store, reference, options)
    return await fetchImage(store, reference, options)
  } catch (error) {
    await collectRefused(store, error)
    throw error
  }
}

/** The blobs of all platforms, and every document that leads to them. */
async function fetchBlobs(store: ImageStore, reference: Reference, options: PullImageOptions): Promise<void> {
  const source = dockerSource(reference, options)
  let isFound = false
  try {
    // The pull tells of its beginning and its end itself.
    const onProgress = (event: PullProgress): void => {
      if (event.type === 'resolved') isFound = true
      else if (event.type !== 'done') options.onProgress?.(event)
    }
    const target = blobsOf(store.paths, options.signal)
    await copyImage(source, target, { ...options, verb: 'pull', onProgress, platform: 'all' })
  } catch (error) {
    const told = storeError(error, store.paths.root)
    throw isFound ? noteRefused(told) : told
  } finally {
    await source.close()
  }
}

/** The blobs of a store as a target: documents are blobs too, and no name is given. */
function blobsOf(paths: StorePaths, signal: AbortSignal | undefined): ImageTarget {
  return {
    name: paths.images,
    takesIndex: true,
    hasBlob: async ({ digest, size }) => hasBlob(paths, digest, size),
    async putBlob(descriptor, content) {
      await storeBlob(paths, descriptor, content, signal === undefined ? {} : { signal })
      return 'copied'
    },
    putDocument: async ({ bytes, digest }) => writeDurably(blobPath(paths, digest), bytes, paths.work),
    finish: async () => undefined,
    close: async () => undefined,
  }
}
