import { TscrunError } from '../model/errors.ts'
import type { Platform } from '../model/image.ts'
import { formatReference, type Reference } from '../model/reference.ts'
import type { RegistryAccess } from '../registry/session.ts'
import type { PullProgress } from './progress.ts'
import { type ImageStore, noSuchImage, type StoredImage } from './store.ts'

/** When the registry is asked: if the store lacks the image, every time, never, or for a digest only. */
export type PullPolicy = 'missing' | 'always' | 'never' | 'newer'

export interface PullImageOptions extends RegistryAccess {
  readonly platform: Platform
  readonly policy: PullPolicy
  readonly onProgress?: (event: PullProgress) => void
  /** One line about something tolerated. */
  readonly onWarning?: (line: string) => void
  readonly signal?: AbortSignal
  /** Most bytes of files the image may unpack to; 0 is no limit, without it budget.ts says how many. */
  readonly maxUnpackSize?: number
  /** Layers that are fetched and unpacked at once. */
  readonly parallel?: number
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Stores the blobs of all platforms, and the index; the one of `platform` is unpacked. */
  readonly allPlatforms?: boolean
  /** Each request to a registry, one line. */
  readonly onDebug?: (line: string) => void
  /** For tests: a registry that never answers is given up after this. */
  readonly idleTimeoutMs?: number
  /** The first pause before another try. */
  readonly retryDelayMs?: number
}

/**
 * Gets an image into the store, or finds it there: with policy `missing` an image that is there costs two small
 * reads, and nothing of network or archives is even loaded.
 */
export async function pullImage(
  store: ImageStore,
  reference: Reference,
  options: PullImageOptions,
): Promise<StoredImage> {
  const name = formatReference(reference)
  const stored = options.policy === 'always' ? undefined : store.find(name, options.platform)
  if (stored !== undefined && options.policy !== 'newer') return stored
  if (options.policy === 'never') throw noSuchImage(name)
  const { fetchImage, isCurrent } = await import('./fetch.ts')
  if (stored !== undefined) {
    try {
      if (await isCurrent(store, reference, options)) return stored
    } catch (error) {
      // "newer" is a wish: without a network the image that is here serves.
      if (error instanceof TscrunError && error.code === 'NETWORK') return stored
      throw error
    }
  }
  if (options.allPlatforms !== true) return fetchImage(store, reference, options)
  const { fetchAllPlatforms } = await import('./fetch-all.ts')
  return fetchAllPlatforms(store, reference, options)
}
