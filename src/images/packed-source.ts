import * as fs from 'node:fs'
import { join } from 'node:path'
import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import { decompress } from './archives/spool.ts'
import { MEDIA_TYPES, parseImageConfig, parseManifest } from './documents.ts'
import { compressionOf } from './extractor/decompress.ts'
import { TEMPORARY_FILE, uniqueWord } from './files.ts'
import { packTar } from './make-layer.ts'
import type { Packing } from './packer.ts'
import type { ImageSource } from './transport.ts'

/** The manifest that is packed anew, and where files may lie meanwhile. */
export interface PackingPlace {
  readonly manifest: Descriptor
  readonly work: string
  readonly signal?: AbortSignal
}

const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar'
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar'

/**
 * One manifest of a source with its layers packed anew; the config, and with it the image's id, stays. The layers lie in files
 * until the source is closed. Docker's manifests know gzip only: one whose layers become zstd becomes one of OCI.
 */
export async function packedSource(source: ImageSource, packing: Packing, place: PackingPlace): Promise<ImageSource> {
  const { bytes } = await source.document(place.manifest.digest)
  const manifest = parseManifest(bytes, place.manifest.mediaType, `manifest of ${source.name}`)
  if ('manifests' in manifest) throw new Error('an index where a manifest was')
  const diffIds = await diffIdsOf(source, manifest.config)
  const files = new Map<Digest, string>()
  const close = async (): Promise<void> => {
    for (const file of files.values()) fs.rmSync(file, { force: true })
    await source.close()
  }
  try {
    const isDocker = manifest.mediaType === MEDIA_TYPES.dockerManifest && packing.format === 'gzip'
    const layers: Descriptor[] = []
    for (const [index, layer] of manifest.layers.entries()) {
      place.signal?.throwIfAborted()
      const mediaType = isDocker ? `${DOCKER_LAYER}.gzip` : `${OCI_LAYER}+${packing.format}`
      if (await isPacked(source, layer, packing)) {
        layers.push({ ...layer, mediaType })
        continue
      }
      const file = join(place.work, `${TEMPORARY_FILE}${uniqueWord()}`)
      // Known by its name until it has a digest, so that it goes in any case.
      files.set(file as Digest, file)
      const packed = await packTar(file, packing, (write) =>
        decompress(interruptible(source.blob(layer, 0), place.signal), write, { where: `layer ${layer.digest}` }),
      )
      if (packed.diffId !== diffIds[index]) throw wrong(source, layer)
      files.set(packed.digest, file)
      layers.push({ mediaType, digest: packed.digest, size: packed.size })
    }
    const document = files.size === 0 ? { bytes, mediaType: manifest.mediaType } : describe(bytes, { isDocker, layers })
    return {
      name: source.name,
      document: async () => document,
      blob: (descriptor, offset) => {
        const file = files.get(descriptor.digest)
        return file === undefined ? source.blob(descriptor, offset) : fs.createReadStream(file, { start: offset })
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** The manifest with other layers; whatever else it says stays. */
function describe(
  bytes: Buffer,
  { isDocker, layers }: { readonly isDocker: boolean; readonly layers: readonly Descriptor[] },
): { readonly bytes: Buffer; readonly mediaType: string } {
  const document = JSON.parse(bytes.toString()) as { config: object }
  const mediaType = isDocker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest
  const config = isDocker ? document.config : { ...document.config, mediaType: OCI_CONFIG }
  return { bytes: Buffer.from(JSON.stringify({ ...document, mediaType, config, layers })), mediaType }
}

async function diffIdsOf(source: ImageSource, config: Descriptor): Promise<readonly string[]> {
  const parts: Buffer[] = []
  for await (const chunk of source.blob(config, 0)) parts.push(chunk)
  return parseImageConfig(Buffer.concat(parts), `config of ${source.name}`).diffIds
}

/** Whether a layer can stay as it is. */
async function isPacked(source: ImageSource, layer: Descriptor, { format, level, force }: Packing): Promise<boolean> {
  if (force === true || level !== undefined) return false
  for await (const chunk of source.blob(layer, 0)) return compressionOf(chunk) === format
  return false
}

async function* interruptible(chunks: AsyncIterable<Buffer>, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    signal?.throwIfAborted()
    yield chunk
  }
}

function wrong(source: ImageSource, layer: Descriptor): TscrunError {
  return new TscrunError(
    'DIGEST_MISMATCH',
    `read ${layer.digest} of ${source.name}: its content is not what the image promises`,
    {
      subject: source.name,
      hint: 'pull the image again',
    },
  )
}
