import * as fs from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { ChainId, Digest } from '../../model/digest.ts'
import { TscrunError } from '../../model/errors.ts'
import type { Descriptor, ImageConfig, Manifest } from '../../model/image.ts'
import { chainIds } from '../chain.ts'
import { LIMITS, parseImageConfig, parseManifest } from '../documents.ts'
import type { IndexEntry } from '../index-file.ts'
import { readFacts } from '../layer-facts.ts'
import { blobPath, layerPath, type StorePaths, wholePath } from '../layout.ts'
import { readRecord } from '../record.ts'
import { findSnapshot, unpackedPath } from '../snapshot.ts'
import { type BlobChecker, createBlobChecker } from './blobs.ts'
import { compareLayer } from './layer.ts'
import { compareWhole } from './whole.ts'

/** One thing that is not as it should be. */
export interface ImageFinding {
  /**
   * `blob`: bytes of a manifest, a config or a layer; `record`: what tscrun has noted of the image; `layer`: a tree;
   * `copy`: a tree that was made of several layers; `image`: what its documents say of one another.
   */
  readonly part: 'blob' | 'record' | 'layer' | 'copy' | 'image'
  /** Of a blob its digest, of a layer and a copy the chain id, of a record and an image the image's id. */
  readonly digest: string
  /** A clause without a subject: `is missing`. */
  readonly what: string
}

export interface ImageVerdict {
  readonly id: string
  /** Complete references. */
  readonly names: readonly string[]
  readonly findings: readonly ImageFinding[]
}

export interface VerifyOptions {
  /** Also compares each tree with what its blob says. */
  readonly deep?: boolean
  /** Reads no blobs of layers, and of all files only their sizes. */
  readonly quick?: boolean
  readonly signal?: AbortSignal
}

/** Looks images over, one after the other; what several of them have is read once. The caller holds the store. */
export async function* verifyImages(
  paths: StorePaths,
  entries: readonly IndexEntry[],
  options: VerifyOptions = {},
): AsyncGenerator<ImageVerdict> {
  const check = createBlobChecker(paths, options)
  const documents = options.quick === true ? createBlobChecker(paths) : check
  const compared = new Map<ChainId, readonly ImageFinding[]>()
  const context: Context = { paths, entries, options, check, documents, compared }
  for (const id of new Set(entries.map((entry) => entry.id))) {
    options.signal?.throwIfAborted()
    const own = entries.filter((entry) => entry.id === id)
    const findings: ImageFinding[] = []
    for (const entry of uniqueManifests(own)) findings.push(...(await verifyEntry(context, entry)))
    const names = own.flatMap(({ name }) => name ?? [])
    yield { id, names, findings: unique(findings) }
  }
}

interface Context {
  readonly paths: StorePaths
  readonly entries: readonly IndexEntry[]
  readonly options: VerifyOptions
  readonly check: BlobChecker
  /** Of manifests and configs, which are always read. */
  readonly documents: BlobChecker
  readonly compared: Map<ChainId, readonly ImageFinding[]>
}

/** A manifest under several names is one; a name may also have come from an index that is stored. */
function uniqueManifests(entries: readonly IndexEntry[]): readonly IndexEntry[] {
  const keyOf = ({ manifest, resolved }: IndexEntry): string => `${manifest.digest} ${resolved ?? ''}`
  return [...new Map(entries.map((entry) => [keyOf(entry), entry])).values()]
}

function unique(findings: readonly ImageFinding[]): readonly ImageFinding[] {
  return [...new Map(findings.map((finding) => [JSON.stringify(finding), finding])).values()]
}

async function verifyEntry(context: Context, entry: IndexEntry): Promise<readonly ImageFinding[]> {
  const { paths, documents } = context
  const findings: ImageFinding[] = [...verifyIndex(context, entry)]
  const add = (part: ImageFinding['part'], digest: string, what: string): void =>
    void findings.push({ part, digest, what })
  const { digest, size } = entry.manifest
  const wrong = documents(digest, size)
  if (wrong !== undefined) add('blob', digest, wrong)
  const manifest = wrong === undefined ? readManifest(paths, digest, entry, add) : undefined
  if (manifest !== undefined && manifest.config.digest !== entry.id) {
    add('image', entry.id, `is listed for a manifest whose config is ${manifest.config.digest}`)
  }
  const config = manifest === undefined ? undefined : readConfig(context, manifest.config, add)
  findings.push(...verifyRecord(context, entry, config))
  for (const blob of manifest?.layers ?? []) {
    const damage = context.check(blob.digest, blob.size)
    if (damage !== undefined) add('blob', blob.digest, damage)
  }
  if (manifest !== undefined && config !== undefined && manifest.layers.length !== config.diffIds.length) {
    add('image', entry.id, `has ${manifest.layers.length} layers, and its config ${config.diffIds.length}`)
  } else findings.push(...(await verifyLayers(context, entry, manifest, config)))
  return findings
}

type Add = (part: ImageFinding['part'], digest: string, what: string) => void

function readManifest(paths: StorePaths, digest: Digest, { id }: IndexEntry, add: Add): Manifest | undefined {
  const where = `manifest ${digest}`
  return whatFits(id, add, () => {
    const document = parseManifest(fs.readFileSync(blobPath(paths, digest)), undefined, where)
    if ('manifests' in document) throw new TscrunError('INVALID_IMAGE', `${where}: an index`)
    return document
  })
}

function readConfig({ paths, documents }: Context, { digest, size }: Descriptor, add: Add): ImageConfig | undefined {
  const wrong = documents(digest, size)
  if (wrong !== undefined) {
    add('blob', digest, wrong)
    return undefined
  }
  return whatFits(digest, add, () => parseImageConfig(fs.readFileSync(blobPath(paths, digest)), `config ${digest}`))
}

/** A document that is refused is a finding. */
function whatFits<T>(id: string, add: Add, read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    add('image', id, `has a document that is refused: ${error.message}`)
    return undefined
  }
}

function verifyRecord(
  { paths, entries }: Context,
  { id, manifest }: IndexEntry,
  config: ImageConfig | undefined,
): readonly ImageFinding[] {
  const finding = (what: string): readonly ImageFinding[] => [{ part: 'record', digest: id, what }]
  const record = readRecord(paths, id)
  if (record === undefined) return finding('is missing or damaged')
  const manifests = entries.filter((entry) => entry.id === id).map((entry) => entry.manifest.digest)
  if (record.id !== id || !manifests.includes(record.manifest.digest)) return finding('is that of another image')
  if (config === undefined) return []
  const same = isDeepStrictEqual(record.config, config) && isDeepStrictEqual(record.chain, chainIds(config.diffIds))
  if (!same) return finding(`does not say what the config of ${manifest.digest} says`)
  return []
}

async function verifyLayers(
  context: Context,
  { id }: IndexEntry,
  manifest: Manifest | undefined,
  config: ImageConfig | undefined,
): Promise<readonly ImageFinding[]> {
  const { paths, options, compared, check } = context
  // Without its documents the record still says which layers it has.
  const chain = config === undefined ? (readRecord(paths, id)?.chain ?? []) : chainIds(config.diffIds)
  const findings: ImageFinding[] = []
  for (const [i, chainId] of chain.entries()) {
    options.signal?.throwIfAborted()
    const known = compared.get(chainId)
    if (known !== undefined) {
      findings.push(...known)
      continue
    }
    const finding = (what: string): ImageFinding => ({ part: 'layer', digest: chainId, what })
    const tree = unpackedPath(paths, chainId)
    const found: ImageFinding[] = []
    if (tree === undefined) found.push(finding('is missing'))
    else if (!fs.lstatSync(tree).isDirectory()) found.push(finding('is no directory'))
    else {
      if (readFacts(paths, chainId) === undefined) found.push(finding('has no note that it is complete'))
      const blob = manifest?.layers[i]
      const diffId = config?.diffIds[i]
      const isReadable = blob !== undefined && diffId !== undefined && check(blob.digest, blob.size) === undefined
      if (options.deep === true && isReadable) {
        const lowers = chain.slice(0, i).flatMap((lower) => unpackedPath(paths, lower) ?? [])
        const layer = { blob: blobPath(paths, blob.digest), diffId, tree, lowers, work: paths.work }
        // A layer below that is missing has been told; what this one has of it cannot be.
        if (lowers.length === i) found.push(...(await compareLayer(layer)).map(finding))
      }
    }
    compared.set(chainId, found)
    findings.push(...found)
  }
  return [...findings, ...verifyCopy(context, chain)]
}

/** Where overlayfs cannot be given a layer, a copy of it and all below it must be there. */
function verifyCopy({ paths, options }: Context, chain: readonly ChainId[]): readonly ImageFinding[] {
  const top = chain.findLastIndex((chainId) => !fs.existsSync(layerPath(paths, chainId)))
  const chainId = chain[top]
  if (chainId === undefined || unpackedPath(paths, chainId) === undefined) return []
  const finding = (what: string): ImageFinding => ({ part: 'copy', digest: chainId, what })
  if (findSnapshot(paths, chain) === undefined) return [finding('is missing')]
  if (options.deep !== true) return []
  const layers = chain.slice(0, top + 1).flatMap((lower) => unpackedPath(paths, lower) ?? [])
  return layers.length === top + 1 ? compareWhole(wholePath(paths, chainId), layers).map(finding) : []
}

/** A name that was pulled with all its platforms leads to an index, which is stored with everything it names. */
function verifyIndex({ paths, check, documents }: Context, { resolved, manifest }: IndexEntry): ImageFinding[] {
  if (resolved === undefined || resolved === manifest.digest || !fs.existsSync(blobPath(paths, resolved))) return []
  const findings: ImageFinding[] = []
  const visit = (digest: Digest, size: number | undefined, depth: number): void => {
    const wrong = documents(digest, size)
    if (wrong !== undefined) return void findings.push({ part: 'blob', digest, what: wrong })
    const bytes = fs.readFileSync(blobPath(paths, digest))
    const add: Add = (part, of, what) => void findings.push({ part, digest: of, what })
    const where = `stored manifest ${digest}`
    const document = whatFits(digest, add, () => parseManifest(bytes, undefined, where, { artifacts: true }))
    if (document === undefined) return
    if ('manifests' in document) {
      if (depth < LIMITS.indexDepth) for (const entry of document.manifests) visit(entry.digest, entry.size, depth + 1)
      return
    }
    for (const part of [document.config, ...document.layers]) {
      const damage = check(part.digest, part.size)
      if (damage !== undefined) findings.push({ part: 'blob', digest: part.digest, what: damage })
    }
  }
  visit(resolved, undefined, 0)
  return findings
}
