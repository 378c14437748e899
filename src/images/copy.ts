import { createHash } from 'node:crypto'
import { type Digest, hexOf } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, Manifest, Platform } from '../model/image.ts'
import { digestOf } from './chain.ts'
import { type ImageIndex, LIMITS, parseManifest } from './documents.ts'
import { findPlatform, tooDeep } from './find-platform.ts'
import type { LayerPhase, PullProgress, TransferVerb } from './progress.ts'
import type { ImageDocument, ImageSource, ImageTarget } from './transport.ts'

export interface CopyOptions {
  readonly verb: TransferVerb
  /** The one to take out of an index; all of it, attestations too, where it is `all` and the target has room for it. */
  readonly platform: Platform | 'all'
  readonly signal?: AbortSignal
  readonly onProgress?: (event: PullProgress) => void
  /** Blobs on their way at once. */
  readonly parallel?: number
}

/** Blobs that are copied at the same time; registries limit connections. */
const PARALLEL = 4
const REPORT_EVERY_MS = 100

/**
 * Copies an image byte for byte, without unpacking: blobs first, then manifests, then the index. What the target has is
 * not read. Answers the digest the image has at the target. Every byte is checked against its descriptor on the way.
 */
export async function copyImage(source: ImageSource, target: ImageTarget, options: CopyOptions): Promise<Digest> {
  const all = options.platform === 'all'
  if (all && !target.takesIndex) {
    throw new TscrunError('USAGE', `copy to ${target.name}: it has room for one platform only`, {
      subject: target.name,
      hint: 'choose one with --platform',
    })
  }
  const found = await readDocument(source, undefined)
  const top = options.platform === 'all' ? found : await narrow(source, found, options.platform)
  options.onProgress?.({ type: 'resolved', verb: options.verb, reference: target.name, digest: top.digest })
  await copyTree(source, target, { ...top, depth: 0 }, { ...options, done: new Set() })
  await target.finish()
  options.onProgress?.({ type: 'done', verb: options.verb, reference: target.name, digest: top.digest, fresh: true })
  return top.digest
}

export interface ReadDocument extends ImageDocument {
  readonly digest: Digest
  readonly content: Manifest | ImageIndex
}

export async function readDocument(source: ImageSource, expected: Descriptor | undefined): Promise<ReadDocument> {
  const document = await source.document(expected?.digest)
  const digest = digestOf(document.bytes)
  const isOther = expected !== undefined && (digest !== expected.digest || document.bytes.length !== expected.size)
  if (isOther) {
    throw new TscrunError('DIGEST_MISMATCH', `manifest of ${source.name}: not what ${expected.digest} stands for`, {
      subject: source.name,
    })
  }
  const mediaType = expected?.mediaType ?? document.mediaType
  const content = parseManifest(document.bytes, mediaType, `manifest of ${source.name}`, { artifacts: true })
  return { bytes: document.bytes, mediaType: content.mediaType, digest, content }
}

/** Follows indexes down to the manifest of a platform. */
export function narrow(source: ImageSource, top: ReadDocument, platform: Platform): Promise<ReadDocument> {
  return findPlatform(top, platform, `image ${source.name}`, (entry) => readDocument(source, entry))
}

interface Copying extends CopyOptions {
  /** Documents and blobs that are there already: platforms share some. */
  readonly done: Set<Digest>
}

async function copyTree(
  source: ImageSource,
  target: ImageTarget,
  document: ReadDocument & { readonly depth: number },
  copying: Copying,
): Promise<void> {
  const { content, depth, bytes, mediaType, digest } = document
  if (depth > LIMITS.indexDepth) throw tooDeep(`image ${source.name}`)
  if ('manifests' in content) {
    for (const entry of content.manifests) {
      if (copying.done.has(entry.digest)) continue
      await copyTree(source, target, { ...(await readDocument(source, entry)), depth: depth + 1 }, copying)
    }
  } else await copyBlobs(source, target, content, copying)
  copying.signal?.throwIfAborted()
  await target.putDocument({ bytes, mediaType, digest }, depth === 0)
  copying.done.add(digest)
}

async function copyBlobs(
  source: ImageSource,
  target: ImageTarget,
  manifest: Manifest,
  copying: Copying,
): Promise<void> {
  const wanted = new Map([...manifest.layers, manifest.config].map((blob) => [blob.digest, blob]))
  const blobs = [...wanted.values()].filter((blob) => !copying.done.has(blob.digest))
  for (const blob of blobs) tell(copying, blob, 'waiting')
  // The largest first, as in a pull.
  const waiting = blobs.toSorted((a, b) => a.size - b.size)
  const failed = new AbortController()
  const worker = async (): Promise<void> => {
    for (let blob = waiting.pop(); blob !== undefined && !failed.signal.aborted; blob = waiting.pop()) {
      copying.signal?.throwIfAborted()
      try {
        await copyBlob(source, target, blob, copying)
      } catch (error) {
        failed.abort()
        throw error
      }
      copying.done.add(blob.digest)
    }
  }
  const results = await Promise.allSettled(Array.from({ length: copying.parallel ?? PARALLEL }, worker))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

function tell({ onProgress }: CopyOptions, { digest, size }: Descriptor, phase: LayerPhase): void {
  onProgress?.({ type: 'layer', id: digest, size, phase })
}

async function copyBlob(source: ImageSource, target: ImageTarget, blob: Descriptor, copying: Copying): Promise<void> {
  if (await target.hasBlob(blob)) return tell(copying, blob, 'exists')
  const outcome = await target.putBlob(blob, checkedContent(source, blob, copying))
  tell(copying, blob, outcome)
}

/** A blob's content from any offset on, whose size and digest are found right before its last byte is handed over. */
function checkedContent(
  source: ImageSource,
  blob: Descriptor,
  copying: CopyOptions,
): (offset: number) => AsyncGenerator<Buffer> {
  const { onProgress, signal } = copying
  const hash = createHash('sha256')
  let hashed = 0
  let toldAt = 0
  const wrong = (): TscrunError =>
    new TscrunError('DIGEST_MISMATCH', `read ${blob.digest} of ${source.name}: other bytes than the image promises`, {
      subject: blob.digest,
    })
  return async function* content(offset) {
    // Not before: a blob that is mounted is never read.
    if (hashed === 0) tell(copying, blob, 'copying')
    let at = offset
    let held: Buffer | undefined
    for await (const chunk of source.blob(blob, offset)) {
      signal?.throwIfAborted()
      if (at + chunk.length > blob.size) throw wrong()
      // What a broken connection lost passes once more, but is counted once.
      if (at + chunk.length > hashed) {
        hash.update(chunk.subarray(Math.max(0, hashed - at)))
        hashed = at + chunk.length
      }
      at += chunk.length
      const now = performance.now()
      if (at === blob.size || now - toldAt >= REPORT_EVERY_MS) {
        toldAt = now
        onProgress?.({ type: 'bytes', id: blob.digest, current: at, size: blob.size })
      }
      if (held !== undefined) yield held
      held = chunk
    }
    if (at !== blob.size || hashed !== blob.size || hash.copy().digest('hex') !== hexOf(blob.digest)) throw wrong()
    if (held !== undefined) yield held
  }
}
