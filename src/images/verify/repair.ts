import * as fs from 'node:fs'
import { join } from 'node:path'
import { type ChainId, type Digest, hexOf } from '../../model/digest.ts'
import { TscrunError } from '../../model/errors.ts'
import { parseImageConfig, parseManifest } from '../documents.ts'
import { discardTree } from '../garbage.ts'
import { type IndexEntry, markLayout, prepareLayout, readIndex, rewriteIndex } from '../index-file.ts'
import { blobPath, recordPath, type StorePaths, wholePath } from '../layout.ts'
import { type Lock, tryLock } from '../lock.ts'
import { listDirectory } from '../files.ts'
import { readRecord } from '../record.ts'
import { unpackedPath } from '../snapshot.ts'
import type { ImageStore } from '../store.ts'
import { unpackImage, wantedLayers } from '../unpack-image.ts'
import { createBlobChecker } from './blobs.ts'
import { type ImageFinding, verifyImages, type VerifyOptions } from './image.ts'

/** What became of an image that was not whole. */
export type Mended =
  /** As before. */
  | 'whole'
  /** Something must be downloaded: a pull does it. */
  | 'incomplete'
  /** Somebody uses the store, so that nothing may be deleted. */
  | 'busy'

/**
 * Deletes what is wrong of an image and makes anew what the store has everything for: a layer out of its blob, a record out
 * of the documents. What must come from a registry stays away, and the image keeps its name.
 */
export async function mendImage(store: ImageStore, id: string, options: VerifyOptions): Promise<Mended> {
  const { paths } = store
  using alone = tryLock(paths.useLock, 'exclusive')
  if (alone === undefined) return 'busy'
  // As it is now: another image, or another command, may have had the same thing mended.
  const findings = await findingsOf(store, id, options)
  for (const finding of findings) removeDamaged(paths, finding)
  // Others may use the store again, and so may what follows.
  alone.share()
  if (findings.length > 0) {
    for (const entry of entriesOf(store, id)) await makeAnew(store, entry)
  }
  return (await findingsOf(store, id, {})).length === 0 ? 'whole' : 'incomplete'
}

function entriesOf(store: ImageStore, id: string): readonly IndexEntry[] {
  return store.entries().filter((entry) => entry.id === id)
}

async function findingsOf(store: ImageStore, id: string, options: VerifyOptions): Promise<readonly ImageFinding[]> {
  const found: ImageFinding[] = []
  for await (const { findings } of verifyImages(store.paths, entriesOf(store, id), options)) found.push(...findings)
  return found
}

function removeDamaged(paths: StorePaths, { part, digest }: ImageFinding): void {
  switch (part) {
    case 'blob':
      return fs.rmSync(blobPath(paths, digest as Digest), { recursive: true, force: true })
    case 'record':
      return fs.rmSync(recordPath(paths, digest as Digest), { recursive: true, force: true })
    case 'layer': {
      const tree = unpackedPath(paths, digest as ChainId)
      if (tree !== undefined) discardTree(paths, tree)
      // A copy that has it in it may be wrong, too.
      for (const name of listDirectory(paths.layers)) {
        if (name.endsWith('.whole')) discardTree(paths, join(paths.layers, name))
      }
      return fs.rmSync(join(paths.records, `layer-${hexOf(digest as ChainId)}.json`), { force: true })
    }
    case 'copy': {
      const whole = wholePath(paths, digest as ChainId)
      return fs.existsSync(whole) ? discardTree(paths, whole) : undefined
    }
    case 'image':
      return undefined
    default:
      return part satisfies never
  }
}

/** Unpacks an image out of its own blobs, where they are all there. */
async function makeAnew(store: ImageStore, { manifest, id, name, resolved }: IndexEntry): Promise<void> {
  const { paths } = store
  const check = createBlobChecker(paths)
  if (check(manifest.digest, manifest.size) !== undefined || check(id) !== undefined) return
  const where = `image ${id}`
  const document = parseManifest(store.readBlob(manifest.digest), undefined, where)
  if ('manifests' in document || document.layers.some(({ digest, size }) => check(digest, size) !== undefined)) return
  const config = parseImageConfig(store.readBlob(id), where)
  const image = {
    id,
    resolved: resolved ?? manifest.digest,
    manifest,
    config,
    layers: wantedLayers(document, config, where),
  }
  const blobs = {
    blob(): AsyncIterable<Buffer> {
      throw new TscrunError('STORE', `${where}: a blob has gone meanwhile`, {
        subject: id,
        hint: 'pull the image again',
      })
    },
  }
  await unpackImage(store, image, blobs, name === undefined ? {} : { name })
}

/** True where the index is no index any more. */
export function isIndexDamaged(paths: StorePaths): boolean {
  if (!fs.existsSync(paths.index)) return listDirectory(paths.records).some(isImageRecord)
  try {
    readIndex(paths)
    return false
  } catch (error) {
    if (error instanceof TscrunError && error.code === 'STORE') return true
    throw error
  }
}

/**
 * Keeps what of the index can be read, and lists all other images that have a record, without names: nothing else knows
 * these. False where the store is in use.
 */
export function rebuildIndex(paths: StorePaths): boolean {
  using alone: Lock | undefined = tryLock(paths.useLock, 'exclusive')
  if (alone === undefined) return false
  prepareLayout(paths)
  markLayout(paths)
  rewriteIndex(paths, (good) => [...good, ...withoutName(paths, new Set(good.map(({ id }) => id)))])
  return true
}

/** Images that have a record and are not among those that are listed. */
function withoutName(paths: StorePaths, listed: ReadonlySet<Digest>): readonly IndexEntry[] {
  return listDirectory(paths.records)
    .filter(isImageRecord)
    .flatMap((file): readonly IndexEntry[] => {
      const id = `sha256:${file.slice(0, 64)}` as Digest
      const record = listed.has(id) ? undefined : readRecord(paths, id)
      if (record === undefined || !fs.existsSync(blobPath(paths, record.manifest.digest))) return []
      return [{ manifest: record.manifest, id: record.id, platform: record.config.platform }]
    })
}

function isImageRecord(name: string): boolean {
  return /^[0-9a-f]{64}\.json$/.test(name)
}
