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
import type { ImageStore, StoredImage } from './store.ts'
import type { ImageTarget } from './transport.ts'

/** Stores everything an index names, attestations too; then unpacks the image of one platform from that. */
export async function fetchAllPlatforms(
  store: ImageStore,
  reference: Reference,
  options: PullImageOptions,
): Promise<StoredImage> {
  // Until the name is in the index nobody may take the blobs for garbage.
  using _hold = await store.hold(options.signal)
  const source = dockerSource(reference, options)
  try {
    // The pull tells of its beginning and its end itself.
    const onProgress = (event: PullProgress): void => {
      if (event.type !== 'resolved' && event.type !== 'done') options.onProgress?.(event)
    }
    const target = blobsOf(store.paths, options.signal)
    await copyImage(source, target, { ...options, verb: 'pull', onProgress, platform: 'all' })
  } catch (error) {
    throw storeError(error, store.paths.root)
  } finally {
    await source.close()
  }
  return await fetchImage(store, reference, options)
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
