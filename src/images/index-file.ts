import * as fs from 'node:fs'
import { join } from 'node:path'
import { type Digest, parseDigest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, Platform } from '../model/image.ts'
import { formatPlatform, parsePlatform } from '../model/platform.ts'
import { makePrivateDirectory, parseJson, readIfThere, writeDurably } from './files.ts'
import type { StorePaths } from './layout.ts'

/** image-spec annotations.md: what skopeo and others call an image of a layout by. */
const NAME = 'org.opencontainers.image.ref.name'
const IMAGE_ID = 'dev.tscrun.image.id'
const RESOLVED = 'dev.tscrun.image.resolved'
const PLATFORM = 'dev.tscrun.image.platform'

/** One entry of index.json: a manifest, under a name or under none. */
export interface IndexEntry {
  readonly manifest: Descriptor
  /** The complete reference. */
  readonly name?: string
  /** Config digest. */
  readonly id: Digest
  readonly platform: Platform
  /** What the registry answered for the name: the digest of an index or of the manifest. */
  readonly resolved?: Digest
}

/**
 * Reads index.json; a store that does not exist has no entries. Entries other tools have put there are left alone
 * but not listed: their layers are not unpacked.
 */
export function readIndex(paths: StorePaths): readonly IndexEntry[] {
  return readAll(paths).flatMap((entry) => (entry.known === undefined ? [] : [entry.known]))
}

interface RawEntry {
  readonly raw: unknown
  readonly known: IndexEntry | undefined
}

function readAll(paths: StorePaths): readonly RawEntry[] {
  const bytes = readIfThere(paths.index)
  if (bytes === undefined) return []
  const where = whereOf(paths)
  try {
    const { manifests } = JSON.parse(bytes.toString()) as { manifests: unknown[] }
    return manifests.map((raw) => entryOf(raw, where))
  } catch (error) {
    if (!isDamage(error)) throw error
    throw new TscrunError('STORE', `${where}: damaged`, {
      subject: paths.index,
      hint: '`tscrun system check --repair` lists the images anew',
      cause: error,
    })
  }
}

const whereOf = (paths: StorePaths): string => `store index ${paths.index}`

function isDamage(error: unknown): boolean {
  return error instanceof SyntaxError || error instanceof TypeError || error instanceof TscrunError
}

/** What of an index that `readIndex` refuses can be read. */
function readGood(paths: StorePaths): readonly RawEntry[] {
  const document = parseJson(readIfThere(paths.index) ?? Buffer.of()) as { manifests?: unknown } | null | undefined
  const manifests: unknown = document?.manifests
  return (Array.isArray(manifests) ? manifests : []).flatMap((raw: unknown) => {
    try {
      return [entryOf(raw, whereOf(paths))]
    } catch (error) {
      if (isDamage(error)) return []
      throw error
    }
  })
}

function entryOf(raw: unknown, where: string): RawEntry {
  return { raw, known: parseEntry(raw as Descriptor, where) }
}

function parseEntry(raw: Descriptor, where: string): IndexEntry | undefined {
  const annotations = raw.annotations ?? {}
  const { [NAME]: name, [IMAGE_ID]: id, [RESOLVED]: resolved, [PLATFORM]: platform } = annotations
  if (typeof raw.digest !== 'string') throw new TypeError('a manifest without a digest')
  if (id === undefined || platform === undefined) return undefined
  if (name !== undefined && typeof name !== 'string') throw new TypeError('a name that is none')
  if (!Number.isSafeInteger(raw.size)) throw new TypeError('a manifest without a size')
  return {
    manifest: { mediaType: raw.mediaType, digest: parseDigest(raw.digest, where), size: raw.size },
    id: parseDigest(id, where),
    platform: parsePlatform(platform),
    ...(name === undefined ? {} : { name }),
    ...(resolved === undefined ? {} : { resolved: parseDigest(resolved, where) }),
  }
}

function rawEntry(entry: IndexEntry): object {
  return {
    ...entry.manifest,
    platform: entry.platform,
    annotations: {
      ...(entry.name === undefined ? {} : { [NAME]: entry.name }),
      [IMAGE_ID]: entry.id,
      [PLATFORM]: formatPlatform(entry.platform),
      ...(entry.resolved === undefined ? {} : { [RESOLVED]: entry.resolved }),
    },
  }
}

/** Makes the directories of a store. */
export function prepareLayout(paths: StorePaths): void {
  for (const path of [
    paths.root,
    paths.images,
    join(paths.images, 'blobs'),
    paths.blobs,
    paths.records,
    paths.layers,
    paths.work,
  ]) {
    makePrivateDirectory(path)
  }
}

/** Says that the directory of images is an OCI layout. The caller holds the store: else its half file may be swept away. */
export function markLayout(paths: StorePaths): void {
  const marker = join(paths.images, 'oci-layout')
  if (!fs.existsSync(marker)) writeDurably(marker, '{"imageLayoutVersion":"1.0.0"}\n', paths.work)
}

/** Replaces our entries; the caller holds the index lock. */
export function writeIndex(paths: StorePaths, entries: readonly IndexEntry[]): void {
  write(paths, foreignOf(readAll(paths)), entries)
}

/** The same of an index that `readIndex` refuses: what of it is none is left out. The caller is alone with the store. */
export function rewriteIndex(paths: StorePaths, change: (good: readonly IndexEntry[]) => readonly IndexEntry[]): void {
  const all = readGood(paths)
  write(paths, foreignOf(all), change(all.flatMap(({ known }) => known ?? [])))
}

function foreignOf(all: readonly RawEntry[]): readonly unknown[] {
  return all.flatMap(({ raw, known }) => (known === undefined ? [raw] : []))
}

function write(paths: StorePaths, foreign: readonly unknown[], entries: readonly IndexEntry[]): void {
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [...foreign, ...entries.map(rawEntry)],
  }
  writeDurably(paths.index, `${JSON.stringify(index)}\n`, paths.work)
}

/** Puts a manifest under a name; who had the name before stays without one while nobody else names it. */
export function withEntry(entries: readonly IndexEntry[], added: IndexEntry): readonly IndexEntry[] {
  const rest = entries.filter((entry) => entry.name !== added.name || entry.name === undefined)
  const loser = entries.find((entry) => entry.name !== undefined && entry.name === added.name)
  const kept = rest.filter((entry) => entry.name !== undefined || entry.manifest.digest !== added.manifest.digest)
  if (loser === undefined || loser.manifest.digest === added.manifest.digest) return [...kept, added]
  if (kept.some((entry) => entry.manifest.digest === loser.manifest.digest)) return [...kept, added]
  const { name: _, ...nameless } = loser
  return [...kept, nameless, added]
}
