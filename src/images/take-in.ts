import type { Manifest, Platform } from '../model/image.ts'
import { formatPlatform, platformDistance } from '../model/platform.ts'
import { storeBlob } from './blobs.ts'
import { narrow, type ReadDocument, readDocument } from './copy.ts'
import { parseImageConfig, parseManifest, wrongPlatform } from './documents.ts'
import { writeDurably } from './files.ts'
import { blobPath } from './layout.ts'
import { collectRefused, noteRefused } from './refused.ts'
import type { ImageStore, StoredImage } from './store.ts'
import type { ImageSource } from './transport.ts'
import { type UnpackOptions, unpackImage, wantedLayers } from './unpack-image.ts'

export interface TakeInOptions extends Omit<UnpackOptions, 'name' | 'verb'> {
  readonly platform: Platform
  /** Complete references. */
  readonly names: readonly string[]
}

/** Puts an image from anywhere into the store, unpacked: every byte is checked as in a pull. */
export async function takeIn(store: ImageStore, source: ImageSource, options: TakeInOptions): Promise<StoredImage> {
  try {
    return await takeInHolding(store, source, options)
  } catch (error) {
    await collectRefused(store, error)
    throw error
  }
}

async function takeInHolding(
  store: ImageStore,
  source: ImageSource,
  { platform, names, ...options }: TakeInOptions,
): Promise<StoredImage> {
  using _hold = await store.hold(options.signal)
  const top = await readDocument(source, undefined)
  const found = await narrow(source, top, platform)
  // Once more as what is to run, not only to be copied.
  const content = parseManifest(found.bytes, found.mediaType, `manifest of ${source.name}`)
  if ('manifests' in content) throw new Error('an index of one platform')
  try {
    return await takeFound(store, source, {
      ...options,
      platform,
      names,
      digest: found.digest,
      bytes: found.bytes,
      content,
    })
  } catch (error) {
    throw noteRefused(error)
  }
}

interface FoundImage extends TakeInOptions, Pick<ReadDocument, 'bytes' | 'digest'> {
  readonly content: Manifest
}

async function takeFound(
  store: ImageStore,
  source: ImageSource,
  { platform, names, digest, bytes, content, ...options }: FoundImage,
): Promise<StoredImage> {
  const { paths } = store
  writeDurably(blobPath(paths, digest), bytes, paths.work)
  const { signal } = options
  await storeBlob(
    paths,
    content.config,
    (offset) => source.blob(content.config, offset),
    signal === undefined ? {} : { signal },
  )
  const config = parseImageConfig(store.readBlob(content.config.digest), `config of ${source.name}`)
  if (platformDistance(platform, config.platform) === undefined) {
    throw wrongPlatform(`image of ${source.name}`, platform, [formatPlatform(config.platform)])
  }
  const image = {
    id: content.config.digest,
    resolved: digest,
    manifest: { mediaType: content.mediaType, digest, size: bytes.length },
    config,
    layers: wantedLayers(content, config, source.name),
  }
  const [first, ...others] = names
  const stored = await unpackImage(store, image, source, {
    ...options,
    verb: 'load',
    ...(first === undefined ? {} : { name: first }),
  })
  for (const name of others) await store.tag(stored.id, name)
  return stored
}
