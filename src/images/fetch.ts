import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { type Digest, hexOf, parseDigest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, ImageConfig, Manifest } from '../model/image.ts'
import { formatPlatform, platformDistance } from '../model/platform.ts'
import { formatReference, type Reference } from '../model/reference.ts'
import { filesystemOf } from '../overlayfs/support.ts'
import { manifestReference, openRegistry, type RegistryClient } from '../registry/client.ts'
import { DEFAULT_RETRY } from '../registry/retry.ts'
import { chainIds, digestOf } from './chain.ts'
import { choosePlatform, LIMITS, MEDIA_TYPES, parseImageConfig, parseManifest, wrongPlatform } from './documents.ts'
import { storeError, writeDurably } from './files.ts'
import { hasBlob, sweepWork } from './garbage.ts'
import { fetchLayers } from './fetch-layers.ts'
import { flatten } from './flatten.ts'
import { blobPath } from './layout.ts'
import type { LayerFacts, WantedLayer } from './layers.ts'
import type { PullImageOptions } from './pull.ts'
import type { ImageStore, StoredImage } from './store.ts'
import { syncFileSystem } from './sync.ts'

const ACCEPT = Object.values(MEDIA_TYPES)
const DEFAULT_MAX_BYTES = 2 ** 40

/** True where the registry still has for a tag what it had at the last pull. */
export async function isCurrent(store: ImageStore, reference: Reference, options: PullImageOptions): Promise<boolean> {
  if (reference.digest !== undefined) return true
  const client = open(reference, options, options.signal)
  try {
    const digest = await client.manifestDigest(manifestReference(reference), ACCEPT)
    return digest !== undefined && digest === store.resolvedDigest(formatReference(reference))
  } finally {
    client.close()
  }
}

function open(reference: Reference, options: PullImageOptions, signal: AbortSignal | undefined): RegistryClient {
  const { tlsVerify, env, idleTimeoutMs, retryDelayMs, onProgress } = options
  return openRegistry({
    registry: reference.registry,
    repository: reference.repository,
    ...(tlsVerify === undefined ? {} : { tlsVerify }),
    ...(signal === undefined ? {} : { signal }),
    ...(env === undefined ? {} : { env }),
    ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    ...(retryDelayMs === undefined ? {} : { retry: { ...DEFAULT_RETRY, delayMs: retryDelayMs } }),
    onRetry: (reason) => onProgress?.({ type: 'retry', id: formatReference(reference), reason }),
  })
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
    // What came before the refusal is of no use to anybody; what an interruption left is, to the next try.
    if (error instanceof TscrunError && isFinal(error)) await store.collect()
    throw error
  }
}

/** Failures that another try meets again; among those of the store, what its filesystem has no place for. */
function isFinal({ code, errno }: TscrunError): boolean {
  return REFUSALS.has(code) || (code === 'STORE' && CANNOT_HOLD.has(errno ?? ''))
}

const CANNOT_HOLD: ReadonlySet<string> = new Set(['EPERM', 'ENXIO', 'EOPNOTSUPP'])
const REFUSALS: ReadonlySet<string> = new Set([
  'INVALID_IMAGE',
  'DIGEST_MISMATCH',
  'LIMIT_EXCEEDED',
  'WRONG_PLATFORM',
  'NO_SPACE',
])

async function fetchHolding(store: ImageStore, reference: Reference, options: PullImageOptions): Promise<StoredImage> {
  // The first failure of one part ends the others.
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  const client = open(reference, options, signal)
  try {
    using _hold = await store.hold(signal)
    const image = await resolveImage(store, client, reference, options)
    const name = formatReference(reference)
    options.onProgress?.({ type: 'resolved', reference: name, digest: image.resolved })
    sweepWork(store.paths, new Set(image.layers.map((layer) => hexOf(layer.blob.digest))))
    const maxBytes = options.maxUnpackBytes ?? DEFAULT_MAX_BYTES
    const { facts, unpacked } = await fetchLayers(store, client, image.layers, { ...options, maxBytes, signal, stop })
    checkSize(sum(facts), maxBytes)
    const chain = image.layers.map((layer) => layer.chainId)
    const onCopy = (): void => options.onWarning?.(copyWarning(store.paths.root))
    const copied = await flatten(store.paths, chain, { signal, maxBytes, onCopy })
    // Once for all layers, before the index names them: a listed image survives a power cut.
    if (unpacked || copied) await syncFileSystem(store.paths.layers)
    const { manifest, config, id } = image
    const record = { id, manifest, config, chain, size: sum(facts) }
    const fresh = store.resolvedDigest(name) !== image.resolved
    const stored = await store.add(record, name, image.resolved)
    options.onProgress?.({ type: 'done', reference: name, digest: image.resolved, fresh })
    return stored
  } catch (error) {
    throw abortedError(options.signal) ?? storeError(error, store.paths.root)
  } finally {
    client.close()
  }
}

function sum(facts: readonly LayerFacts[]): number {
  return facts.reduce((total, { bytes }) => total + bytes, 0)
}

/** Each layer has kept the limit; all of them together must as well. */
function checkSize(bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return
  throw new TscrunError('LIMIT_EXCEEDED', `unpack image: ${bytes} bytes, more than ${maxBytes}`, {
    hint: 'no honest image is that large: whose is it?',
  })
}

function copyWarning(root: string): string {
  return `the layers are copied into one tree, which can take their space twice: ${root} (${filesystemOf(root)}) cannot hold whiteouts`
}

function abortedError(signal: AbortSignal | undefined): TscrunError | undefined {
  return signal?.aborted ? new TscrunError('ABORTED', 'pull: interrupted', { cause: signal.reason }) : undefined
}

interface ResolvedImage {
  readonly id: Digest
  /** What the name stands for at the registry: an index or a manifest. */
  readonly resolved: Digest
  readonly manifest: Descriptor
  readonly config: ImageConfig
  readonly layers: readonly WantedLayer[]
}

async function resolveImage(
  store: ImageStore,
  client: RegistryClient,
  reference: Reference,
  options: PullImageOptions,
): Promise<ResolvedImage> {
  const name = formatReference(reference)
  const { resolved, descriptor, manifest, bytes } = await findManifest(client, reference, options)
  writeDurably(blobPath(store.paths, descriptor.digest), bytes, store.paths.work)
  const configBytes = await fetchDocument(store, client, manifest.config)
  const config = parseImageConfig(configBytes, `config of ${name}`)
  if (platformDistance(options.platform, config.platform) === undefined) {
    throw wrongPlatform(`image ${name}`, options.platform, [formatPlatform(config.platform)])
  }
  if (config.diffIds.length !== manifest.layers.length) {
    throw new TscrunError(
      'INVALID_IMAGE',
      `image ${name}: ${manifest.layers.length} layers, but its config has ${config.diffIds.length}`,
    )
  }
  const chain = chainIds(config.diffIds)
  const layers = manifest.layers.map((blob, i): WantedLayer => {
    const [diffId, chainId] = [config.diffIds[i], chain[i]]
    if (diffId === undefined || chainId === undefined) throw new Error('lists of one length differ')
    return { blob, diffId, chainId }
  })
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
  let expected: Digest | undefined = reference.digest
  let resolved: Digest | undefined
  let announced: Descriptor | undefined
  for (let depth = 0; depth < LIMITS.indexDepth; depth++) {
    const fetched = await client.manifest(expected ?? manifestReference(reference), ACCEPT, LIMITS.manifest)
    const digest = digestOf(fetched.bytes)
    const said =
      expected ?? (fetched.digest === undefined ? digest : parseDigest(fetched.digest, `manifest of ${name}`))
    if (said !== digest || (announced !== undefined && announced.size !== fetched.bytes.length)) {
      throw new TscrunError('DIGEST_MISMATCH', `manifest of ${name}: not what ${said} stands for`, { subject: name })
    }
    resolved ??= digest
    const document = parseManifest(fetched.bytes, announced?.mediaType ?? fetched.mediaType, `manifest of ${name}`)
    if (!('manifests' in document)) {
      const descriptor = { mediaType: document.mediaType, digest, size: fetched.bytes.length }
      return { resolved, descriptor, manifest: document, bytes: fetched.bytes }
    }
    announced = choosePlatform(document, options.platform, `image ${name}`)
    expected = announced.digest
  }
  throw new TscrunError('LIMIT_EXCEEDED', `image ${name}: indexes nested deeper than ${LIMITS.indexDepth}`)
}

/** A small blob that is read whole: an image's config. */
async function fetchDocument(store: ImageStore, client: RegistryClient, descriptor: Descriptor): Promise<Buffer> {
  const { digest, size } = descriptor
  if (hasBlob(store.paths, digest, size)) {
    const bytes = fs.readFileSync(blobPath(store.paths, digest))
    if (digestOf(bytes) === digest) return bytes
  }
  const parts: Buffer[] = []
  for await (const chunk of client.blob(descriptor, 0)) parts.push(chunk)
  const bytes = Buffer.concat(parts)
  const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  if (found !== digest)
    throw new TscrunError('DIGEST_MISMATCH', `fetch ${digest}: other bytes than the image promises`, {
      subject: digest,
    })
  writeDurably(blobPath(store.paths, digest), bytes, store.paths.work)
  return bytes
}
