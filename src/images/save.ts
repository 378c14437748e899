import * as fs from 'node:fs'
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Digest } from '../model/digest.ts'
import { formatReference, parseReference } from '../model/reference.ts'
import { parseManifest } from './documents.ts'
import { blobPath } from './layout.ts'
import { type ImageStore, noSuchImage } from './store.ts'

/** What a member's data is written to. */
type Member = Writable

/**
 * Writes an image as an OCI archive: its OCI layout in a tar, which `skopeo`, `podman load` and `docker load` read.
 * Blobs go out as they are stored; nothing is packed anew.
 */
export async function saveImage(store: ImageStore, nameOrId: string, output: Writable): Promise<void> {
  using _hold = await store.hold()
  const image = store.find(nameOrId)
  if (image === undefined) throw noSuchImage(nameOrId)
  const { pack } = await import('tar-stream')
  const archive = pack()
  const writing = pipeline(archive as unknown as NodeJS.ReadableStream, output)
  const [firstName] = image.names
  const name = image.names.includes(nameOrId) ? nameOrId : firstName
  const index = {
    schemaVersion: 2,
    manifests: [{ ...image.manifest, ...(name === undefined ? {} : { annotations: nameAnnotations(name) }) }],
  }
  archive.entry({ name: 'oci-layout' }, '{"imageLayoutVersion":"1.0.0"}')
  archive.entry({ name: 'index.json' }, JSON.stringify(index))
  const add = async (digest: Digest): Promise<void> => {
    const path = blobPath(store.paths, digest)
    const { size } = await fs.promises.stat(path)
    const member = archive.entry({ name: `blobs/sha256/${digest.slice('sha256:'.length)}`, size })
    await pipeline(fs.createReadStream(path), member as unknown as Member)
  }
  const filling = (async () => {
    const manifest = parseManifest(store.readBlob(image.manifest.digest), undefined, `stored manifest of ${nameOrId}`)
    await add(image.manifest.digest)
    if ('config' in manifest) {
      // A blob two layers share is one member.
      const blobs = new Set([manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)])
      for (const digest of blobs) await add(digest)
    }
    archive.finalize()
  })()
  await Promise.all([writing, filling])
}

/** Two customs: skopeo and podman look for the first, containerd and docker for the second. */
function nameAnnotations(name: string): Readonly<Record<string, string>> {
  const full = formatReference(parseReference(name))
  return { 'org.opencontainers.image.ref.name': full, 'io.containerd.image.name': full }
}
