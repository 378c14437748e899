import * as fs from 'node:fs'
import { basename, join } from 'node:path'
import { type ChainId, type Digest, hexOf } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import { chainIds } from './chain.ts'
import { parseImageConfig, parseManifest } from './documents.ts'
import { listDirectory, readIfThere, sweepFiles, TEMPORARY_FILE, uniqueWord } from './files.ts'
import { readIndex } from './index-file.ts'
import { blobPath, layerPath, markedLayerPath, type StorePaths } from './layout.ts'
import { tryLock } from './lock.ts'
import { readRecord } from './record.ts'
import { DOOMED, removeTree } from './remove-tree.ts'
import { findSnapshot } from './snapshot.ts'

/**
 * Deletes blobs, records and layers that no entry of the index and no image in use leads to; the caller holds the use lock
 * alone.
 */
export function collectGarbage(paths: StorePaths, used: ReadonlySet<string>): void {
  const { blobs, records, layers } = reachable(paths, used)
  for (const name of listDirectory(paths.records)) if (!records.has(name)) fs.rmSync(join(paths.records, name))
  for (const name of listDirectory(paths.layers)) if (!layers.has(name)) discardTree(paths, join(paths.layers, name))
  for (const name of listDirectory(paths.blobs)) if (blobs?.has(name) === false) fs.rmSync(join(paths.blobs, name))
  sweepFiles(paths)
  sweepWork(paths, new Set())
}

/** File names of what is kept. */
export interface Reachable {
  /** Undefined where a manifest cannot be read: it may lead to any blob. */
  readonly blobs: ReadonlySet<string> | undefined
  readonly records: ReadonlySet<string>
  readonly layers: ReadonlySet<string>
}

export function reachable(paths: StorePaths, used: ReadonlySet<string>): Reachable {
  const blobs = new Set<string>()
  const records = new Set<string>()
  const layers = new Set<string>()
  const entries = readIndex(paths)
  // Entries of other tools count too: their blobs are not ours to delete.
  const index = JSON.parse(readIfThere(paths.index)?.toString() ?? '{"manifests":[]}') as {
    manifests: { digest: string }[]
  }
  const known = index.manifests.map(({ digest }) => addManifest(paths, digest, blobs, 0))
  for (const { resolved } of entries) {
    // Pulled with all its platforms, the index is here too.
    if (resolved !== undefined && fs.existsSync(blobPath(paths, resolved))) addManifest(paths, resolved, blobs, 0)
  }
  for (const id of new Set([...entries.map((entry) => entry.id), ...([...used] as Digest[])])) {
    records.add(`${hexOf(id)}.json`)
    const record = readRecord(paths, id)
    if (record !== undefined) known.push(addManifest(paths, record.manifest.digest, blobs, 0))
    // One that a damaged disk has taken can be made anew: its layers are not to blame.
    const chain = record?.chain ?? chainOfConfig(paths, id)
    for (const chainId of chain) {
      layers.add(basename(layerPath(paths, chainId))).add(basename(markedLayerPath(paths, chainId)))
      records.add(`layer-${hexOf(chainId)}.json`)
    }
    for (const directory of findSnapshot(paths, chain) ?? []) layers.add(basename(directory))
  }
  return { blobs: known.every(Boolean) ? blobs : undefined, records, layers }
}

function chainOfConfig(paths: StorePaths, id: Digest): readonly ChainId[] {
  const bytes = readIfThere(blobPath(paths, id))
  if (bytes === undefined) return []
  return unlessDamaged(() => chainIds(parseImageConfig(bytes, `config ${id}`).diffIds)) ?? []
}

/** What is damaged leads to nothing; it is in nobody's way but its own. */
function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof TscrunError) return undefined
    throw error
  }
}

/** False where it cannot be read. */
function addManifest(paths: StorePaths, digest: string, blobs: Set<string>, depth: number): boolean {
  const hex = digest.slice('sha256:'.length)
  blobs.add(hex)
  const bytes = readIfThere(join(paths.blobs, hex))
  if (bytes === undefined || depth > 4) return false
  const where = `stored manifest ${digest}`
  const document = unlessDamaged(() => parseManifest(bytes, undefined, where, { artifacts: true }))
  if (document === undefined) return false
  if ('manifests' in document) {
    for (const entry of document.manifests) addManifest(paths, entry.digest, blobs, depth + 1)
  } else for (const { digest: part } of [document.config, ...document.layers]) blobs.add(hexOf(part))
  return true
}

/** Takes a layer's tree out of sight at once, then deletes it: a crash between leaves work for the next sweep. */
export function discardTree(paths: StorePaths, tree: string): void {
  const doomed = join(paths.work, `${DOOMED}${uniqueWord()}`)
  fs.renameSync(tree, doomed)
  removeTree(doomed, paths.work)
}

/**
 * Deletes what killed pulls left: everything in the work directory whose lock nobody holds, except the partial
 * blobs in `wanted` (hex), which are continued.
 */
export function sweepWork(paths: StorePaths, wanted: ReadonlySet<string>): void {
  const names = new Set(listDirectory(paths.work).map((name) => name.replace(/\.lock$/, '')))
  for (const name of names) {
    if (name.startsWith(TEMPORARY_FILE)) continue
    const path = join(paths.work, name)
    // What there is of a wanted blob is resumed; a lock alone was left by a pull killed after it had the whole of it.
    if (name.startsWith('blob-') && wanted.has(name.slice('blob-'.length)) && fs.existsSync(path)) continue
    if (name.startsWith(DOOMED)) {
      removeTree(path, paths.work)
      continue
    }
    using lock = tryLock(`${path}.lock`, 'exclusive')
    if (lock === undefined) continue
    removeTree(path, paths.work)
    lock.unlink()
  }
}

/** True for a blob that is stored completely: only verified ones get their name. */
export function hasBlob(paths: StorePaths, digest: Parameters<typeof blobPath>[1], size: number): boolean {
  const stats = fs.statSync(blobPath(paths, digest), { throwIfNoEntry: false })
  return stats?.size === size
}
