import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { type Digest, hexOf, parseDigest } from '../../model/digest.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { Descriptor } from '../../model/image.ts'
import { formatReference, parseReference } from '../../model/reference.ts'
import { digestOf } from '../chain.ts'
import { LIMITS, MEDIA_TYPES, parseImageConfig, parseManifest } from '../documents.ts'
import { compressionOf } from '../extractor/decompress.ts'
import * as json from '../json.ts'
import type { ImageDocument, ImageSource } from '../transport.ts'
import { type NamedFiles, openDirectoryFiles } from './members.ts'

/** An image of a layout or an archive, with the names it has there. */
export interface ArchivedImage {
  readonly names: readonly string[]
  /** Its files are those of the archive, which the opener closes. */
  readonly source: ImageSource
}

const REF_NAME = 'org.opencontainers.image.ref.name'
const CONTAINERD_NAME = 'io.containerd.image.name'
const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar'

/** What an archive or a directory holds, told by what is in it. Throws INVALID_IMAGE where it is nothing known. */
export async function readImages(files: NamedFiles): Promise<readonly ArchivedImage[]> {
  if (files.size('manifest.json') !== undefined) {
    const bytes = files.read('manifest.json', LIMITS.manifest)
    // docker's list begins with a bracket; in a directory of skopeo's it is the manifest itself.
    return isList(bytes) ? readDockerArchive(files, bytes) : [{ names: [], source: dirSource(files) }]
  }
  if (files.size('index.json') !== undefined) return readOciLayout(files)
  if (files.size('repositories') !== undefined) {
    throw new TscrunError('INVALID_IMAGE', `${files.name}: an archive of docker before 1.10, which is not supported`, {
      subject: files.name,
      hint: 'load and save it with a newer docker first',
    })
  }
  throw new TscrunError('INVALID_IMAGE', `${files.name}: no archive of images`, {
    subject: files.name,
    hint: 'a root filesystem as a tar becomes an image by `tscrun import`',
  })
}

function isList(bytes: Buffer): boolean {
  return bytes.toString('utf8', 0, 64).trimStart().startsWith('[')
}

/** image-spec image-layout.md. */
export function readOciLayout(files: NamedFiles): readonly ArchivedImage[] {
  const index = parseManifest(
    files.read('index.json', LIMITS.manifest),
    MEDIA_TYPES.ociIndex,
    `${files.name} index.json`,
  )
  if (!('manifests' in index)) throw new TscrunError('INVALID_IMAGE', `${files.name}: its index.json is no index`)
  const blobs = (digest: Digest): string => `blobs/sha256/${hexOf(digest)}`
  return index.manifests.map((entry) => {
    const { [REF_NAME]: refName, [CONTAINERD_NAME]: fullName } = entry.annotations ?? {}
    const names = [...new Set([fullName, refName])].filter((name) => name !== undefined)
    return { names, source: filesSource(files, entry, blobs) }
  })
}

function filesSource(files: NamedFiles, top: Descriptor, pathOf: (digest: Digest) => string): ImageSource {
  return {
    name: files.name,
    document: async (digest = top.digest): Promise<ImageDocument> => {
      const bytes = files.read(pathOf(digest), LIMITS.manifest)
      if (digestOf(bytes) === digest) return { bytes, mediaType: digest === top.digest ? top.mediaType : undefined }
      throw new TscrunError('DIGEST_MISMATCH', `${files.name}: not what ${digest} stands for`, { subject: files.name })
    },
    blob: ({ digest }, offset) => files.stream(pathOf(digest), offset),
    close: async () => files.close(),
  }
}

/** skopeo's `dir:`: manifest.json is the manifest, blobs are called by their hex. */
export function dirSource(files: NamedFiles): ImageSource {
  return {
    name: files.name,
    document: async (digest): Promise<ImageDocument> => {
      const name = digest === undefined ? 'manifest.json' : `${hexOf(digest)}.manifest.json`
      const bytes = files.read(name, LIMITS.manifest)
      if (digest === undefined || digestOf(bytes) === digest) return { bytes, mediaType: undefined }
      throw new TscrunError('DIGEST_MISMATCH', `${files.name}: not what ${digest} stands for`, { subject: files.name })
    },
    blob: ({ digest }, offset) => files.stream(hexOf(digest), offset),
    close: async () => files.close(),
  }
}

/** docker's archive: a list of images, each with the names of its config and of the tars of its layers. */
async function readDockerArchive(files: NamedFiles, list: Buffer): Promise<readonly ArchivedImage[]> {
  const where = `${files.name} manifest.json`
  const document = json.parseJsonObject(
    Buffer.concat([Buffer.from('{"images":'), list, Buffer.from('}')]),
    where,
    LIMITS.manifest + 11,
  )
  const known = new Map<string, Promise<Descriptor>>()
  const images: ArchivedImage[] = []
  for (const item of json.list(document, 'images', where, 1000)) {
    const image = json.asObject(item, where)
    const [configPath, layerPaths] = [
      json.requiredString(image, 'Config', where),
      json.stringList(image, 'Layers', where, LIMITS.layers),
    ]
    images.push({
      names: json.stringList(image, 'RepoTags', where),
      source: await dockerArchiveSource(files, { configPath, layerPaths, known }),
    })
  }
  return images
}

interface DockerImage {
  readonly configPath: string
  readonly layerPaths: readonly string[]
  /** Layers by their path in the archive: images share them. */
  readonly known: Map<string, Promise<Descriptor>>
}

async function dockerArchiveSource(
  files: NamedFiles,
  { configPath, layerPaths, known }: DockerImage,
): Promise<ImageSource> {
  const configBytes = files.read(configPath, LIMITS.config)
  const { diffIds } = parseImageConfig(configBytes, `config of ${files.name}`)
  if (diffIds.length !== layerPaths.length) {
    throw new TscrunError(
      'INVALID_IMAGE',
      `${files.name}: ${layerPaths.length} layers, but its config has ${diffIds.length}`,
    )
  }
  const config = { mediaType: OCI_CONFIG, digest: digestOf(configBytes), size: configBytes.length }
  const layers: Descriptor[] = []
  const paths = new Map<Digest, string>([[config.digest, configPath]])
  for (const [index, path] of layerPaths.entries()) {
    const described = known.get(path) ?? describeLayer(files, path, diffIds[index] ?? '')
    known.set(path, described)
    const layer = await described
    layers.push(layer)
    paths.set(layer.digest, path)
  }
  const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers }
  const bytes = Buffer.from(JSON.stringify(manifest))
  return {
    name: files.name,
    document: async () => ({ bytes, mediaType: MEDIA_TYPES.ociManifest }),
    blob: ({ digest }, offset) => files.stream(paths.get(digest) ?? hexOf(digest), offset),
    close: async () => files.close(),
  }
}

/**
 * A tar that is not compressed is its own diff id, which is checked when it is read; what is compressed is hashed here.
 */
async function describeLayer(files: NamedFiles, path: string, diffId: string): Promise<Descriptor> {
  const size = files.size(path)
  if (size === undefined)
    throw new TscrunError('INVALID_IMAGE', `${files.name}: the layer ${JSON.stringify(path)} is missing`)
  let start = Buffer.alloc(0)
  for await (const chunk of files.stream(path, 0)) {
    start = Buffer.from(chunk.subarray(0, 8))
    break
  }
  const compression = compressionOf(start)
  if (compression === 'none') {
    return { mediaType: OCI_LAYER, digest: parseDigest(diffId, `config of ${files.name}`), size }
  }
  const hash = createHash('sha256')
  for await (const chunk of files.stream(path, 0)) hash.update(chunk)
  return { mediaType: `${OCI_LAYER}+${compression}`, digest: `sha256:${hash.digest('hex')}` as Digest, size }
}

/** As it stands there, or as the same complete name: `alpine:3` and `docker.io/library/alpine:3`. */
function isSameName(one: string, other: string): boolean {
  return one === other || (completeName(one) !== undefined && completeName(one) === completeName(other))
}

/** The complete reference that a name of an archive is; undefined for one that is none, e.g. a tag alone. */
export function completeName(text: string): string | undefined {
  if (!/[:/]/.test(text)) return undefined
  try {
    const reference = parseReference(text)
    return reference.digest === undefined ? formatReference(reference) : undefined
  } catch (error) {
    if (error instanceof TscrunError) return undefined
    throw error
  }
}

/** The one image that is meant: by its name, or the only one there is. Throws NO_SUCH_IMAGE. */
export function chooseImage(images: readonly ArchivedImage[], name: string | undefined, where: string): ImageSource {
  const found =
    name === undefined ? images : images.filter((image) => image.names.some((other) => isSameName(other, name)))
  const [only, ...others] = found
  if (only !== undefined && others.length === 0) return only.source
  const names = images.flatMap((image) => image.names)
  throw new TscrunError(
    'NO_SUCH_IMAGE',
    `${where}: ${only === undefined ? 'there is no such image' : 'it holds several images'}`,
    {
      subject: where,
      hint: names.length === 0 ? 'none of them has a name' : `give one of ${names.slice(0, 20).join(', ')}`,
    },
  )
}

/** Opens a directory that is a layout. Throws USAGE. */
export function openLayoutDirectory(path: string): NamedFiles {
  try {
    if (!fs.statSync(path).isDirectory())
      throw new TscrunError('USAGE', `open ${path}: no directory`, { subject: path })
    fs.accessSync(join(path, '.'), fs.constants.R_OK)
    return openDirectoryFiles(path)
  } catch (error) {
    const errno = errnoOf(error)
    if (error instanceof TscrunError || errno === undefined) throw error
    throw new TscrunError('USAGE', `open ${path}: ${errno}`, { errno, subject: path, cause: error })
  }
}
