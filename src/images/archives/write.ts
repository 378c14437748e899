import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { type ArchiveWriter, createArchiveWriter, type Member } from '../../archive/writer.ts'
import { type Digest, hexOf } from '../../model/digest.ts'
import { TscrunError } from '../../model/errors.ts'
import type { Descriptor } from '../../model/image.ts'
import { digestOf } from '../chain.ts'
import { MEDIA_TYPES, parseImageConfig, parseManifest } from '../documents.ts'
import { makePrivateDirectory, TEMPORARY_FILE, uniqueWord } from '../files.ts'
import type { ImageTarget } from '../transport.ts'
import { decompress } from './spool.ts'

/** An archive that images are put into, one after the other. */
export interface ImageArchive {
  /** For one image, which has these complete names. */
  target(names: readonly string[]): ImageTarget
  /** Writes what tells of all images; resolves when the archive is whole. */
  finish(): Promise<void>
  abort(): void
}

type Take = (chunk: Buffer) => Promise<void> | void

const FILE = { kind: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n } as const

function memberOf(name: string): Member {
  return { ...FILE, name: Buffer.from(name) }
}

/** One thing after the other: members of an archive cannot be written side by side. */
function inTurn(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const next = last.then(work)
    last = next.catch(() => undefined)
    return next
  }
}

/** Two customs: skopeo and podman look for the first, containerd and docker for the second. */
export function nameAnnotations(name: string): Readonly<Record<string, string>> {
  return { 'org.opencontainers.image.ref.name': name, 'io.containerd.image.name': name }
}

export const OCI_LAYOUT = '{"imageLayoutVersion":"1.0.0"}'

/** An OCI layout in a tar: blobs as they are. */
export function createOciArchive(take: Take, name: string): ImageArchive {
  const writer = createArchiveWriter(take)
  const turn = inTurn()
  const written = new Set<Digest>()
  const entries: object[] = []
  const add = (digest: Digest, size: number, chunks: AsyncIterable<Buffer>): Promise<void> =>
    turn(async () => {
      if (written.has(digest)) return
      written.add(digest)
      await writer.addStream(memberOf(`blobs/sha256/${hexOf(digest)}`), size, chunks)
    })
  return {
    target: (names) => ({
      name,
      takesIndex: true,
      hasBlob: async ({ digest }) => written.has(digest),
      putBlob: async ({ digest, size }, content) => {
        await add(digest, size, content(0))
        return 'copied'
      },
      putDocument: async ({ bytes, mediaType, digest }, isTop) => {
        await add(digest, bytes.length, oneChunk(bytes))
        if (isTop) entries.push(...indexEntries({ mediaType: mediaType ?? '', digest, size: bytes.length }, names))
      },
      finish: async () => undefined,
      close: async () => undefined,
    }),
    finish: async () => {
      await writer.addBytes(memberOf('oci-layout'), Buffer.from(OCI_LAYOUT))
      await writer.addBytes(memberOf('index.json'), Buffer.from(indexJson(entries)))
      await writer.end()
    },
    abort: () => writer.abort(),
  }
}

/** An entry for each name; one without a name where there is none. */
export function indexEntries(descriptor: Descriptor, names: readonly string[]): readonly object[] {
  if (names.length === 0) return [descriptor]
  return names.map((name) => ({ ...descriptor, annotations: nameAnnotations(name) }))
}

export function indexJson(entries: readonly unknown[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: entries })
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
}

interface DockerEntry {
  readonly Config: string
  readonly RepoTags: readonly string[]
  readonly Layers: readonly string[]
}

/** Nothing is unpacked: what there is of it, is copied. */
const MAX_LAYER = 2 ** 39

/**
 * docker's archive: layers as tars without compression, called by their diff ids, which are checked on the way. A layer
 * is unpacked to a file in `work` first, since a header tells the size of what follows.
 */
export function createDockerArchive(take: Take, name: string, work: string): ImageArchive {
  const writer = createArchiveWriter(take)
  const turn = inTurn()
  const entries: DockerEntry[] = []
  /** By the digest of the blob. */
  const layers = new Map<Digest, string>()
  const members = new Set<string>()

  async function addLayer({ digest }: Descriptor, content: (offset: number) => AsyncIterable<Buffer>): Promise<void> {
    if (layers.has(digest)) return
    makePrivateDirectory(work)
    const copy = join(work, `${TEMPORARY_FILE}${uniqueWord()}`)
    const file = await fs.promises.open(copy, 'wx+', 0o600)
    try {
      const hash = createHash('sha256')
      let size = 0
      await decompress(
        content(0),
        async (chunk) => {
          hash.update(chunk)
          size += chunk.length
          await file.writeFile(chunk)
        },
        { where: `layer ${digest.slice(0, 19)}`, maxUnpackSize: MAX_LAYER },
      )
      const member = `${hash.digest('hex')}.tar`
      layers.set(digest, member)
      if (!members.has(member)) await writer.addStream(memberOf(member), size, readBack(copy))
      members.add(member)
    } finally {
      await file.close()
      fs.rmSync(copy, { force: true })
    }
  }

  return {
    target: (names) => {
      const configs = new Map<Digest, Buffer>()
      return {
        name,
        takesIndex: false,
        hasBlob: async ({ digest }) => layers.has(digest),
        putBlob: (descriptor, content) =>
          turn(async (): Promise<'copied'> => {
            if (isConfig(descriptor)) configs.set(descriptor.digest, await collect(content(0)))
            else await addLayer(descriptor, content)
            return 'copied'
          }),
        putDocument: ({ bytes, mediaType }) =>
          turn(async () => {
            const manifest = parseManifest(bytes, mediaType, `manifest of ${name}`)
            if ('manifests' in manifest) throw new Error('an index for one platform')
            const config = configs.get(manifest.config.digest)
            if (config === undefined) throw new Error('a manifest before its config')
            entries.push(await addImage(writer, { names, config, members, blobs: manifest.layers, layers }))
          }),
        finish: async () => undefined,
        close: async () => undefined,
      }
    },
    finish: async () => {
      await writer.addBytes(memberOf('manifest.json'), Buffer.from(JSON.stringify(entries)))
      await writer.end()
    },
    abort: () => writer.abort(),
  }
}

interface DockerParts {
  readonly names: readonly string[]
  readonly config: Buffer
  readonly members: Set<string>
  readonly blobs: readonly Descriptor[]
  readonly layers: ReadonlyMap<Digest, string>
}

async function addImage(writer: ArchiveWriter, parts: DockerParts): Promise<DockerEntry> {
  const { config, members, blobs, layers } = parts
  const { diffIds } = parseImageConfig(config, 'config of the image')
  const Layers = blobs.map(({ digest }, index) => {
    const member = layers.get(digest)
    const diffId = diffIds[index]
    if (member !== undefined && diffId !== undefined && member === `${hexOf(diffId)}.tar`) return member
    throw new TscrunError('DIGEST_MISMATCH', `layer ${digest}: its content is not the ${diffId} the image promises`, {
      subject: digest,
    })
  })
  const Config = `${hexOf(digestOf(config))}.json`
  if (!members.has(Config)) await writer.addBytes(memberOf(Config), config)
  members.add(Config)
  return { Config, RepoTags: parts.names, Layers }
}

function isConfig({ mediaType }: Descriptor): boolean {
  return /\.(?:image\.config\.v1|container\.image\.v1)\+json$/.test(mediaType)
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return Buffer.concat(parts)
}

function readBack(path: string): AsyncIterable<Buffer> {
  return fs.createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>
}
