import type { Digest } from '../model/digest.ts'
import { TscrunError } from '../model/errors.ts'
import type { Descriptor } from '../model/image.ts'
import { type Authorizer, createAuthorizer, refused } from './auth.ts'
import type { Environment } from './credentials.ts'
import { apiHost, isLoopback } from './hosts.ts'
import {
  beforeNextTry,
  DEFAULT_RETRY,
  PassingFault,
  type RetryListener,
  type RetryPolicy,
  retryAfterMs,
  withRetries,
} from './retry.ts'
import { createTransport, type HttpRequest, type HttpResponse, type Transport } from './transport.ts'

export interface RegistryOptions {
  /** As a reference names it: `docker.io`, `localhost:5000`. */
  readonly registry: string
  readonly repository: string
  /** False also allows plain http, without passwords. */
  readonly tlsVerify?: boolean
  readonly signal?: AbortSignal
  readonly env?: Environment
  readonly retry?: RetryPolicy
  readonly idleTimeoutMs?: number
  /** A fault that is met by another try. */
  readonly onRetry?: (reason: string) => void
}

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
  close(): void
}

export const DEFAULT_IDLE_TIMEOUT_MS = 30_000

export function openRegistry(options: RegistryOptions): RegistryClient {
  const { registry, repository, signal } = options
  const env = options.env ?? process.env
  const retry = options.retry ?? DEFAULT_RETRY
  const transport = createTransport({
    tlsVerify: options.tlsVerify ?? true,
    env,
    idleTimeoutMs: options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS,
    ...(signal === undefined ? {} : { signal }),
  })
  const authorizer = createAuthorizer(transport, { registry, repository, env })
  let base: Promise<URL> | undefined
  const subject = `${registry}/${repository}`

  async function urlOf(kind: 'manifests' | 'blobs', name: string): Promise<URL> {
    base ??= chooseBase(transport, registry, options.tlsVerify ?? true)
    try {
      return new URL(`/v2/${repository}/${kind}/${name}`, await base)
    } catch (error) {
      base = undefined
      throw error
    }
  }

  const listener = (onRetry = options.onRetry): RetryListener => ({
    ...(signal === undefined ? {} : { signal }),
    ...(onRetry === undefined ? {} : { onRetry }),
  })

  async function ask(url: URL, request: HttpRequest, what: string): Promise<HttpResponse> {
    const response = await authorized(transport, authorizer, url, request)
    if (response.status === 200 || response.status === 206) return response
    const explanation = await explain(response)
    throw statusError(response, explanation, { registry, repository, what, source: authorizer.source() })
  }

  async function manifest(reference: string, accept: readonly string[], maxBytes: number): Promise<FetchedManifest> {
    return withRetries(retry, listener(), async () => {
      const response = await ask(
        await urlOf('manifests', reference),
        { headers: { accept: accept.join(', ') } },
        `manifest ${reference}`,
      )
      const bytes = await response.read(maxBytes, `manifest of ${subject}`)
      const mediaType = response.headers.get('content-type')?.split(';', 1)[0]?.trim()
      return { bytes, mediaType, digest: response.headers.get('docker-content-digest') ?? undefined }
    })
  }

  async function manifestDigest(tag: string, accept: readonly string[]): Promise<string | undefined> {
    return withRetries(retry, listener(), async () => {
      const request = { method: 'HEAD', headers: { accept: accept.join(', ') } } as const
      const response = await ask(await urlOf('manifests', tag), request, `manifest ${tag}`)
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
    if (size > 0 && at === size) return
    // Each pass is one connection; what it brought is not asked for again.
    for (let failures = 0; ; ) {
      const before = at
      try {
        const headers = at === 0 ? {} : { range: `bytes=${at}-${size - 1}` }
        const response = await ask(await urlOf('blobs', descriptor.digest), { headers }, what)
        for await (const chunk of bodyFrom(response, at, `${what} of ${subject}`)) {
          at += chunk.length
          if (at > size) throw tooLong(what, subject, size)
          yield chunk
        }
        if (at === size) return
        throw new TscrunError('NETWORK', `fetch ${what} of ${subject}: ended after ${at} of ${size} bytes`, { subject })
      } catch (error) {
        if (at > before) failures = 0
        await beforeNextTry(retry, failures++, error, listener(onRetry))
      }
    }
  }

  return { manifest, manifestDigest, blob, close: () => transport.close() }
}

function tooLong(what: string, subject: string, size: number): TscrunError {
  return new TscrunError(
    'DIGEST_MISMATCH',
    `fetch ${what} of ${subject}: longer than the ${size} bytes it was announced with`,
    { subject },
  )
}

/** The body from byte `at` on, also where the registry ignores Range and starts anew. */
async function* bodyFrom(response: HttpResponse, at: number, what: string): AsyncGenerator<Buffer> {
  const range = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')
  if (response.status === 206 && at > 0 && Number(range?.[1]) !== at) {
    response.discard()
    throw new TscrunError('REGISTRY', `fetch ${what}: the registry sent another range than it was asked for`)
  }
  let skip = response.status === 206 ? 0 : at
  for await (const chunk of response.chunks()) {
    const start = Math.min(skip, chunk.length)
    skip -= start
    if (start < chunk.length) yield start === 0 ? chunk : chunk.subarray(start)
  }
}

/**
 * https, except on this machine and where verification is switched off: there plain http is tried, first on
 * loopback (test registries have no certificates), last elsewhere.
 */
async function chooseBase(transport: Transport, registry: string, tlsVerify: boolean): Promise<URL> {
  const secure = new URL(`https://${apiHost(registry)}`)
  const plain = new URL(`http://${apiHost(registry)}`)
  const isLocal = isLoopback(secure.hostname)
  if (!isLocal && tlsVerify) return secure
  const candidates = isLocal ? [plain, secure] : [secure, plain]
  const failures: TscrunError[] = []
  for (const candidate of candidates) {
    try {
      const response = await transport.request(new URL('/v2/', candidate), {})
      response.discard()
      const { status } = response
      if (status === 200 || status === 401 || status === 429 || status >= 500) return candidate
      failures.push(
        new TscrunError('REGISTRY', `connect ${registry}: answers, but is no registry`, { subject: registry }),
      )
    } catch (error) {
      if (!(error instanceof TscrunError) || error.code !== 'NETWORK') throw error
      failures.push(error)
    }
  }
  // A certificate that is not trusted is why the other way was no way either.
  const refusal = failures.find(({ errno }) => /CERT|SELF_SIGNED|UNABLE_TO/.test(errno ?? ''))
  throw refusal ?? failures.find(({ code }) => code === 'REGISTRY') ?? failures[0] ?? new Error('no address was tried')
}

/** Asks; learns a token from a 401, also in the middle of a pull when the old one has run out; asks again. */
async function authorized(
  transport: Transport,
  authorizer: Authorizer,
  url: URL,
  request: HttpRequest,
): Promise<HttpResponse> {
  const send = (): Promise<HttpResponse> => {
    const authorization = authorizer.header()
    return transport.request(url, {
      ...request,
      headers: { ...request.headers, ...(authorization === undefined ? {} : { authorization }) },
    })
  }
  const response = await send()
  if (response.status !== 401 || !(await authorizer.challenged(response))) return response
  response.discard()
  return send()
}

/** What the registry says about a failure (distribution-spec, error codes), made safe to print. */
async function explain(response: HttpResponse): Promise<string> {
  let text: string
  try {
    text = (await response.read(64 << 10, 'error message')).toString()
  } catch (error) {
    if (error instanceof TscrunError && error.code !== 'ABORTED') return ''
    throw error
  }
  try {
    const { errors } = JSON.parse(text) as { errors?: { code?: unknown; message?: unknown }[] }
    const message = errors?.[0]?.message ?? errors?.[0]?.code
    return typeof message === 'string' ? message.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200) : ''
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return ''
    throw error
  }
}

interface Asked {
  readonly registry: string
  readonly repository: string
  readonly what: string
  readonly source: string | undefined
}

function statusError(response: HttpResponse, explanation: string, asked: Asked): TscrunError | PassingFault {
  const { status } = response
  const subject = `${asked.registry}/${asked.repository}`
  const said = explanation === '' ? '' : ` (${explanation})`
  if (status === 401 || status === 403)
    return refused(asked, status, asked.source === undefined ? undefined : { source: asked.source })
  if (status === 404) {
    const hint = 'check the name and the tag'
    return new TscrunError('NO_SUCH_IMAGE', `pull ${subject}: the registry has no ${asked.what}${said}`, {
      subject,
      hint,
    })
  }
  if (status === 429) return new PassingFault(rateLimited(subject, asked.registry, said), retryAfterMs(response))
  const error = new TscrunError(
    'REGISTRY',
    `pull ${subject}: the registry answers ${status} for ${asked.what}${said}`,
    { subject },
  )
  return status >= 500 ? new PassingFault(error, retryAfterMs(response)) : error
}

function rateLimited(subject: string, registry: string, said: string): TscrunError {
  return new TscrunError('REGISTRY_RATE_LIMIT', `pull ${subject}: too many requests${said}`, {
    subject,
    hint:
      registry === 'docker.io'
        ? 'Docker Hub allows few pulls without an account; log in with `podman login docker.io` or `docker login`, or wait'
        : 'wait a while, or log in',
  })
}

/** The tag or digest a manifest is asked for by. */
export function manifestReference(reference: { readonly tag?: string; readonly digest?: Digest }): string {
  return reference.digest ?? reference.tag ?? 'latest'
}
