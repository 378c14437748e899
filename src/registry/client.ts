import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import { beforeNextTry, PassingFault } from './retry.ts'
import { openSession, type RegistryOptions, type Session } from './session.ts'
import type { HttpResponse } from './transport.ts'

export interface FetchedManifest {
  readonly bytes: Buffer
  /** As announced, without parameters. */
  readonly mediaType: string | undefined
  /** As announced; undefined where the registry says none. */
  readonly digest: string | undefined
}

/**
 * One repository of one registry (OCI distribution-spec, pull). It checks sizes and status codes; digests are
 * checked by who asked, while the bytes stream by.
 */
export interface RegistryClient {
  /** `reference` is a tag or a digest. Throws NO_SUCH_IMAGE. */
  manifest(reference: string, accept: readonly string[], maxBytes: number): Promise<FetchedManifest>
  /** The digest a tag has now; undefined where the registry does not say. */
  manifestDigest(tag: string, accept: readonly string[]): Promise<string | undefined>
  /** A blob from byte `offset` on, in order and whole; broken transfers are continued without the reader noticing. */
  blob(descriptor: Descriptor, offset: number, onRetry?: (reason: string) => void): AsyncGenerator<Buffer>
  /** The bytes of this blob were wrong: true where another place is asked from now on. Absent where there is one alone. */
  otherPlace?(descriptor: Descriptor): boolean
  close(): void
}

/** Bytes after which a connection was worth it; less, again and again, is a registry that does not want to end. */
const PROGRESS = 64 << 10

export function openRegistry(options: RegistryOptions): RegistryClient {
  const session = openSession(options)
  return { ...readingClient(session, options.repository), close: () => session.close() }
}

/** The reading half, over a session that may serve others too. */
export function readingClient(session: Session, repository: string): Omit<RegistryClient, 'close'> {
  const { subject } = session
  const urlOf = (kind: 'manifests' | 'blobs', name: string): Promise<URL> =>
    session.url(`/v2/${repository}/${kind}/${name}`)

  async function manifest(reference: string, accept: readonly string[], maxBytes: number): Promise<FetchedManifest> {
    return session.retrying(async () => {
      const request = { headers: { accept: accept.join(', ') } }
      const asked = { what: `manifest ${reference}`, ok: [200] }
      const response = await session.ask(await urlOf('manifests', reference), request, asked)
      const bytes = await response.read(maxBytes, `manifest of ${subject}`)
      const mediaType = response.headers.get('content-type')?.split(';', 1)[0]?.trim()
      return { bytes, mediaType, digest: response.headers.get('docker-content-digest') ?? undefined }
    })
  }

  async function manifestDigest(tag: string, accept: readonly string[]): Promise<string | undefined> {
    return session.retrying(async () => {
      const request = { method: 'HEAD', headers: { accept: accept.join(', ') } } as const
      const response = await session.ask(await urlOf('manifests', tag), request, { what: `manifest ${tag}`, ok: [200] })
      response.discard()
      return response.headers.get('docker-content-digest') ?? undefined
    })
  }

  async function* blob(
    descriptor: Descriptor,
    offset: number,
    onRetry?: (reason: string) => void,
  ): AsyncGenerator<Buffer> {
    const what = `blob ${descriptor.digest}`
    const { size } = descriptor
    let at = offset
    let ranges = true
    // Each pass is one connection; what it brought is not asked for again.
    for (let failures = 0; ; ) {
      // All may have come before the connection broke.
      if (size > 0 && at === size) return
      const before = at
      try {
        const continues = at > 0 && ranges
        const headers = continues ? { range: `bytes=${at}-${size - 1}` } : {}
        const url = await urlOf('blobs', descriptor.digest)
        const response = await session.ask(url, { headers }, { what, ok: [200, 206, 404, 416] })
        const there = lengthOf(response)
        if (response.status === 404) {
          response.discard()
          throw lost(what, subject)
        }
        if (!isFrom(response, at)) {
          response.discard()
          if (response.status === 416 && there < size) throw tooShort(what, subject, there, size)
          if (!continues) throw wrongRange(what, subject)
          // From now on all of it: what is there would meet the same answer again.
          ranges = false
          continue
        }
        for await (const chunk of bodyFrom(response, at)) {
          at += chunk.length
          if (at > size) throw tooLong(what, subject, size)
          yield chunk
        }
        if (at === size) return
        if (there < size) throw new PassingFault(tooShort(what, subject, there, size))
        throw new TscrunError('NETWORK', `fetch ${what} of ${subject}: ended after ${at} of ${size} bytes`, {
          subject,
          hint: 'try again, it goes on from there; or the registry, or a proxy in between, is broken',
        })
      } catch (error) {
        if (at - before >= PROGRESS) failures = 0
        await beforeNextTry(session.retry, failures++, error, session.listener(onRetry))
      }
    }
  }

  return { manifest, manifestDigest, blob }
}

function tooLong(what: string, subject: string, size: number): TscrunError {
  return new TscrunError(
    'DIGEST_MISMATCH',
    `fetch ${what} of ${subject}: longer than the ${size} bytes it was announced with`,
    { subject, hint: 'the registry or a proxy in between is broken' },
  )
}

/** Nothing is behind what has come (RFC 9110, 15.5.17): to ask again brings no more. */
function tooShort(what: string, subject: string, there: number, size: number): TscrunError {
  return new TscrunError('REGISTRY', `fetch ${what} of ${subject}: the registry has only ${there} of ${size} bytes`, {
    subject,
    hint: 'push the image again; or a proxy in between is broken',
  })
}

/** The manifest is there, its parts are not. */
function lost(what: string, subject: string): TscrunError {
  return new TscrunError('REGISTRY', `fetch ${what} of ${subject}: the registry does not have it`, {
    subject,
    hint: 'push the image again, or pull another tag of it',
  })
}

function wrongRange(what: string, subject: string): TscrunError {
  return new TscrunError(
    'REGISTRY',
    `fetch ${what} of ${subject}: the registry sent another range than it was asked for`,
    {
      subject,
      hint: 'the registry or a proxy in between is broken',
    },
  )
}

/** How long a blob is as an answer says it; not a number where it does not. */
function lengthOf({ status, headers }: HttpResponse): number {
  if (status !== 200) return Number(/^bytes [\d*-]+\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1])
  return headers.get('content-encoding') === null ? Number(headers.get('content-length') ?? NaN) : NaN
}

/** Whether this is an answer that can be read from byte `at` on. */
function isFrom(response: HttpResponse, at: number): boolean {
  if (response.status !== 206) return response.status === 200
  return Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1]) === at
}

/** The body from byte `at` on, also where the registry ignores Range and starts anew. */
async function* bodyFrom(response: HttpResponse, at: number): AsyncGenerator<Buffer> {
  let skip = response.status === 206 ? 0 : at
  for await (const chunk of response.chunks()) {
    const start = Math.min(skip, chunk.length)
    skip -= start
    if (start < chunk.length) yield start === 0 ? chunk : chunk.subarray(start)
  }
}

/** The tag or digest a manifest is asked for by. */
export function manifestReference(reference: { readonly tag?: string; readonly digest?: Digest }): string {
  return reference.digest ?? reference.tag ?? 'latest'
}
