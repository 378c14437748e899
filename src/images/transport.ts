import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'

/**
 * Images outside the store: in a registry, in a directory, in an archive. A *source* is read, a *target* is written, and
 * `copyImage` (copy.ts) is what goes between any two of them. Sources and targets only move bytes: sizes and digests are
 * checked by the copy, while the bytes pass.
 */

/** A manifest or an index as it is stored or sent, byte for byte. */
export interface ImageDocument {
  readonly bytes: Buffer
  /** As announced, without parameters; undefined where nobody says. */
  readonly mediaType: string | undefined
}

/** Where an image comes from. */
export interface ImageSource {
  /** For messages: `docker://host/name:1`, `oci:/dir:name`. */
  readonly name: string
  /** What the name stands for, a manifest or an index; with a digest the one that such an index names. */
  document(digest?: Digest): Promise<ImageDocument>
  /** A blob's bytes from byte `offset` on, in order and whole. */
  blob(descriptor: Descriptor, offset: number): AsyncIterable<Buffer>
  close(): Promise<void>
}

/** Where an image goes. Blobs come first, then manifests, then the index: whoever looks finds nothing that is half there. */
export interface ImageTarget {
  readonly name: string
  /** False where there is room for one platform only. */
  readonly takesIndex: boolean
  hasBlob(descriptor: Descriptor): Promise<boolean>
  /**
   * `content` gives the bytes from an offset on: a target that loses a part on the way asks for that again. Answers
   * `mounted` where the bytes were there under another name and none had to be sent.
   */
  putBlob(descriptor: Descriptor, content: (offset: number) => AsyncIterable<Buffer>): Promise<'copied' | 'mounted'>
  /** `isTop` is true for the last one: what the image's name will stand for. */
  putDocument(document: ImageDocument & { readonly digest: Digest }, isTop: boolean): Promise<void>
  /** All has come: from now on the image is to be seen. */
  finish(): Promise<void>
  /** Gives up what was not finished. */
  close(): Promise<void>
}

/** A place as it is typed: `docker://host/name:tag`, `oci:PATH[:NAME]`, `docker-archive:PATH[:NAME]`, ... */
export interface ImageLocation {
  readonly transport: (typeof TRANSPORTS)[number]
  /** What follows the transport's name, without `//` for docker. */
  readonly rest: string
}

export const TRANSPORTS = ['docker', 'oci', 'oci-archive', 'docker-archive', 'dir'] as const

/** Takes a place apart; undefined for a text that begins with no transport's name. Throws USAGE for one without a rest. */
export function parseLocation(text: string): ImageLocation | undefined {
  const transport = TRANSPORTS.find((name) => text.startsWith(`${name}:`))
  if (transport === undefined) return undefined
  const after = text.slice(transport.length + 1)
  // `docker:5000/x` is a host called docker.
  if (transport === 'docker' && !after.startsWith('//')) return undefined
  const rest = transport === 'docker' ? after.slice(2) : after
  if (rest === '') {
    throw new TscrunError('USAGE', `${text}: nothing after ${transport}:`, {
      subject: text,
      hint: transport === 'docker' ? 'docker://HOST/NAME:TAG' : `${transport}:PATH`,
    })
  }
  return { transport, rest }
}
