import * as fs from 'node:fs'
import { join } from 'node:path'
import { type ChainId, hexOf } from '../model/digest.ts'
import { bootId } from './boot-id.ts'
import { listDirectory, parseJson, readIfThere, TEMPORARY_FILE, uniqueWord } from './files.ts'
import type { StorePaths } from './layout.ts'

/** Bytes of file data, counted once a layer: it stands in the layer's own metadata. */
export interface LayerFacts {
  readonly bytes: number
  /** The highest uid or gid of its files, where it is beyond 65,535: a container has not so many ids. */
  readonly highestId?: number
}

interface KeptFacts extends LayerFacts {
  /** The boot in which the layer was unpacked; absent in the facts of an older tscrun. */
  readonly boot?: string
}

function factsPath(paths: StorePaths, chainId: ChainId): string {
  return join(paths.records, `layer-${hexOf(chainId)}.json`)
}

/** Not synced: whether they can be believed after a power cut, `createStandings` tells. */
export function writeFacts(paths: StorePaths, chainId: ChainId, facts: LayerFacts): void {
  const boot = bootId()
  const kept: KeptFacts = { ...facts, ...(boot === undefined ? {} : { boot }) }
  const temporary = join(paths.work, `${TEMPORARY_FILE}${uniqueWord()}`)
  fs.writeFileSync(temporary, JSON.stringify(kept), { flag: 'wx', mode: 0o600 })
  fs.renameSync(temporary, factsPath(paths, chainId))
}

/** Undefined for a layer that has not been unpacked, or whose facts a power cut has taken. */
export function readFacts(paths: StorePaths, chainId: ChainId): LayerFacts | undefined {
  return readKept(paths, chainId)
}

function readKept(paths: StorePaths, chainId: ChainId): KeptFacts | undefined {
  const bytes = readIfThere(factsPath(paths, chainId))
  const kept = bytes === undefined ? undefined : (parseJson(bytes) as Partial<KeptFacts> | null | undefined)
  return typeof kept?.bytes === 'number' ? { ...kept, bytes: kept.bytes } : undefined
}

/**
 * How far an unpacked layer can be relied on. All that a pull unpacks is written out once, before an image's record and
 * the index name it. So `kept` is a layer that a record names: it was written out. `written` is one that was unpacked
 * since the machine was started, and may lie in memory alone. Any other was perhaps caught by a power cut with its names
 * there and its content not: it counts as not unpacked.
 */
export type LayerStanding = 'kept' | 'written'

/** What is known of a layer that is there; undefined for one that cannot be relied on. */
export function createStandings(
  paths: StorePaths,
): (chainId: ChainId) => { readonly facts: LayerFacts; readonly standing: LayerStanding } | undefined {
  let named: ReadonlySet<string> | undefined
  return (chainId) => {
    const facts = readKept(paths, chainId)
    if (facts === undefined) return undefined
    named ??= namedLayers(paths)
    if (named.has(chainId)) return { facts, standing: 'kept' }
    return facts.boot !== undefined && facts.boot === bootId() ? { facts, standing: 'written' } : undefined
  }
}

/** The layers of all images that have a record. */
function namedLayers(paths: StorePaths): ReadonlySet<string> {
  const named = new Set<string>()
  for (const name of listDirectory(paths.records)) {
    if (!/^[0-9a-f]{64}\.json$/.test(name)) continue
    const bytes = readIfThere(join(paths.records, name))
    const record = bytes === undefined ? undefined : (parseJson(bytes) as { chain?: unknown } | undefined)
    for (const chainId of Array.isArray(record?.chain) ? record.chain : []) named.add(String(chainId))
  }
  return named
}
