import * as fs from 'node:fs'
import { join } from 'node:path'
import { type Digest, parseDigest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor, Platform } from '../model/image.ts'
import { formatPlatform, parsePlatform } from '../model/platform.ts'
import { makePrivateDirectory, readIfThere, writeDurably } from './files.ts'
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
  const where = `store index ${paths.index}`
  try {
    const { manifests } = JSON.parse(bytes.toString()) as { manifests: unknown[] }
    return manifests.map((raw) => ({ raw, known: parseEntry(raw as Descriptor, where) }))
  } catch (error) {
    const isContent = error instanceof SyntaxError || error instanceof TypeError || error instanceof TscrunError
    if (!isContent) throw error
    throw new TscrunError('STORE', `${where}: damaged`, {
      subject: paths.index,
      hint: '`tscrun system check --repair` lists the images anew',
      cause: error,
    })
  }
}

function parseEntry(raw: Descriptor, where: string): IndexEntry | undefined {
  const annotations = raw.annotations ?? {}
  const { [NAME]: name, [IMAGE_ID]: id, [RESOLVED]: resolved, [PLATFORM]: platform } = annotations
  if (typeof raw.digest !== 'string') throw new TypeError('a manifest without a digest')
  if (id === undefined || platform === undefined) return undefined
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
  const foreign = readAll(paths).flatMap((entry) => (entry.known === undefined ? [entry.raw] : []))
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
