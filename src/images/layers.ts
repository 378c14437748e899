import * as fs from 'node:fs'
import { join } from 'node:path'
import { type ChainId, type DiffId, hexOf } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import { type BlobOptions, type BlobSink, type BlobSource, storeBlob } from './blobs.ts'
import type { ImageBudget, UnpackUse } from './budget.ts'
import { type Extraction, finishExtraction, startExtraction } from './extraction.ts'
import type { Spares } from './extractor-process.ts'
import type { UnpackedLayer } from './extractor/protocol.ts'
import { discardTree, hasBlob } from './garbage.ts'
import { layerPath, markedLayerPath, type StorePaths } from './layout.ts'
import { type Lock, waitForLock } from './lock.ts'
import { inheritFromLower } from './lower.ts'
import type { LayerPhase } from './progress.ts'
import { type createStandings, type LayerFacts, writeFacts } from './layer-facts.ts'
import { removeTree } from './remove-tree.ts'
import { unpackedPath } from './snapshot.ts'

/** One layer of an image that is being fetched. */
export interface WantedLayer {
  readonly blob: Descriptor
  readonly diffId: DiffId
  readonly chainId: ChainId
}

export interface LayerJob {
  readonly source: BlobSource
  /** See BlobOptions. */
  readonly otherPlace?: () => boolean
  readonly signal?: AbortSignal
  /** Of the whole image. */
  readonly budget: ImageBudget
  /** Runs the part that uses network and processor; only some may at once. */
  readonly slot: <T>(work: () => Promise<T>) => Promise<T>
  readonly onPhase: (phase: LayerPhase) => void
  readonly onBytes: (current: number) => void
  /** All files of the layer have been written, and few of them are on the disk yet. */
  readonly onWritten: () => void
  /** Extractors that have been started ahead. */
  readonly spares?: Spares
  /** Resolves when the layer below is in its place. */
  readonly below: Promise<unknown>
  /** The layers below, bottom to top. */
  readonly lowers: readonly ChainId[]
  readonly standingOf: ReturnType<typeof createStandings>
}

export interface FetchedLayer {
  readonly facts: LayerFacts
  /** It may lie in memory alone: an image that names it is listed after it has been written out. */
  readonly unsynced: boolean
}

/**
 * Gets one layer into the store. Its tree is made beside its final place and renamed there when it is complete,
 * so a layer directory that exists is whole. The lock is taken before a slot is: who has a slot always gets on.
 */
export async function fetchLayer(paths: StorePaths, layer: WantedLayer, job: LayerJob): Promise<FetchedLayer> {
  const tree = join(paths.work, `layer-${hexOf(layer.chainId)}`)
  job.onPhase('waiting')
  using lock = await waitForLock(`${tree}.lock`, 'exclusive', job.signal)
  const there = job.standingOf(layer.chainId)
  if (there !== undefined && unpackedPath(paths, layer.chainId) !== undefined) {
    await completeBlob(paths, layer, job)
    lock.unlink()
    return { facts: there.facts, unsynced: there.standing === 'written' }
  }
  try {
    const extracted = await job.slot(() => extract(paths, layer, tree, job))
    await job.below
    const copied = inheritFromLower(tree, lowerPaths(paths, job.lowers), extracted, {
      onCopied: (bytes) => {
        const { use } = extracted
        job.budget.note(layer.chainId, { ...use, bytes: use.bytes + bytes, sizes: use.sizes + bytes })
      },
    })
    const facts = commit(paths, layer.chainId, {
      tree,
      lock,
      marked: extracted.marked,
      bytes: extracted.use.bytes + copied,
      highestId: extracted.highestId,
    })
    job.onPhase('complete')
    return { facts, unsynced: true }
  } catch (error) {
    removeTree(tree, paths.work)
    throw withSubject(error, layer)
  }
}

function lowerPaths(paths: StorePaths, lowers: readonly ChainId[]): readonly string[] {
  return lowers.map((chainId) => unpackedPath(paths, chainId) ?? layerPath(paths, chainId))
}

/** The tree is there; the layout must have the blob too, or nobody could copy the image on. */
async function completeBlob(paths: StorePaths, layer: WantedLayer, job: LayerJob): Promise<void> {
  const { blob } = layer
  if (hasBlob(paths, blob.digest, blob.size)) return job.onPhase('exists')
  const onDownload = (): void => job.onPhase('downloading')
  await job.slot(() => storeBlob(paths, blob, job.source, { ...blobOptions(job), onBytes: job.onBytes, onDownload }))
  job.onPhase('complete')
}

function blobOptions({ signal, otherPlace }: LayerJob): Pick<BlobOptions, 'signal' | 'otherPlace'> {
  return { ...(signal === undefined ? {} : { signal }), ...(otherPlace === undefined ? {} : { otherPlace }) }
}

async function extract(paths: StorePaths, layer: WantedLayer, tree: string, job: LayerJob): Promise<UnpackedLayer> {
  let extraction: Extraction | undefined
  const sink: BlobSink = {
    begin: (blob) => {
      removeTree(tree, paths.work)
      fs.mkdirSync(tree, { mode: 0o755 })
      const request = { directory: tree, overlay: 'trusted.overlay.', limits: job.budget.limits } as const
      const onUse = (use: UnpackUse): void => job.budget.note(layer.chainId, use)
      extraction = startExtraction(blob, request, {
        onUse,
        ...(job.spares === undefined ? {} : { spares: job.spares }),
      })
    },
    advance: async (size) => extraction?.advance(size),
    restart: async () => extraction?.abort(),
  }
  try {
    const onDownload = (): void => job.onPhase('downloading')
    const options = { ...blobOptions(job), sink, syncedLater: true, onBytes: job.onBytes, onDownload }
    await storeBlob(paths, layer.blob, job.source, options)
    if (extraction === undefined) throw new Error(`nobody has read ${layer.blob.digest}`)
    job.onPhase('extracting')
    const extracted = await finishExtraction(extraction, job.signal)
    job.budget.note(layer.chainId, extracted.use)
    job.onWritten()
    if (extracted.diffId === layer.diffId) return extracted
    throw new TscrunError(
      'DIGEST_MISMATCH',
      `unpack layer ${layer.blob.digest}: its content is not the ${layer.diffId} the image promises`,
      {
        subject: layer.blob.digest,
        hint: 'the image was put together wrongly; tell those who made it',
      },
    )
  } catch (error) {
    await extraction?.abort()
    throw error
  }
}

/** The extractor does not know which layer it has. */
function withSubject(error: unknown, layer: WantedLayer): unknown {
  if (
    !(error instanceof TscrunError) ||
    (!error.message.startsWith('unpack layer: ') && !error.message.startsWith('layer archive: '))
  )
    return error
  const message = error.message.replace(
    /^(unpack layer|layer archive): /,
    `unpack layer ${layer.blob.digest.slice(0, 19)}: `,
  )
  return new TscrunError(error.code, message, {
    subject: layer.blob.digest,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.errno === undefined ? {} : { errno: error.errno }),
    cause: error,
  })
}

interface Finished {
  readonly tree: string
  readonly lock: Lock
  readonly marked: boolean
  readonly bytes: number
  readonly highestId: number | undefined
}

function commit(paths: StorePaths, chainId: ChainId, { tree, lock, marked, bytes, highestId }: Finished): LayerFacts {
  const facts: LayerFacts = { bytes, ...(highestId === undefined ? {} : { highestId }) }
  writeFacts(paths, chainId, facts)
  // One that cannot be relied on is replaced.
  const before = unpackedPath(paths, chainId)
  if (before !== undefined) discardTree(paths, before)
  fs.renameSync(tree, marked ? markedLayerPath(paths, chainId) : layerPath(paths, chainId))
  lock.unlink()
  return facts
}
