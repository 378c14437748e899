import { createHash } from 'node:crypto'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import type { Reference } from '../model/reference.ts'
import { type FetchedManifest, openRegistry, type RegistryClient } from './client.ts'
import type { Endpoint } from './endpoints.ts'
import type { RegistryOptions } from './session.ts'

export type ReadOptions = Omit<RegistryOptions, 'registry' | 'repository' | 'verb'>

/**
 * Reads an image from the first endpoint that has it. A mirror that fails, also in the middle of a blob, is left for the
 * next endpoint; what the last one says is thrown. Digests are checked by who asked, so bytes of several may be mixed.
 * One whose bytes are not what the digest says is left, too. Each endpoint gets the login that is configured for it; `--creds` is for the last one, which is what the user named.
 */
export function openMirrored(endpoints: readonly Endpoint[], options: ReadOptions): RegistryClient {
  const [only] = endpoints
  if (only === undefined) throw new Error('no endpoint')
  if (endpoints.length === 1) return openEndpoint(only, options)
  const clients = endpoints.map((endpoint) => ({ endpoint, client: openEndpoint(endpoint, options) }))
  let current = 0
  /** By digest, the first endpoint that bytes of a blob came from. */
  const sourceOf = new Map<string, number>()

  /** The mirror is given up for the rest of the image; false where it was the last one. */
  function giveUp(index: number, error: unknown): boolean {
    if (index === clients.length - 1 || !(error instanceof TscrunError) || error.code === 'ABORTED') return false
    if (current === index) {
      current++
      const from = clients[index]?.endpoint.reference
      options.onRetry?.(`mirror ${from === undefined ? '' : hostAndPath(from)}: ${error.message}`)
    }
    return true
  }

  async function first<T>(ask: (client: RegistryClient) => Promise<T>): Promise<T> {
    for (;;) {
      const index = current
      const at = clients[index]
      if (at === undefined) throw new Error(`no endpoint ${index}`)
      try {
        return await ask(at.client)
      } catch (error) {
        if (!giveUp(index, error)) throw error
      }
    }
  }

  async function* blob(
    descriptor: Descriptor,
    offset: number,
    onRetry?: (reason: string) => void,
  ): AsyncGenerator<Buffer> {
    let at = offset
    for (;;) {
      const index = current
      if (at === 0 || !sourceOf.has(descriptor.digest)) sourceOf.set(descriptor.digest, index)
      try {
        for await (const chunk of clients[index]?.client.blob(descriptor, at, onRetry) ?? []) {
          at += chunk.length
          yield chunk
        }
        return
      } catch (error) {
        if (!giveUp(index, error)) throw error
      }
    }
  }

  return {
    manifest: (reference, accept, maxBytes): Promise<FetchedManifest> =>
      first(async (client) => checkedManifest(await client.manifest(reference, accept, maxBytes), reference)),
    manifestDigest: (tag, accept) => first((client) => client.manifestDigest(tag, accept)),
    blob,
    otherPlace: ({ digest }) => {
      const subject = `blob ${digest.slice(0, 19)}`
      return giveUp(sourceOf.get(digest) ?? current, wrongBytes(subject))
    },
    close: () => {
      for (const { client } of clients) client.close()
    },
  }
}

/** A mirror may not choose what is run: what it sends must be what was asked for, or what it says itself. */
function checkedManifest(fetched: FetchedManifest, reference: string): FetchedManifest {
  const found = `sha256:${createHash('sha256').update(fetched.bytes).digest('hex')}`
  const wanted = reference.startsWith('sha256:') ? reference : (fetched.digest ?? found)
  if (found !== wanted) throw wrongBytes(`manifest ${reference.slice(0, 19)}`)
  return fetched
}

function wrongBytes(subject: string): TscrunError {
  return new TscrunError('DIGEST_MISMATCH', `${subject}: other bytes than its digest says`, { subject })
}

function hostAndPath({ registry, repository }: Reference): string {
  return `${registry}/${repository}`
}

function openEndpoint({ reference, insecure, isMirror }: Endpoint, options: ReadOptions): RegistryClient {
  const { creds: _, ...configured } = options.logins ?? {}
  return openRegistry({
    ...options,
    registry: reference.registry,
    repository: reference.repository,
    // What is typed wins over what is configured.
    tlsVerify: options.tlsVerify ?? !insecure,
    ...(isMirror ? { logins: configured } : {}),
  })
}
