import { hostPlatform } from '../images/host-platform.ts'
import { pullImage } from '../images/pull.ts'
import type { ImageStore, StoredImage } from '../images/store.ts'
import { parsePlatform } from '../model/platform.ts'
import { parseReference } from '../model/reference.ts'
import type { PullPolicy } from '../model/run-options.ts'
import type { Listener, PullEvent } from './api.ts'

export interface GetOptions extends Listener {
  readonly platform?: string
  readonly policy: PullPolicy
  readonly tlsVerify?: boolean
  /** It was not in the store as it is now. */
  readonly onPulled?: (image: StoredImage) => Promise<void>
}

/** The image from the store, or from its registry as the policy says. */
export async function getImage(store: ImageStore, image: string, options: GetOptions): Promise<StoredImage> {
  const byId = options.policy === 'missing' || options.policy === 'never' ? findById(store, image) : undefined
  if (byId !== undefined) return byId
  let fresh = false
  const onProgress = (event: PullEvent): void => {
    if (event.type === 'done') fresh = event.fresh
    options.onProgress?.(event)
  }
  const pulled = await pullImage(store, parseReference(image), {
    onProgress,
    platform: options.platform === undefined ? hostPlatform() : parsePlatform(options.platform),
    policy: options.policy,
    ...(options.tlsVerify === undefined ? {} : { tlsVerify: options.tlsVerify }),
    ...(options.onWarning === undefined ? {} : { onWarning: options.onWarning }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  if (fresh) await options.onPulled?.(pulled)
  return pulled
}

/** `tscrun run 3f2a9c...`: an id is no name that a registry could be asked for. */
function findById(store: ImageStore, text: string): StoredImage | undefined {
  return /^(?:sha256:)?[0-9a-f]{12,64}$/.test(text) ? store.find(text) : undefined
}
