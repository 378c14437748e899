import { type Digest, hexOf } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, ImageConfig, Manifest } from '../model/image.ts'
import { filesystemOf } from '../overlayfs/support.ts'
import { createImageBudget, exceeded, requireRoom, type UnpackLimits, unpackLimits } from './budget.ts'
import { chainIds } from './chain.ts'
import type { Spares } from './extractor-process.ts'
import { type BlobReader, fetchLayers } from './fetch-layers.ts'
import { storeError } from './files.ts'
import { flatten } from './flatten.ts'
import { hasBlob, sweepWork } from './garbage.ts'
import type { LayerFacts } from './layer-facts.ts'
import type { WantedLayer } from './layers.ts'
import type { TransferVerb } from './progress.ts'
import type { PullImageOptions } from './pull.ts'
import type { ImageStore, StoredImage } from './store.ts'
import { createSync } from './sync.ts'

/** An image whose manifest and config are in the store and have been checked. */
export interface ResolvedImage {
  readonly id: Digest
  /** What its name stands for where it comes from: an index or a manifest. */
  readonly resolved: Digest
  readonly manifest: Descriptor
  readonly config: ImageConfig
  readonly layers: readonly WantedLayer[]
}

export type UnpackOptions = Pick<PullImageOptions, 'onProgress' | 'onWarning' | 'parallel' | 'maxUnpackSize'> & {
  /** Bytes it came as, where that is not the sum of its blobs. */
  readonly fetched?: number
  /** Without one the image has an id only. */
  readonly name?: string
  readonly verb?: TransferVerb
  readonly signal?: AbortSignal
  /** Extractors that have been started ahead. */
  readonly spares?: Spares
  /** Aborted by the first failure of one part, so that it ends the others. */
  readonly stop?: AbortController
}

/** The layers of an image with all their names. Throws INVALID_IMAGE where manifest and config do not fit. */
export function wantedLayers(manifest: Manifest, config: ImageConfig, where: string): readonly WantedLayer[] {
  if (config.diffIds.length !== manifest.layers.length) {
    throw new TscrunError(
      'INVALID_IMAGE',
      `${where}: ${manifest.layers.length} layers, but its config has ${config.diffIds.length}`,
    )
  }
  const chain = chainIds(config.diffIds)
  return manifest.layers.map((blob, i): WantedLayer => {
    const [diffId, chainId] = [config.diffIds[i], chain[i]]
    if (diffId === undefined || chainId === undefined) throw new Error('lists of one length differ')
    return { blob, diffId, chainId }
  })
}

/** Gets the layers of an image, unpacks them and lists the image. The caller holds the store. */
export async function unpackImage(
  store: ImageStore,
  image: ResolvedImage,
  blobs: BlobReader,
  options: UnpackOptions,
): Promise<StoredImage> {
  const { stop = new AbortController() } = options
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  const { name, verb = 'pull' } = options
  try {
    options.onProgress?.({ type: 'resolved', verb, reference: name ?? image.id, digest: image.resolved })
    sweepWork(store.paths, new Set(image.layers.map((layer) => hexOf(layer.blob.digest))))
    const budget = createImageBudget(limitsOf(store, image, options))
    const sync = createSync(store.paths.layers)
    const onUnsynced = (): void => sync.begin()
    const fetching = { ...options, budget, signal, stop, onUnsynced }
    const { facts, unsynced } = await fetchLayers(store, blobs, image.layers, fetching)
    // Where somebody has asked for a limit, what was there before counts too.
    if (options.maxUnpackSize !== undefined) checkSize(sum(facts), budget.limits)
    const chain = image.layers.map((layer) => layer.chainId)
    const onCopy = (): void => options.onWarning?.(copyWarning(store.paths.root))
    const copied = await flatten(store.paths, chain, { signal, limits: budget.limits, onCopy })
    // Once for all layers, before the index names them: a listed image survives a power cut.
    if (unsynced || copied) await sync.finish()
    const { manifest, config, id } = image
    const fresh = name === undefined || store.resolvedDigest(name) !== image.resolved
    const record = { id, manifest, config, chain, size: sum(facts), ...highest(facts) }
    const stored = await store.add(record, name, image.resolved)
    options.onProgress?.({ type: 'done', verb, reference: name ?? image.id, digest: image.resolved, fresh })
    return stored
  } catch (error) {
    if (options.signal?.aborted === true) throw error
    throw storeError(error, store.paths.root)
  }
}

function sum(facts: readonly LayerFacts[]): number {
  return facts.reduce((total, { bytes }) => total + bytes, 0)
}

function highest(facts: readonly LayerFacts[]): { readonly highestId?: number } {
  const ids = facts.flatMap(({ highestId }) => highestId ?? [])
  return ids.length === 0 ? {} : { highestId: Math.max(...ids) }
}

function checkSize(bytes: number, limits: UnpackLimits): void {
  const error = exceeded({ bytes, sizes: 0, entries: 0, tarBytes: 0 }, limits)
  if (error !== undefined) throw error
}

/** Throws LIMIT_EXCEEDED, NO_SPACE where the blobs alone are too much: before one of them is fetched. */
function limitsOf(
  { paths }: ImageStore,
  { layers }: ResolvedImage,
  { maxUnpackSize, fetched }: UnpackOptions,
): UnpackLimits {
  const blobs = layers.map(({ blob }) => blob)
  const total = blobs.reduce((bytes, { size }) => bytes + size, 0)
  const limits = unpackLimits(maxUnpackSize, fetched ?? total, paths.root)
  const error = exceeded({ bytes: 0, sizes: 0, entries: 0, tarBytes: total }, limits)
  if (error !== undefined) throw error
  const missing = blobs.filter(({ digest, size }) => !hasBlob(paths, digest, size))
  const bytes = missing.reduce((sum, { size }) => sum + size, 0)
  if (bytes > 0) requireRoom(paths.root, bytes, limits.reserve, 'fetch layers')
  return limits
}

function copyWarning(root: string): string {
  return `the layers are copied into one tree, which can take their space twice: ${root} (${filesystemOf(root)}) cannot hold whiteouts`
}
