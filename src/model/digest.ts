import type { Brand } from './brand.ts'
import { TscrunError } from './errors.ts'

/** `sha256:<64 hex>` of bytes as they are stored or sent (OCI image-spec, descriptor.md). */
export type Digest = Brand<string, 'Digest'>
/** The digest of a layer's *uncompressed* tar (image-spec config.md, `rootfs.diff_ids`). */
export type DiffId = Brand<string, 'DiffId'>
/** Names a stack of layers, bottom to top (image-spec config.md, Layer ChainID). */
export type ChainId = Brand<string, 'ChainId'>

const SHA256 = /^sha256:[0-9a-f]{64}$/

/** Checks a digest of untrusted origin. Only sha256 is taken: its text is safe as a file name. */
export function parseDigest(text: unknown, where: string): Digest {
  if (typeof text === 'string' && SHA256.test(text)) return text as Digest
  throw new TscrunError('INVALID_IMAGE', `${where}: not a sha256 digest: ${JSON.stringify(text)?.slice(0, 100)}`)
}

export function parseDiffId(text: unknown, where: string): DiffId {
  return parseDigest(text, where) as unknown as DiffId
}

/** The 64 hex characters of a digest, for file names. */
export function hexOf(digest: Digest | DiffId | ChainId): string {
  return digest.slice('sha256:'.length)
}
