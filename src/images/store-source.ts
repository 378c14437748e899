import * as fs from 'node:fs'
import { TscrunError, errnoOf } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import { parseManifest } from './documents.ts'
import { hasBlob } from './garbage.ts'
import { blobPath, type StorePaths } from './layout.ts'
import { readIfThere } from './files.ts'
import { type ImageStore, noSuchImage, type StoredImage } from './store.ts'
import type { ImageSource } from './transport.ts'
import type { Digest } from '../model/digest.ts'

const READ_SIZE = 1 << 20

/**
 * An image of the store as a source. Its name stands for the whole index where all of that is stored, else for the
 * manifest that is unpacked. The caller holds the store. Throws NO_SUCH_IMAGE.
 */
export function storeSource(store: ImageStore, nameOrId: string): ImageSource & { readonly image: StoredImage } {
  const image = store.find(nameOrId)
  if (image === undefined) throw noSuchImage(nameOrId)
  const top = wholeIndex(store, image, nameOrId) ?? image.manifest.digest
  return {
    name: nameOrId,
    image,
    async document(digest = top) {
      const bytes = readIfThere(blobPath(store.paths, digest))
      if (bytes === undefined) throw missing(digest, nameOrId)
      return { bytes, mediaType: digest === image.manifest.digest ? image.manifest.mediaType : undefined }
    },
    blob: (descriptor, offset) => readBlob(store.paths, descriptor, offset, nameOrId),
    close: async () => undefined,
  }
}

/** The digest of the index an image came from, if the store has everything it names. */
function wholeIndex(store: ImageStore, image: StoredImage, nameOrId: string): Digest | undefined {
  const name = image.names.find((candidate) => candidate === nameOrId) ?? image.names[0]
  const digest = name === undefined ? undefined : store.resolvedDigest(name)
  if (digest === undefined || digest === image.manifest.digest) return undefined
  return isWhole(store.paths, digest, 0) ? digest : undefined
}

function isWhole(paths: StorePaths, digest: Digest, depth: number): boolean {
  const bytes = depth > 4 ? undefined : readIfThere(blobPath(paths, digest))
  if (bytes === undefined) return false
  const document = parseManifest(bytes, undefined, `stored manifest ${digest}`, { artifacts: true })
  if ('manifests' in document) return document.manifests.every((entry) => isWhole(paths, entry.digest, depth + 1))
  return [document.config, ...document.layers].every((part) => hasBlob(paths, part.digest, part.size))
}

async function* readBlob(
  paths: StorePaths,
  { digest }: Descriptor,
  offset: number,
  name: string,
): AsyncGenerator<Buffer> {
  const path = blobPath(paths, digest)
  let file: fs.promises.FileHandle
  try {
    file = await fs.promises.open(path, 'r')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw missing(digest, name)
    throw error
  }
  try {
    for (let at = offset; ; ) {
      // A fresh buffer each time: whoever got the last one may still hold it.
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(READ_SIZE), 0, READ_SIZE, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

function missing(digest: Digest, name: string): TscrunError {
  return new TscrunError('STORE', `image ${name}: ${digest} is not in the store`, {
    subject: name,
    hint: 'pull the image again',
  })
}
