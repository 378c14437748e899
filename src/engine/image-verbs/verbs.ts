import type { ImageStore, ImageUse } from '../../images/store.ts'
import { parseReference } from '../../model/reference.ts'
import type { ImageSummary, PulledImage, PullOptions, RemovedImage } from '../api.ts'
import { viewContainers } from '../state/containers-view.ts'
import { getImage, type GetOptions } from './get-image.ts'
import { mountedImages } from './mounts.ts'
import type { EnginePaths } from '../paths.ts'

export async function pullVerb(
  store: ImageStore,
  text: string,
  options: PullOptions & Pick<GetOptions, 'names' | 'onDebug' | 'registries'>,
): Promise<PulledImage> {
  const { image, name } = await getImage(store, text, { ...options, policy: 'always' })
  return { id: image.id, reference: name, digest: image.manifest.digest }
}

/** One row a name; an image without a name has one row too. */
export function imageSummaries(store: ImageStore): ImageSummary[] {
  const summaries = store.list().flatMap((image): readonly ImageSummary[] => {
    const created = image.created === undefined ? Number.NaN : Date.parse(image.created)
    const common = {
      id: image.id,
      digest: image.manifest.digest,
      size: image.size,
      labels: Object.fromEntries(image.config.labels),
      ...(Number.isNaN(created) ? {} : { createdMs: created }),
    }
    if (image.names.length === 0) return [common]
    return image.names.map((name): ImageSummary => {
      const { registry, repository, tag } = parseReference(name)
      return { ...common, repository: `${registry}/${repository}`, ...(tag === undefined ? {} : { tag }) }
    })
  })
  return summaries.toSorted((a, b) => (b.createdMs ?? 0) - (a.createdMs ?? 0))
}

export async function removeImageVerb(
  paths: EnginePaths,
  store: ImageStore,
  name: string,
  removal: { readonly force: boolean; readonly allNames?: boolean },
): Promise<RemovedImage> {
  const users = new Map(
    viewContainers(paths).flatMap(({ record }) =>
      record.imageId === undefined ? [] : [[record.imageId, record.name]],
    ),
  )
  const inUse = (id: string): false | string | ImageUse => users.get(id) ?? mountUse(paths, id) ?? false
  const { untagged, deleted } = await store.remove(name, { ...removal, inUse })
  return { untagged, deleted: deleted === undefined ? [] : [deleted] }
}

function mountUse(paths: EnginePaths, id: string): ImageUse | undefined {
  const mounted = mountedImages(paths).find((one) => one.id === id)
  return mounted === undefined
    ? undefined
    : { how: `mounted on ${mounted.path}`, hint: 'take it off first: `tscrun image unmount`' }
}
