import * as fs from 'node:fs'
import { type Digest, parseDigest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, Manifest } from '../model/image.ts'
import { formatPlatform, platformDistance } from '../model/platform.ts'
import { formatReference, type Reference } from '../model/reference.ts'
import { manifestReference, type RegistryClient } from '../registry/client.ts'
import { storeBlob } from './blobs.ts'
import { digestOf } from './chain.ts'
import { type ImageIndex, LIMITS, parseImageConfig, parseManifest, wrongPlatform } from './documents.ts'
import { ACCEPT } from './docker-transport.ts'
import { findPlatform } from './find-platform.ts'
import { otherPlaceOf } from './fetch-layers.ts'
import { startSpares } from './extractor-process.ts'
import { storeError, writeDurably } from './files.ts'
import { blobPath } from './layout.ts'
import { openForReading } from './open-registry.ts'
import type { PullImageOptions } from './pull.ts'
import { collectRefused, noteRefused } from './refused.ts'
import type { ImageStore, StoredImage } from './store.ts'
import { type ResolvedImage, unpackImage, wantedLayers } from './unpack-image.ts'

/** Extractors that start while the registry is asked for the manifest: more would take the processor from asking. */
const SPARES = 2

/** True where the registry still has for a tag what it had at the last pull. */
export async function isCurrent(store: ImageStore, reference: Reference, options: PullImageOptions): Promise<boolean> {
  if (reference.digest !== undefined) return true
  const client = openForReading(reference, options)
  try {
    const digest = await client.manifestDigest(manifestReference(reference), ACCEPT)
    return digest !== undefined && digest === store.resolvedDigest(formatReference(reference))
  } finally {
    client.close()
  }
}

/** Asks the registry for an image and stores it: documents checked, layers verified while they stream and unpack. */
export async function fetchImage(
  store: ImageStore,
  reference: Reference,
  options: PullImageOptions,
): Promise<StoredImage> {
  try {
    return await fetchHolding(store, reference, options)
  } catch (error) {
    await collectRefused(store, error)
    throw error
  }
}

async function fetchHolding(store: ImageStore, reference: Reference, options: PullImageOptions): Promise<StoredImage> {
  // The first failure of one part ends the others, also what they wait for of the registry.
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  const client = openForReading(reference, { ...options, signal })
  let isFound = false
  try {
    using _hold = await store.hold(signal)
    const name = formatReference(reference)
    // An image that is here may well be what the registry has: then there is nothing to unpack.
    using spares = startSpares(store.resolvedDigest(name) === undefined ? SPARES : 0)
    const found = await findManifest(client, reference, options)
    isFound = true
    const image = await resolveImage(store, client, found, { ...options, name })
    return await unpackImage(store, image, client, { ...options, name, stop, spares })
  } catch (error) {
    const told = abortedError(options.signal) ?? storeError(error, store.paths.root)
    throw isFound ? noteRefused(told) : told
  } finally {
    client.close()
  }
}

function abortedError(signal: AbortSignal | undefined): TscrunError | undefined {
  return signal?.aborted ? new TscrunError('ABORTED', 'pull: interrupted', { cause: signal.reason }) : undefined
}

/** Stores the documents of an image. */
async function resolveImage(
  store: ImageStore,
  client: RegistryClient,
  { resolved, descriptor, manifest, bytes }: FoundManifest,
  options: PullImageOptions & { readonly name: string },
): Promise<ResolvedImage> {
  const { name } = options
  writeDurably(blobPath(store.paths, descriptor.digest), bytes, store.paths.work)
  const configBytes = await fetchDocument(store, client, manifest.config, options)
  const config = parseImageConfig(configBytes, `config of ${name}`)
  if (platformDistance(options.platform, config.platform) === undefined) {
    throw wrongPlatform(`image ${name}`, options.platform, [formatPlatform(config.platform)])
  }
  const layers = wantedLayers(manifest, config, `image ${name}`)
  return { id: manifest.config.digest, resolved, manifest: descriptor, config, layers }
}

interface FoundManifest {
  readonly resolved: Digest
  readonly descriptor: Descriptor
  readonly manifest: Manifest
  readonly bytes: Buffer
}

/** Follows indexes down to the manifest of the platform. */
async function findManifest(
  client: RegistryClient,
  reference: Reference,
  options: PullImageOptions,
): Promise<FoundManifest> {
  const name = formatReference(reference)
  const read = async (entry?: Descriptor): Promise<FetchedDocument> => {
    const expected = entry?.digest ?? reference.digest
    const fetched = await client.manifest(expected ?? manifestReference(reference), ACCEPT, LIMITS.manifest)
    const digest = digestOf(fetched.bytes)
    const said =
      expected ?? (fetched.digest === undefined ? digest : parseDigest(fetched.digest, `manifest of ${name}`))
    if (said !== digest || (entry !== undefined && entry.size !== fetched.bytes.length)) {
      throw new TscrunError('DIGEST_MISMATCH', `manifest of ${name}: not what ${said} stands for`, {
        subject: name,
        hint: 'the registry or a proxy in between is broken',
      })
    }
    const content = parseManifest(fetched.bytes, entry?.mediaType ?? fetched.mediaType, `manifest of ${name}`)
    return { bytes: fetched.bytes, digest, content }
  }
  const top = await read()
  const { content, digest, bytes } = await findPlatform(top, options.platform, `image ${name}`, read)
  const descriptor = { mediaType: content.mediaType, digest, size: bytes.length }
  return { resolved: top.digest, descriptor, manifest: content, bytes }
}

interface FetchedDocument {
  readonly bytes: Buffer
  readonly digest: Digest
  readonly content: Manifest | ImageIndex
}

/** A small blob that is read whole: an image's config. Of several pulls at once one downloads it. */
async function fetchDocument(
  store: ImageStore,
  client: RegistryClient,
  descriptor: Descriptor,
  { signal }: PullImageOptions,
): Promise<Buffer> {
  const { digest } = descriptor
  const path = blobPath(store.paths, digest)
  for (let tries = 0; ; tries++) {
    const source = (offset: number): AsyncIterable<Buffer> => client.blob(descriptor, offset)
    await storeBlob(store.paths, descriptor, source, {
      ...otherPlaceOf(client, descriptor),
      ...(signal === undefined ? {} : { signal }),
    })
    const bytes = fs.readFileSync(path)
    if (digestOf(bytes) === digest) return bytes
    // Somebody, or the disk, has changed it since it was stored: once more.
    fs.rmSync(path)
    if (tries > 0)
      throw new TscrunError('STORE', `read ${path}: damaged, removed`, { subject: path, hint: 'is the disk well?' })
  }
}
