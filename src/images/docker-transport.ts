import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import { formatReference, type Reference } from '../model/reference.ts'
import { manifestReference } from '../registry/client.ts'
import { pushClient } from '../registry/push.ts'
import { digestOf } from './chain.ts'
import { LIMITS, MEDIA_TYPES } from './documents.ts'
import { openForPush, openForReading, type ReachOptions } from './open-registry.ts'
import type { ImageSource, ImageTarget } from './transport.ts'

/** The types of documents a registry is asked for. */
export const ACCEPT: readonly string[] = Object.values(MEDIA_TYPES)

/** An image in a registry, to be read; mirrors count. Throws REGISTRY_BLOCKED. */
export function dockerSource(reference: Reference, options: ReachOptions): ImageSource {
  const client = openForReading(reference, options)
  const name = formatReference(reference)
  return {
    name,
    async document(digest = reference.digest) {
      const fetched = await client.manifest(digest ?? manifestReference(reference), ACCEPT, LIMITS.manifest)
      const said = digest ?? fetched.digest
      if (said !== undefined && said !== digestOf(fetched.bytes)) {
        throw new TscrunError('DIGEST_MISMATCH', `manifest of ${name}: not what ${said.slice(0, 100)} stands for`, {
          subject: name,
        })
      }
      return { bytes: fetched.bytes, mediaType: fetched.mediaType }
    },
    blob: (descriptor, offset) => client.blob(descriptor, offset),
    close: async () => client.close(),
  }
}

export interface DockerTargetOptions extends ReachOptions {
  /** Repositories of the same registry that should have a blob, likeliest first. */
  readonly mountFrom?: (descriptor: Descriptor) => readonly string[]
}

/** An image in a registry, to be written. Throws REGISTRY_BLOCKED. */
export function dockerTarget(reference: Reference, options: DockerTargetOptions): ImageTarget {
  const session = openForPush(reference, options)
  const client = pushClient(session, reference.repository)
  return {
    name: formatReference(reference),
    takesIndex: true,
    hasBlob: (descriptor) => client.hasBlob(descriptor),
    putBlob: (descriptor, content) => client.putBlob(descriptor, content, options.mountFrom?.(descriptor) ?? []),
    async putDocument(document, isTop) {
      if (isTop) checkDigest(reference, document.digest)
      const name = isTop ? (reference.tag ?? document.digest) : document.digest
      await client.putManifest(name, document)
    },
    finish: async () => undefined,
    close: async () => session.close(),
  }
}

/** Who names a digest to push to wants exactly that. */
function checkDigest(reference: Reference, digest: Digest): void {
  if (reference.digest === undefined || reference.digest === digest) return
  const name = formatReference(reference)
  throw new TscrunError('DIGEST_MISMATCH', `push ${name}: the image is ${digest}`, {
    subject: name,
    hint: 'push to a tag',
  })
}
