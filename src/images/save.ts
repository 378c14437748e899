import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import { formatReference, parseReference } from '../model/reference.ts'
import { dirTarget, ociDirectoryTarget } from './archives/directories.ts'
import { createDockerArchive, createOciArchive, type ImageArchive } from './archives/write.ts'
import { copyImage } from './copy.ts'
import { storeSource } from './store-source.ts'
import type { ImageStore } from './store.ts'
import type { ImageTarget } from './transport.ts'

export type SaveRequest =
  | {
      readonly format: 'docker-archive' | 'oci-archive'
      /** Gets the archive's bytes in order. */
      readonly take: (chunk: Buffer) => Promise<void> | void
      readonly signal?: AbortSignal
    }
  | { readonly format: 'oci-dir' | 'docker-dir'; readonly directory: string; readonly signal?: AbortSignal }

/** Writes images of the store to an archive or a directory. Throws NO_SUCH_IMAGE before anything is written. */
export async function saveImages(store: ImageStore, wanted: readonly string[], request: SaveRequest): Promise<void> {
  using _hold = await store.hold(request.signal)
  const images = chosen(store, wanted)
  if (request.format === 'docker-dir' && images.size > 1) {
    throw new TscrunError('USAGE', 'save --format docker-dir: it holds one image', { subject: '--format' })
  }
  if ('directory' in request) {
    for (const [id, names] of images) {
      const { directory, format } = request
      const target = format === 'oci-dir' ? ociDirectoryTarget(directory, names) : dirTarget(directory)
      await saveOne(store, id, target, request.signal)
    }
    return
  }
  const archive: ImageArchive =
    request.format === 'oci-archive'
      ? createOciArchive(request.take, 'the archive')
      : createDockerArchive(request.take, 'the archive', store.paths.work)
  try {
    for (const [id, names] of images) await saveOne(store, id, archive.target(names), request.signal)
    await archive.finish()
  } catch (error) {
    archive.abort()
    throw error
  }
}

/** Each image once, with the names it was asked for by; an id is no name. */
function chosen(store: ImageStore, wanted: readonly string[]): ReadonlyMap<Digest, readonly string[]> {
  const images = new Map<Digest, string[]>()
  for (const text of wanted) {
    const { image } = storeSource(store, text)
    const names = images.get(image.id) ?? []
    images.set(image.id, names)
    const full = image.names.find(
      (name) => name === text || (isName(text) && name === formatReference(parseReference(text))),
    )
    if (full !== undefined && !full.includes('@') && !names.includes(full)) names.push(full)
  }
  return images
}

function isName(text: string): boolean {
  return !/^(?:sha256:)?[0-9a-f]{4,64}$/.test(text)
}

async function saveOne(
  store: ImageStore,
  id: Digest,
  target: ImageTarget,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = storeSource(store, id)
  await copyImage(source, target, {
    verb: 'copy',
    platform: source.image.config.platform,
    // Members of an archive come one after the other.
    parallel: 1,
    ...(signal === undefined ? {} : { signal }),
  })
}
