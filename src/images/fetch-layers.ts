import { availableParallelism } from 'node:os'
import type { Descriptor } from '../model/image.ts'
import type { ImageBudget } from './budget.ts'
import { createStandings, type LayerFacts } from './layer-facts.ts'
import type { Spares } from './extractor-process.ts'
import { fetchLayer, type FetchedLayer, type WantedLayer } from './layers.ts'
import type { PullProgress } from './progress.ts'
import type { PullImageOptions } from './pull.ts'
import type { ImageStore } from './store.ts'

/** Layers that are fetched and unpacked at once, whatever the machine: the network is waited for more than the processor. */
const [LEAST, MOST] = [4, 6]
/** Times a second that a layer's bytes are told. */
const REPORT_EVERY_MS = 100

export interface LayersOptions extends Pick<PullImageOptions, 'parallel' | 'onProgress'> {
  readonly budget: ImageBudget
  /** Called when the files of a layer have yet to be written out, and others are still to come. */
  readonly onUnsynced: () => void
  readonly signal: AbortSignal
  /** Extractors that have been started ahead. */
  readonly spares?: Spares
  /** What `signal` follows: the first failure of one layer ends the others. */
  readonly stop: AbortController
}

/** Where the bytes of blobs come from, from an offset on. */
export interface BlobReader {
  blob(descriptor: Descriptor, offset: number, onRetry: (reason: string) => void): AsyncIterable<Buffer>
  /** The bytes of this blob were wrong: true where another place is asked from now on. Absent where there is one alone. */
  otherPlace?(descriptor: Descriptor): boolean
}

export interface FetchedLayers {
  readonly facts: readonly LayerFacts[]
  /** Whether one has yet to be written out, by whomever it was unpacked. */
  readonly unsynced: boolean
}

/** Fetches all layers, largest first, some at a time; each is put in its place after the one below it. */
export async function fetchLayers(
  store: ImageStore,
  blobs: BlobReader,
  layers: readonly WantedLayer[],
  options: LayersOptions,
): Promise<FetchedLayers> {
  const slot = createSlots(options.parallel ?? Math.min(MOST, Math.max(LEAST, availableParallelism())))
  const chain = layers.map((layer) => layer.chainId)
  const doneOf = layers.map(() => deferred<FetchedLayer>())
  const standingOf = createStandings(store.paths)
  /** Those that nothing has been written of. */
  let left = layers.length
  const start = async (i: number): Promise<void> => {
    const [layer, done] = [layers[i], doneOf[i]]
    if (layer === undefined || done === undefined) throw new Error(`no layer ${i}`)
    const { digest, size } = layer.blob
    const tell = (event: PullProgress): void => options.onProgress?.(event)
    let toldAt = 0
    try {
      const fetched = await fetchLayer(store.paths, layer, {
        source: (offset) => blobs.blob(layer.blob, offset, (reason) => tell({ type: 'retry', id: digest, reason })),
        ...otherPlaceOf(blobs, layer.blob),
        signal: options.signal,
        budget: options.budget,
        slot,
        onPhase: (phase) => {
          tell({ type: 'layer', id: digest, size, phase })
        },
        onBytes: (current) => {
          const now = performance.now()
          if (current < size && now - toldAt < REPORT_EVERY_MS) return
          toldAt = now
          tell({ type: 'bytes', id: digest, current, size })
        },
        onWritten: () => {
          // What comes last is written out at the end.
          if (--left > 0) options.onUnsynced()
        },
        ...(options.spares === undefined ? {} : { spares: options.spares }),
        below: i === 0 ? Promise.resolve() : (doneOf[i - 1]?.promise ?? Promise.resolve()),
        lowers: chain.slice(0, i),
        standingOf,
      })
      done.resolve(fetched)
    } catch (error) {
      options.stop.abort(error)
      done.reject(error)
    }
  }
  const order = layers.map((_, i) => i).sort((a, b) => (layers[b]?.blob.size ?? 0) - (layers[a]?.blob.size ?? 0))
  const all = Promise.allSettled(doneOf.map((done) => done.promise))
  await Promise.all(order.map(start))
  await all
  if (options.signal.aborted) throw options.signal.reason
  const fetched = await Promise.all(doneOf.map((done) => done.promise))
  return { facts: fetched.map(({ facts }) => facts), unsynced: fetched.some((layer) => layer.unsynced) }
}

/** As an option of `storeBlob`. */
export function otherPlaceOf(blobs: BlobReader, blob: Descriptor): { readonly otherPlace?: () => boolean } {
  return blobs.otherPlace === undefined ? {} : { otherPlace: () => blobs.otherPlace?.(blob) === true }
}

interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

/** Promise.withResolvers, which Node has from 22 on. */
function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined
  let reject: (reason: unknown) => void = () => undefined
  const promise = new Promise<T>((onValue, onReason) => {
    resolve = onValue
    reject = onReason
  })
  return { promise, resolve, reject }
}

/** At most `count` pieces of work at once; the others wait their turn. */
function createSlots(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = count
  const waiting: (() => void)[] = []
  return async (work) => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}
