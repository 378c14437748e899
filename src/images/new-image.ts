import type { Descriptor, Manifest } from '../model/image.ts'
import { digestOf } from './chain.ts'
import { LIMITS, MEDIA_TYPES, parseImageConfig } from './documents.ts'
import { writeDurably } from './files.ts'
import * as json from './json.ts'
import { blobPath } from './layout.ts'
import type { MadeLayer } from './make-layer.ts'
import type { ImageStore, StoredImage } from './store.ts'
import { type UnpackOptions, unpackImage, wantedLayers } from './unpack-image.ts'

const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'

/** One line of an image's history (image-spec config.md). */
export interface HistoryEntry {
  readonly created?: string
  readonly created_by?: string
  readonly author?: string
  readonly comment?: string
  readonly empty_layer?: boolean
}

/** An image's config as it stands, with all that tscrun itself does not use. */
export interface RawConfig {
  readonly document: json.JsonObject
  readonly config: json.JsonObject
  readonly diffIds: readonly string[]
  readonly history: readonly HistoryEntry[]
}

/** Throws INVALID_IMAGE. */
export function rawConfig(bytes: Uint8Array, where: string): RawConfig {
  const document = json.parseJsonObject(bytes, where, LIMITS.config)
  const { diffIds } = parseImageConfig(bytes, where)
  const history = json.list(document, 'history', where, 10_000).map((item) => {
    const entry = json.asObject(item, `${where} history`)
    const text = (key: string): object => {
      const value = json.optionalString(entry, key, `${where} history`)
      return value === undefined ? {} : { [key]: value }
    }
    const empty = json.get(entry, 'empty_layer') === true
    return {
      ...text('created'),
      ...text('created_by'),
      ...text('author'),
      ...text('comment'),
      ...(empty ? { empty_layer: true } : {}),
    }
  })
  return { document, config: json.asObject(json.get(document, 'config') ?? {}, `${where} config`), diffIds, history }
}

/** What a new image is made of. */
export interface NewImage {
  /** The layers below, with the config they come with; absent for an image of its own. */
  readonly base?: { readonly manifest: Manifest; readonly raw: RawConfig }
  /** Absent where nothing has changed. */
  readonly layer?: MadeLayer
  /** The `config` object: Env, Cmd, ... */
  readonly config: Readonly<Record<string, unknown>>
  readonly platform: { readonly os: string; readonly architecture: string; readonly variant?: string }
  /** RFC 3339. */
  readonly created: string
  readonly history: Omit<HistoryEntry, 'created' | 'empty_layer'>
}

/** Writes the documents of a new image, unpacks what is new and lists it. The caller holds the store. */
export async function addNewImage(store: ImageStore, image: NewImage, options: UnpackOptions): Promise<StoredImage> {
  const layers = [
    ...(image.base?.manifest.layers ?? []).map(asOci),
    ...(image.layer === undefined ? [] : [image.layer.blob]),
  ]
  const put = (content: object, mediaType: string): Descriptor => {
    const bytes = Buffer.from(JSON.stringify(content))
    const digest = digestOf(bytes)
    writeDurably(blobPath(store.paths, digest), bytes, store.paths.work)
    return { mediaType, digest, size: bytes.length }
  }
  const document = configDocument(image)
  const config = put(document, OCI_CONFIG)
  const manifest: Manifest = { mediaType: MEDIA_TYPES.ociManifest, config, layers }
  const descriptor = put({ schemaVersion: 2, ...manifest }, MEDIA_TYPES.ociManifest)
  const parsed = parseImageConfig(Buffer.from(JSON.stringify(document)), 'config of the new image')
  const wanted = wantedLayers(manifest, parsed, 'the new image')
  const resolved = {
    id: config.digest,
    resolved: descriptor.digest,
    manifest: descriptor,
    config: parsed,
    layers: wanted,
  }
  const missing = (): never => {
    throw new Error('a blob of the store is missing')
  }
  return unpackImage(store, resolved, { blob: missing }, options)
}

function configDocument(image: NewImage): object {
  const { base, layer, created, platform } = image
  const entry = { created, ...image.history, ...(layer === undefined ? { empty_layer: true } : {}) }
  return {
    created,
    ...(image.history.author === undefined ? {} : { author: image.history.author }),
    ...platform,
    config: image.config,
    rootfs: {
      type: 'layers',
      diff_ids: [...(base?.raw.diffIds ?? []), ...(layer === undefined ? [] : [layer.diffId])],
    },
    history: [...(base === undefined ? [] : completeHistory(base.raw, created)), entry],
  }
}

/** A line for each layer, also where the image below has none: readers count them. */
function completeHistory({ history, diffIds }: RawConfig, created: string): readonly HistoryEntry[] {
  const told = history.filter((entry) => entry.empty_layer !== true).length
  const missing = Math.max(0, diffIds.length - told)
  return [...Array.from({ length: missing }, () => ({ created, comment: 'not told' })), ...history]
}

/** Docker's names of the same layers, which an OCI manifest does not have. */
function asOci(layer: Descriptor): Descriptor {
  const docker = /^application\/vnd\.docker\.image\.rootfs\.(foreign\.)?diff\.tar(?:\.(gzip|zstd))?$/.exec(
    layer.mediaType,
  )
  if (docker === null) return layer
  const [, foreign, compression] = docker
  const kind = foreign === undefined ? 'v1.tar' : 'nondistributable.v1.tar'
  const mediaType = `application/vnd.oci.image.layer.${kind}${compression === undefined ? '' : `+${compression}`}`
  return { mediaType, digest: layer.digest, size: layer.size }
}
