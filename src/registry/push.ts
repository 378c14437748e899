import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import { beforeNextTry } from './retry.ts'
import type { Session } from './session.ts'
import { type HttpBody, type HttpResponse, locationOf } from './transport.ts'

/** The bytes of a blob from an offset on, in order and whole. */
export type Content = (offset: number) => AsyncIterable<Buffer>

/** The writing half of one repository (OCI distribution-spec, push). */
export interface PushClient {
  hasBlob(descriptor: Descriptor): Promise<boolean>
  /**
   * Sends a blob: all of it with one PUT where it is small, else with PATCH, from where a broken one got to. Where one of
   * the repositories in `mountFrom` has it, nothing is sent.
   */
  putBlob(descriptor: Descriptor, content: Content, mountFrom: readonly string[]): Promise<'copied' | 'mounted'>
  /** `reference` is a tag or the digest. */
  putManifest(reference: string, document: SentManifest): Promise<void>
}

export interface SentManifest {
  readonly bytes: Buffer
  readonly mediaType: string | undefined
  readonly digest: Digest
}

/** Up to here a blob goes in one request; lost, it is sent again. */
const MONOLITHIC = 4 << 20
/** Bytes that a registry must have kept of a broken upload before another series of tries is worth it. */
const PROGRESS = 64 << 10
const BINARY = { 'content-type': 'application/octet-stream' }

export function pushClient(session: Session, repository: string): PushClient {
  const path = `/v2/${repository}`

  async function hasBlob({ digest }: Descriptor): Promise<boolean> {
    return session.retrying(async () => {
      const asked = { what: `blob ${digest}`, ok: [200, 404] }
      const url = await session.url(`${path}/blobs/${digest}`)
      const response = await session.ask(url, { method: 'HEAD' }, asked)
      response.discard()
      return response.status === 200
    })
  }

  async function putBlob(
    descriptor: Descriptor,
    content: Content,
    mountFrom: readonly string[],
  ): Promise<'copied' | 'mounted'> {
    const { digest, size } = descriptor
    const first = await begin(digest, mountFrom)
    if (first === 'mounted') return 'mounted'
    let upload: Upload = first
    let best = 0
    for (let failures = 0; ; ) {
      try {
        await send(session, descriptor, { ...upload, content })
        return 'copied'
      } catch (error) {
        await beforeNextTry(session.retry, failures++, error, session.listener())
        const kept: Upload | undefined =
          size > MONOLITHIC ? await uploadStatus(session, upload.location, digest) : undefined
        if (kept !== undefined && kept.offset > best + PROGRESS) {
          best = kept.offset
          failures = 0
        }
        const anew = kept ?? (await begin(digest, []))
        if (anew === 'mounted') return 'mounted'
        upload = anew
      }
    }
  }

  /** Opens an upload, unless the registry can take the blob from another of its repositories. */
  async function begin(digest: Digest, mountFrom: readonly string[]): Promise<Upload | 'mounted'> {
    const [from] = mountFrom
    return session.retrying(async () => {
      const url = await session.url(`${path}/blobs/uploads/`)
      if (from !== undefined) {
        url.searchParams.set('mount', digest)
        url.searchParams.set('from', from)
      }
      const response = await session.ask(url, { method: 'POST' }, { what: 'a new upload', ok: [201, 202] })
      response.discard()
      return response.status === 201 ? 'mounted' : { location: nextLocation(session, response), offset: 0 }
    })
  }

  async function putManifest(reference: string, { bytes, mediaType, digest }: SentManifest): Promise<void> {
    await session.retrying(async () => {
      const url = await session.url(`${path}/manifests/${reference}`)
      const headers = { 'content-type': mediaType ?? 'application/vnd.oci.image.manifest.v1+json' }
      const asked = { what: `manifest ${reference}`, ok: [200, 201, 202] }
      const response = await session.ask(url, { method: 'PUT', headers, body: bytes }, asked)
      response.discard()
      const said = response.headers.get('docker-content-digest')
      if (said === null || said === digest) return
      throw new TscrunError(
        'DIGEST_MISMATCH',
        `push ${session.subject}: the registry took the manifest for ${shown(said)}`,
        {
          subject: session.subject,
          hint: 'the registry or a proxy in between is broken',
        },
      )
    })
  }

  return { hasBlob, putBlob, putManifest }
}

interface Upload {
  readonly location: URL
  /** Bytes the registry has. */
  readonly offset: number
}

/** Where an upload goes on: what the registry named last. */
function nextLocation(session: Session, response: HttpResponse): URL {
  return locationOf(response.url, response.headers.get('location'), session.tlsVerify)
}

async function send(
  session: Session,
  { digest, size }: Descriptor,
  upload: Upload & { readonly content: Content },
): Promise<void> {
  let { location, offset } = upload
  const asked = { what: `an upload of ${digest}` }
  const isWhole = size <= MONOLITHIC
  while (!isWhole && offset < size) {
    const body = bodyOf(upload.content, offset, size)
    // A first part needs no range; some registries take none.
    const range: Readonly<Record<string, string>> = offset === 0 ? {} : { 'content-range': `${offset}-${size - 1}` }
    const request = { method: 'PATCH', headers: { ...BINARY, ...range }, body } as const
    const response = await session.ask(location, request, { ...asked, ok: [202, 204] })
    response.discard()
    location = nextLocation(session, response)
    const reached = endOf(response) ?? size
    if (reached <= offset || reached > size) {
      const reason = `the registry says it has ${reached} of ${size} bytes`
      throw new TscrunError('REGISTRY', `push ${session.subject}: ${reason}`, { subject: session.subject })
    }
    offset = reached
  }
  const end = new URL(location)
  end.searchParams.set('digest', digest)
  const request = isWhole ? { headers: BINARY, body: bodyOf(upload.content, 0, size) } : {}
  const response = await session.ask(end, { method: 'PUT', ...request }, { ...asked, ok: [201, 204] })
  response.discard()
}

function bodyOf(content: Content, offset: number, size: number): HttpBody {
  return { size: size - offset, open: () => content(offset) }
}

/** How far a broken upload got; undefined where the registry has given it up. */
async function uploadStatus(session: Session, location: URL, digest: Digest): Promise<Upload | undefined> {
  const asked = { what: `the upload of ${digest}`, ok: [200, 204, 400, 404, 405, 416] }
  const response = await session.retrying(() => session.ask(location, {}, asked))
  response.discard()
  const offset = endOf(response)
  // `0-0` is said of one byte and of none.
  if (response.status >= 400 || offset === undefined || offset <= 1) return undefined
  return { location: response.headers.get('location') === null ? location : nextLocation(session, response), offset }
}

/** One more than the last byte in `Range: 0-123`. */
function endOf(response: HttpResponse): number | undefined {
  const range = /^(?:bytes=)?0-(\d{1,15})$/.exec(response.headers.get('range') ?? '')
  return range === null ? undefined : Number(range[1]) + 1
}

function shown(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 100)
}
