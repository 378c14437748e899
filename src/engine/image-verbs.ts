import { pullImage } from '../images/pull.ts'
import { hostPlatform } from '../images/host-platform.ts'
import type { ImageStore, StoredImage } from '../images/store.ts'
import { parsePlatform } from '../model/platform.ts'
import { formatReference, parseReference } from '../model/reference.ts'
import type { PullPolicy } from '../model/run-options.ts'
import type { ImageSummary, Listener, PulledImage, PullOptions, RemovedImage } from './api.ts'
import { viewContainers } from './containers-view.ts'
import type { EnginePaths } from './paths.ts'

export interface GetOptions extends Listener {
  readonly platform?: string
  readonly policy: PullPolicy
  readonly tlsVerify?: boolean
}

/** The image from the store, or from its registry as the policy says. */
export async function getImage(store: ImageStore, image: string, options: GetOptions): Promise<StoredImage> {
  const byId = options.policy === 'missing' || options.policy === 'never' ? findById(store, image) : undefined
  if (byId !== undefined) return byId
  return pullImage(store, parseReference(image), {
    platform: options.platform === undefined ? hostPlatform() : parsePlatform(options.platform),
    policy: options.policy,
    ...(options.tlsVerify === undefined ? {} : { tlsVerify: options.tlsVerify }),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
}

/** `tscrun run 3f2a9c...`: an id is no name that a registry could be asked for. */
function findById(store: ImageStore, text: string): StoredImage | undefined {
  return /^(?:sha256:)?[0-9a-f]{12,64}$/.test(text) ? store.find(text) : undefined
}

export async function pullVerb(store: ImageStore, reference: string, options: PullOptions): Promise<PulledImage> {
  const image = await getImage(store, reference, { ...options, policy: 'always' })
  return { id: image.id, reference: formatReference(parseReference(reference)), digest: image.manifest.digest }
}

/** One row a name; an image without a name has one row too. */
export function imageSummaries(store: ImageStore): ImageSummary[] {
  return store.list().flatMap((image) => {
    const created = image.created === undefined ? Number.NaN : Date.parse(image.created)
    const common = {
      id: image.id,
      digest: image.manifest.digest,
      size: image.size,
      ...(Number.isNaN(created) ? {} : { createdMs: created }),
    }
    if (image.names.length === 0) return [common]
    return image.names.map((name): ImageSummary => {
      const { registry, repository, tag } = parseReference(name)
      return { ...common, repository: `${registry}/${repository}`, ...(tag === undefined ? {} : { tag }) }
    })
  })
}

export async function removeImageVerb(paths: EnginePaths, store: ImageStore, name: string, force: boolean): Promise<RemovedImage> {
  const users = new Map(viewContainers(paths).flatMap(({ record }) => (record.imageId === undefined ? [] : [[record.imageId, record.name]])))
  const { untagged, deleted } = await store.remove(name, { force, inUse: (id) => users.get(id) ?? false })
  return { untagged, deleted: deleted === undefined ? [] : [deleted] }
}
