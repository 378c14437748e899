import * as fs from 'node:fs'
import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, ImageConfig, Platform } from '../model/image.ts'
import { platformDistance } from '../model/platform.ts'
import { formatReference, parseReference } from '../model/reference.ts'
import { isThere, storeError, sweepFiles } from './files.ts'
import { type IndexEntry, markLayout, prepareLayout, readIndex, withEntry, writeIndex } from './index-file.ts'
import { blobPath, type StorePaths, storePaths } from './layout.ts'
import { type Lock, tryLock, waitForLock } from './lock.ts'
import { type ImageRecord, readRecord, writeRecord } from './record.ts'
import { findSnapshot } from './snapshot.ts'

/** An image whose layers are unpacked. */
export interface StoredImage {
  /** Digest of its config, which is its id. */
  readonly id: Digest
  /** Complete references; empty for an image whose name has gone to another. */
  readonly names: readonly string[]
  readonly manifest: Descriptor
  readonly config: ImageConfig
  /** Absolute directories for overlayfs, bottom to top: of the layers, which all images share, or copies of several. */
  readonly layers: readonly string[]
  /** Bytes of file data in its layers. */
  readonly size: number
  /** The highest uid or gid of its files, where it is beyond 65,535. */
  readonly highestId?: number
  readonly created?: string
}

export interface RemoveOptions {
  /** Also takes the names of an image that is in use or has several of them. */
  readonly force?: boolean
  /** Also takes one that has several names, by its id. */
  readonly allNames?: boolean
  /** Who uses an image: false for nobody, else true, a container's name, or a clause for the message with the way out. */
  readonly inUse?: (id: Digest) => boolean | string | ImageUse
}

/** A use of an image that is no container's: `how` goes on `image alpine: `. */
export interface ImageUse {
  readonly how: string
  readonly hint: string
}

export interface RemovedImage {
  readonly untagged: readonly string[]
  /** The image's id, once no name and no container has it. */
  readonly deleted?: Digest
}

/**
 * The images of one root directory. Reading takes no lock: every file is replaced by a rename. Names and ids are
 * resolved by one small file, so that the start of a container pays next to nothing.
 */
export interface ImageStore {
  readonly paths: StorePaths
  /** By reference (short names too), `name@digest`, or the beginning of an id. With a platform, only if it fits. */
  find(nameOrId: string, platform?: Platform): StoredImage | undefined
  list(): readonly StoredImage[]
  /** Whether anything has ever been put in. */
  exists(): boolean
  /** The index's entries of the images that are named, or all: damaged ones too. Throws NO_SUCH_IMAGE. */
  entries(images?: readonly string[]): readonly IndexEntry[]
  remove(nameOrId: string, options?: RemoveOptions): Promise<RemovedImage>
  /** Adds a further name. */
  tag(nameOrId: string, name: string): Promise<void>
  /** Takes names away; the image stays, be it without any. All of its names where none is told; answers which. */
  untag(nameOrId: string, names: readonly string[]): Promise<readonly string[]>
  /** What the registry answered when the name was pulled last. */
  resolvedDigest(name: string): Digest | undefined
  /** Lists an unpacked image, under a name or under none. */
  add(record: ImageRecord, name: string | undefined, resolved?: Digest): Promise<StoredImage>
  /** While it is held nothing is deleted from the store; take it before `find` if the image is used afterwards. */
  hold(signal?: AbortSignal): Promise<Lock>
  /** Deletes what no image names; answers false where somebody holds the store. */
  collect(): Promise<boolean>
  /** The bytes of a manifest or config. */
  readBlob(digest: Digest): Buffer
}

export interface StoreOptions {
  readonly root: string
  /** Complete names that a short one may stand for, likeliest first; none where it is Docker Hub's as usual. */
  readonly localNames?: (text: string) => readonly string[]
  /** Ids of images that somebody has in use, whatever the index says: their files are never deleted. */
  readonly usedImages?: () => Promise<Iterable<string>>
}

/** Opens a store without touching the disk; it is made when something is first put in. */
export function openImageStore(options: StoreOptions): ImageStore {
  const paths = storePaths(options.root)
  const lookUp: LookUp = (entries, nameOrId) => lookUpBy(entries, nameOrId, options.localNames)

  function find(nameOrId: string, platform?: Platform): StoredImage | undefined {
    const entries = readIndex(paths)
    const entry = entries.find((candidate) => candidate.name === nameOrId) ?? lookUp(entries, nameOrId)
    if (entry === undefined) return undefined
    if (platform !== undefined && platformDistance(platform, entry.platform) === undefined) return undefined
    return load(paths, entries, entry)
  }

  function list(): readonly StoredImage[] {
    const entries = readIndex(paths)
    const firsts = entries.filter((entry, i) => entries.findIndex((other) => other.id === entry.id) === i)
    return firsts.flatMap((entry) => load(paths, entries, entry) ?? [])
  }

  function entriesOf(images: readonly string[] = []): readonly IndexEntry[] {
    const entries = readIndex(paths)
    if (images.length === 0) return entries
    const ids = images.map((image) => {
      const entry = entries.find(({ name }) => name === image) ?? lookUp(entries, image)
      if (entry === undefined) throw noSuchImage(image)
      return entry.id
    })
    return entries.filter((entry) => ids.includes(entry.id))
  }

  async function hold(signal?: AbortSignal): Promise<Lock> {
    try {
      prepareLayout(paths)
      const alone = tryLock(paths.useLock, 'exclusive')
      if (alone !== undefined) sweepFiles(paths)
      alone?.share()
      const held = alone ?? (await waitForLock(paths.useLock, 'shared', signal))
      markLayout(paths)
      return held
    } catch (error) {
      throw storeError(error, paths.root)
    }
  }

  /** Rewrites the index under its lock; what `change` answers is answered. */
  async function update<T>(
    change: (entries: readonly IndexEntry[]) => { entries: readonly IndexEntry[]; result: T },
  ): Promise<T> {
    try {
      using _hold = await hold()
      using _lock = await waitForLock(paths.indexLock, 'exclusive')
      const { entries, result } = change(readIndex(paths))
      writeIndex(paths, entries)
      return result
    } catch (error) {
      throw storeError(error, paths.root)
    }
  }

  async function add(record: ImageRecord, name: string | undefined, resolved?: Digest): Promise<StoredImage> {
    const entry: IndexEntry = {
      manifest: record.manifest,
      ...(name === undefined ? {} : { name }),
      id: record.id,
      platform: record.config.platform,
      ...(resolved === undefined ? {} : { resolved }),
    }
    return update((before) => {
      writeRecord(paths, record)
      const entries = withEntry(before, entry)
      const image = load(paths, entries, entry)
      if (image === undefined) throw new Error(`image ${record.id} was added without its layers`)
      return { entries, result: image }
    })
  }

  async function tag(nameOrId: string, name: string): Promise<void> {
    const full = formatReference(parseReference(name))
    await update((before) => {
      const entry = lookUp(before, nameOrId)
      if (entry === undefined) throw noSuchImage(nameOrId)
      return { entries: withEntry(before, { ...entry, name: full }), result: undefined }
    })
  }

  async function untag(nameOrId: string, names: readonly string[]): Promise<readonly string[]> {
    return update((before) => {
      const entry = lookUp(before, nameOrId)
      if (entry === undefined) throw noSuchImage(nameOrId)
      const own = namesOf(before, entry.id)
      const gone = names.length === 0 ? own : names.map((name) => formatReference(parseReference(name)))
      const stranger = gone.find((name) => !own.includes(name))
      if (stranger !== undefined) throw noSuchImage(stranger)
      const rest = before.filter((other) => other.name === undefined || !gone.includes(other.name))
      const { name: _, ...nameless } = entry
      return { entries: rest.some((other) => other.id === entry.id) ? rest : [...rest, nameless], result: gone }
    })
  }

  async function remove(nameOrId: string, removal: RemoveOptions = {}): Promise<RemovedImage> {
    // Nothing is made where there is no store.
    if (lookUp(readIndex(paths), nameOrId) === undefined)
      throw noSuchImage(nameOrId, '`tscrun images` shows what is there')
    const removed = await update((before) => {
      const { entries, ...result } = without(before, nameOrId, { ...removal, lookUp })
      return { entries, result }
    })
    if (removed.deleted !== undefined) await collect()
    return removed
  }

  async function collect(): Promise<boolean> {
    if (!fs.existsSync(paths.root)) return true
    try {
      prepareLayout(paths)
      using lock = tryLock(paths.useLock, 'exclusive')
      if (lock === undefined) return false
      const { collectGarbage } = await import('./garbage.ts')
      // Asked under the lock: whoever starts to use an image shares it until that is to be seen.
      collectGarbage(paths, new Set((await options.usedImages?.()) ?? []))
      return true
    } catch (error) {
      throw storeError(error, paths.root)
    }
  }

  return {
    paths,
    find,
    list,
    exists: () => isThere(paths.images),
    entries: entriesOf,
    remove,
    tag,
    untag,
    add,
    collect,
    resolvedDigest: (name) => readIndex(paths).find((entry) => entry.name === name)?.resolved,
    hold,
    readBlob: (digest) => fs.readFileSync(blobPath(paths, digest)),
  }
}

export function noSuchImage(nameOrId: string, hint = `get it with \`tscrun pull ${nameOrId}\``): TscrunError {
  return new TscrunError('NO_SUCH_IMAGE', `image ${nameOrId}: not in the store`, { subject: nameOrId, hint })
}

const ID = /^(?:sha256:)?([0-9a-f]{4,64})$/

type LookUp = (entries: readonly IndexEntry[], nameOrId: string) => IndexEntry | undefined

/** A name wins over an id that begins alike. */
function lookUpBy(
  entries: readonly IndexEntry[],
  nameOrId: string,
  localNames: StoreOptions['localNames'],
): IndexEntry | undefined {
  const prefix = ID.exec(nameOrId)?.[1]
  const byName = nameOrId.startsWith('sha256:')
    ? undefined
    : byNames(entries, nameOrId, localNames?.(nameOrId) ?? [], prefix !== undefined)
  if (byName !== undefined || prefix === undefined) return byName
  const matches = entries.filter((entry) => entry.id.startsWith(`sha256:${prefix}`))
  if (new Set(matches.map((entry) => entry.id)).size > 1) {
    throw new TscrunError('NO_SUCH_IMAGE', `image ${nameOrId}: several ids begin like this`, {
      subject: nameOrId,
      hint: 'give more of it',
    })
  }
  return matches[0]
}

/** By the first of the names a text may stand for; podman gives what has no registry `localhost`. */
function byNames(
  entries: readonly IndexEntry[],
  text: string,
  names: readonly string[],
  lenient: boolean,
): IndexEntry | undefined {
  for (const name of names) {
    const found = byReference(entries, name, lenient)
    if (found !== undefined) return found
  }
  return byReference(entries, text, lenient) ?? byReference(entries, `localhost/${text}`, true)
}

function byReference(entries: readonly IndexEntry[], text: string, lenient: boolean): IndexEntry | undefined {
  let reference: ReturnType<typeof parseReference>
  try {
    reference = parseReference(text)
  } catch (error) {
    if (lenient && error instanceof TscrunError && error.code === 'INVALID_REFERENCE') return undefined
    throw error
  }
  const name = formatReference(reference)
  const exact = entries.find((entry) => entry.name === name)
  if (exact !== undefined || reference.digest === undefined) return exact
  const repository = `${reference.registry}/${reference.repository}`
  return entries.find(
    (entry) =>
      entry.name !== undefined &&
      /[:@]/.test(entry.name.charAt(repository.length)) &&
      entry.name.startsWith(repository) &&
      (entry.manifest.digest === reference.digest || entry.resolved === reference.digest),
  )
}

function namesOf(entries: readonly IndexEntry[], id: Digest): readonly string[] {
  return entries.flatMap((entry) => (entry.id === id && entry.name !== undefined ? [entry.name] : []))
}

/** Undefined where its record or one of its layers is gone: a pull mends it. */
function load(paths: StorePaths, entries: readonly IndexEntry[], entry: IndexEntry): StoredImage | undefined {
  const record = readRecord(paths, entry.id)
  if (record === undefined) return undefined
  const layers = findSnapshot(paths, record.chain)
  if (layers === undefined) return undefined
  const { created } = record.config
  return {
    id: record.id,
    names: namesOf(entries, entry.id),
    manifest: record.manifest,
    config: record.config,
    layers,
    size: record.size,
    ...(record.highestId === undefined ? {} : { highestId: record.highestId }),
    ...(created === undefined ? {} : { created }),
  }
}

function without(
  entries: readonly IndexEntry[],
  nameOrId: string,
  removal: RemoveOptions & { readonly lookUp: LookUp },
): RemovedImage & { readonly entries: readonly IndexEntry[] } {
  const entry = removal.lookUp(entries, nameOrId)
  if (entry === undefined) throw noSuchImage(nameOrId)
  const byId = entry.name === undefined || ID.test(nameOrId)
  const names = namesOf(entries, entry.id)
  if (!byId && entry.name !== undefined && names.length > 1) {
    return { entries: entries.filter((other) => other.name !== entry.name), untagged: [entry.name] }
  }
  if (byId && names.length > 1 && removal.force !== true && removal.allNames !== true) {
    throw new TscrunError('IMAGE_IN_USE', `image ${nameOrId}: it has the names ${names.join(', ')}`, {
      subject: nameOrId,
      hint: 'remove it by a name, or all of them with --force',
    })
  }
  const user = removal.inUse?.(entry.id) ?? false
  if (user !== false && removal.force !== true) {
    const { how, hint } = useOf(user)
    throw new TscrunError('IMAGE_IN_USE', `image ${nameOrId}: ${how}`, { subject: nameOrId, hint })
  }
  const others = entries.filter((other) => other.id !== entry.id)
  if (user === false) return { entries: others, untagged: names, deleted: entry.id }
  // Its names go, its files stay for the container.
  const { name: _, ...nameless } = entry
  return { entries: [...others, nameless], untagged: names }
}

function useOf(user: true | string | ImageUse): ImageUse {
  if (typeof user === 'object') return user
  return { how: `used by ${user === true ? 'a container' : `container ${user}`}`, hint: 'remove the container first' }
}
