import { decompress, openArchive } from '../../images/archives/spool.ts'
import { completeName, openLayoutDirectory, readImages } from '../../images/archives/read.ts'
import type { NamedFiles } from '../../images/archives/members.ts'
import { chainIds } from '../../images/chain.ts'
import { platformFor } from '../../images/host-platform.ts'
import { readFacts } from '../../images/layer-facts.ts'
import { storeTar } from '../../images/make-layer.ts'
import { addNewImage, type HistoryEntry, rawConfig } from '../../images/new-image.ts'
import { type SaveRequest, saveImages } from '../../images/save.ts'
import { type ImageStore, noSuchImage, type StoredImage } from '../../images/store.ts'
import { takeIn } from '../../images/take-in.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { formatReference, parseReference } from '../../model/reference.ts'
import { changeImageConfig, type ImageConfigObject } from '../../spec/image-change.ts'
import { createReadStream, statSync } from 'node:fs'
import type { Listener } from '../api.ts'

/** Bytes that come as they come, or the path of a file. */
export type ArchiveInput = string | AsyncIterable<Uint8Array>

export interface LoadedImage {
  readonly id: string
  /** Complete names. */
  readonly names: readonly string[]
}

/** Most bytes of files that come in; 0 is no limit, the default is 100 times the archive, 10 GiB to 1 TiB. */
export interface UnpackLimit {
  readonly maxUnpackSize?: number
}

export interface ImportOptions extends Listener, UnpackLimit {
  /** Instructions of a Dockerfile: `CMD ["sh"]`. */
  readonly changes?: readonly string[]
  readonly message?: string
  readonly platform?: string
}

export interface LoadOptions extends Listener, UnpackLimit {
  readonly platform?: string
}

/** One line of an image's history, newest first. */
export interface HistoryLine {
  /** Of the newest line the image's id. */
  readonly id?: string
  readonly createdMs?: number
  readonly createdBy: string
  readonly comment: string
  /** Bytes of file data. */
  readonly size: number
}

export interface ImageLayers {
  readonly id: string
  readonly names: readonly string[]
  readonly size: number
  /** Bottom to top. */
  readonly layers: readonly { readonly diffId: string; readonly size: number; readonly topOf: readonly string[] }[]
}

/** The verbs on archives of images, and on names. */
export interface ArchiveVerbs {
  save(images: readonly string[], request: SaveRequest): Promise<void>
  /** Takes in all images of an archive or a directory, whatever its format. */
  load(input: ArchiveInput, options: LoadOptions): Promise<readonly LoadedImage[]>
  /** Makes an image of one layer of a root filesystem as a tar; resolves to its id. */
  import(input: ArchiveInput, name: string | undefined, options: ImportOptions): Promise<string>
  tag(image: string, name: string): Promise<void>
  /** Takes names away; all where none is told. Resolves to the complete ones. */
  untag(image: string, names: readonly string[]): Promise<readonly string[]>
  history(image: string): Promise<readonly HistoryLine[]>
  exists(image: string): boolean
  layers(image: string): ImageLayers
}

export function archiveVerbs(store: ImageStore, defaults: UnpackLimit): ArchiveVerbs {
  const find = (name: string): StoredImage => {
    const image = store.find(name)
    if (image === undefined) throw noSuchImage(name)
    return image
  }
  return {
    save: (images, request) => saveImages(store, images, request),
    load: (input, options) => load(store, input, { ...defaults, ...options }),
    import: (input, name, options) => importTar(store, input, name, { ...defaults, ...options }),
    tag: async (image, name) => {
      if (parseReference(name).digest !== undefined) {
        throw new TscrunError('INVALID_REFERENCE', `image name ${JSON.stringify(name)}: a new name has no digest`)
      }
      await store.tag(image, name)
    },
    untag: (image, names) => store.untag(image, names),
    history: async (name) => historyOf(store, find(name)),
    exists: (name) => store.find(name) !== undefined,
    layers: (name) => layersOf(store, find(name)),
  }
}

async function load(
  store: ImageStore,
  input: ArchiveInput,
  { platform, ...listener }: LoadOptions,
): Promise<readonly LoadedImage[]> {
  const files = await openFiles(store, input, listener)
  try {
    const loaded: LoadedImage[] = []
    const { onProgress, ...quiet } = listener
    for (const { names, source } of await readImages(files)) {
      listener.signal?.throwIfAborted()
      const complete = [...new Set(names.map(completeName).filter((name) => name !== undefined))]
      const { id } = await takeIn(store, source, {
        ...quiet,
        ...(onProgress === undefined ? {} : { onProgress }),
        platform: platformFor(platform),
        names: complete,
      })
      loaded.push({ id, names: complete })
    }
    return loaded
  } finally {
    files.close()
  }
}

async function openFiles(store: ImageStore, input: ArchiveInput, { maxUnpackSize }: UnpackLimit): Promise<NamedFiles> {
  const { work } = store.paths
  if (typeof input !== 'string') return openArchive(input, work, { where: 'the archive', maxUnpackSize })
  return isDirectory(input) ? openLayoutDirectory(input) : openArchive(input, work, { where: input, maxUnpackSize })
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

async function importTar(
  store: ImageStore,
  input: ArchiveInput,
  name: string | undefined,
  { changes = [], message, platform, onWarning, signal, maxUnpackSize }: ImportOptions,
): Promise<string> {
  const reference = name === undefined ? undefined : parseReference(name)
  if (reference?.digest !== undefined) {
    throw new TscrunError(
      'INVALID_REFERENCE',
      `image name ${JSON.stringify(name)}: a name for a new image has no digest`,
    )
  }
  const config = changes.reduce<ImageConfigObject>(changeImageConfig, {})
  using _hold = await store.hold(signal)
  const where = typeof input === 'string' ? input : 'the archive'
  const chunks: AsyncIterable<Uint8Array> =
    typeof input === 'string' ? createReadStream(input, { highWaterMark: 1 << 20 }) : input
  let fetched = 0
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      fetched += chunk.length
      yield chunk
    }
  }
  try {
    const layer = await storeTar(store.paths, (write) =>
      decompress(
        counted(),
        async (chunk) => {
          signal?.throwIfAborted()
          await write(chunk)
        },
        { where, maxUnpackSize },
      ),
    )
    const history = { created_by: 'import', ...(message === undefined ? {} : { comment: message }) }
    const stored = await addNewImage(
      store,
      {
        layer,
        config,
        platform: platformFor(platform),
        created: new Date().toISOString(),
        history,
      },
      {
        fetched,
        ...(maxUnpackSize === undefined ? {} : { maxUnpackSize }),
        ...(reference === undefined ? {} : { name: formatReference(reference) }),
        ...(onWarning === undefined ? {} : { onWarning }),
        ...(signal === undefined ? {} : { signal }),
      },
    )
    return stored.id
  } catch (error) {
    const errno = errnoOf(error)
    if (error instanceof TscrunError || errno === undefined || !/^E[A-Z]+$/.test(errno) || typeof input !== 'string')
      throw error
    throw new TscrunError('USAGE', `open ${input}: ${errno}`, { errno, subject: input, cause: error })
  }
}

function historyOf(store: ImageStore, image: StoredImage): readonly HistoryLine[] {
  const raw = rawConfig(store.readBlob(image.id), `config of ${image.id}`)
  const sizes = chainIds(image.config.diffIds).map((chainId) => readFacts(store.paths, chainId)?.bytes ?? 0)
  let next = 0
  const told: readonly HistoryEntry[] = raw.history.length > 0 ? raw.history : sizes.map(() => ({}))
  const lines = told.map((entry): HistoryLine => {
    const created = Date.parse(entry.created ?? '')
    return {
      ...(Number.isNaN(created) ? {} : { createdMs: created }),
      createdBy: entry.created_by ?? '',
      comment: entry.comment ?? '',
      size: entry.empty_layer === true ? 0 : (sizes[next++] ?? 0),
    }
  })
  return lines.toReversed().map((line, index) => (index === 0 ? { ...line, id: image.id } : line))
}

function layersOf(store: ImageStore, image: StoredImage): ImageLayers {
  const chain = chainIds(image.config.diffIds)
  const tops = new Map<string, string[]>()
  for (const other of store.list()) {
    const top = chainIds(other.config.diffIds).at(-1)
    if (top !== undefined) tops.set(top, [...(tops.get(top) ?? []), ...other.names])
  }
  return {
    id: image.id,
    names: image.names,
    size: image.size,
    layers: chain.map((chainId, index) => ({
      diffId: image.config.diffIds[index] ?? '',
      size: readFacts(store.paths, chainId)?.bytes ?? 0,
      topOf: tops.get(chainId) ?? [],
    })),
  }
}
