import { platformFor } from '../../images/host-platform.ts'
import { pullImage, type PullImageOptions } from '../../images/pull.ts'
import type { ImageStore, StoredImage } from '../../images/store.ts'
import { TscrunError } from '../../model/errors.ts'
import { formatReference, parseReference } from '../../model/reference.ts'
import type { PullPolicy } from '../../model/run-options.ts'
import type { RegistrySettings } from '../../registry/registry-settings.ts'
import type { RegistryAccess } from '../../registry/session.ts'
import type { Listener, PullEvent } from '../api.ts'
import type { ShortNames } from './short-names.ts'

export interface GetOptions extends Listener, RegistryAccess {
  readonly platform?: string
  readonly policy: PullPolicy
  readonly names: ShortNames
  /** Stores what the registry has for other platforms too. */
  readonly allPlatforms?: boolean
  readonly maxUnpackSize?: number
  readonly onDebug?: (line: string) => void
  readonly registries?: RegistrySettings
  /** It was not in the store as it is now. */
  readonly onPulled?: (image: StoredImage) => Promise<void>
}

export interface GotImage {
  readonly image: StoredImage
  /** The complete name it was found or pulled by; empty for an id. */
  readonly name: string
}

/** The image from the store, or from its registry as the policy says. */
export async function getImage(store: ImageStore, text: string, options: GetOptions): Promise<GotImage> {
  const { platform, policy, names, onPulled, ...rest } = options
  const byId = policy === 'missing' || policy === 'never' ? findById(store, text) : undefined
  if (byId !== undefined) return { image: byId, name: '' }
  let fresh = false
  const onProgress = (event: PullEvent): void => {
    if (event.type === 'done') fresh = event.fresh
    options.onProgress?.(event)
  }
  const pull: PullImageOptions = {
    ...rest,
    onProgress,
    policy,
    platform: platformFor(platform),
  }
  await names.prepare(text)
  const stored = policy === 'always' ? undefined : storedName(store, text, options, pull.platform)
  const candidates = stored !== undefined ? [stored] : policy === 'never' ? [text] : await names.toPull(text)
  const got = await pullFirst(store, candidates, pull)
  if (fresh) await onPulled?.(got.image)
  return got
}

/** The first complete name of a short one that the store has. */
function storedName(
  store: ImageStore,
  text: string,
  { names }: GetOptions,
  platform: PullImageOptions['platform'],
): string | undefined {
  const [only, ...more] = names.local(text)
  if (only === undefined) return undefined
  return [only, ...more]
    .map((name) => formatReference(parseReference(name)))
    .find((name) => store.find(name, platform) !== undefined)
}

/** Tries the names in turn. What one registry does not have may be at the next; one that does not answer ends it. */
async function pullFirst(store: ImageStore, texts: readonly string[], pull: PullImageOptions): Promise<GotImage> {
  for (const [index, text] of texts.entries()) {
    const reference = parseReference(text)
    try {
      return { image: await pullImage(store, reference, pull), name: formatReference(reference) }
    } catch (error) {
      const isElsewhere = error instanceof TscrunError && ['NO_SUCH_IMAGE', 'REGISTRY_AUTH'].includes(error.code)
      if (!isElsewhere || index === texts.length - 1) throw error
      pull.onWarning?.(error.message)
    }
  }
  throw new Error('no name to pull by')
}

/** `tscrun run 3f2a9c...`: an id is no name that a registry could be asked for. */
function findById(store: ImageStore, text: string): StoredImage | undefined {
  return /^(?:sha256:)?[0-9a-f]{12,64}$/.test(text) ? store.find(text) : undefined
}
