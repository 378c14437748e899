import * as http from 'node:http'
import * as https from 'node:https'
import { Readable } from 'node:stream'
import type { Response } from 'node-fetch'
import { TscrunError, errnoOf } from '../model/errors.ts'
import type { Environment } from './environment.ts'
import { isLoopback } from './hosts.ts'
import { proxyAgent, proxyFor } from './proxy.ts'
import { tlsMaterial } from './tls.ts'

export interface TransportOptions {
  readonly tlsVerify: boolean
  readonly env: Environment
  readonly signal?: AbortSignal
  /** A transfer that brings less than a kilobyte in so long is given up. */
  readonly idleTimeoutMs: number
  /** `--cert-dir`: CAs and the client certificate for this host instead of those of certs.d. */
  readonly certificates?: { readonly host: string; readonly directory: string }
  /** Each request with its answer, without queries: one line each. */
  readonly onDebug?: (line: string) => void
}

export interface HttpRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | HttpBody
}

/** A body that is made while it is sent, and once more for each further try. */
export interface HttpBody {
  /** Bytes. */
  readonly size: number
  readonly open: () => AsyncIterable<Buffer>
}

export interface HttpResponse {
  readonly status: number
  readonly headers: { get(name: string): string | null }
  /** Where the answer came from, after redirects. */
  readonly url: URL
  /** The body as it arrives; ends with an error when it stalls. Must be read or discarded. */
  chunks(): AsyncGenerator<Buffer>
  /** The whole body, refused with LIMIT_EXCEEDED beyond `maxBytes`. */
  read(maxBytes: number, what: string): Promise<Buffer>
  discard(): void
}

/** HTTP with tscrun's rules: no decoding, own redirects, an idle clock, one agent a host. */
export interface Transport {
  request(url: URL, request: HttpRequest): Promise<HttpResponse>
  close(): void
}

const MAX_REDIRECTS = 10
const READ_AHEAD = 1 << 20
/** A byte a second is no transfer. */
const LEAST_BYTES = 1024
/** What was sent must be hashed and stored before it is answered: that takes longer than a pause between bytes. */
const ANSWER_PATIENCE = 10
/** Node takes no more of headers, all together. */
const MAX_HEADERS = http.maxHeaderSize

export function createTransport(options: TransportOptions): Transport {
  const agents = new Map<string, http.Agent>()

  function agentFor(url: URL): http.Agent {
    const key = url.origin
    let agent = agents.get(key)
    if (agent === undefined) {
      agent = makeAgent(url)
      agents.set(key, agent)
    }
    return agent
  }

  function makeAgent(url: URL): http.Agent {
    const proxy = proxyFor(url, options.env)
    const isTls = url.protocol === 'https:'
    const { ca, ...client } = isTls ? tlsMaterial(url, options.env, options.certificates) : { ca: [] }
    const trust = isTls ? { ca: [...ca], ...client, rejectUnauthorized: options.tlsVerify } : {}
    const settings = { keepAlive: true, maxSockets: 8, ...trust }
    if (proxy !== undefined) return proxyAgent(proxy, isTls, settings)
    return isTls ? new https.Agent(settings) : new http.Agent(settings)
  }

  async function once(url: URL, request: HttpRequest): Promise<HttpResponse> {
    const { default: fetch } = await import('node-fetch')
    const clock = idleClock(options)
    const { method = 'GET', body } = request
    const began = performance.now()
    try {
      const response = await fetch(url.href, {
        method,
        headers: { 'user-agent': 'tscrun', ...lengthHeader(body), ...request.headers },
        ...(body === undefined ? {} : { body: sendable(body, clock) }),
        compress: false,
        redirect: 'manual',
        agent: agentFor(url),
        highWaterMark: READ_AHEAD,
        signal: clock.signal,
      })
      clock.restart()
      options.onDebug?.(`${method} ${show(url)}: ${response.status} (${Math.round(performance.now() - began)} ms)`)
      return wrap(url, response, clock)
    } catch (error) {
      clock.stop()
      const fault = transportError(clock.reason() ?? error, url)
      options.onDebug?.(`${method} ${show(url)}: ${fault instanceof Error ? fault.message : 'failed'}`)
      throw fault
    }
  }

  async function request(url: URL, first: HttpRequest): Promise<HttpResponse> {
    let at = url
    let next = first
    for (let hops = 0; ; hops++) {
      const response = await once(at, next)
      if (![301, 302, 303, 307, 308].includes(response.status)) return response
      response.discard()
      // A body may be a secret (a token), and is never what a storage elsewhere was promised.
      if (next.method !== undefined && next.method !== 'GET' && next.method !== 'HEAD') {
        throw new TscrunError('REGISTRY', `${next.method} ${show(at)}: redirected, which only reading may be`, {
          subject: at.host,
        })
      }
      if (hops === MAX_REDIRECTS)
        throw new TscrunError('REGISTRY', `fetch ${show(url)}: more than ${MAX_REDIRECTS} redirects`)
      const target = locationOf(at, response.headers.get('location'), options.tlsVerify)
      // Credentials are for the host that was asked, never for the one it points at (CVE-2020-15157).
      if (target.host !== at.host || target.protocol !== at.protocol) next = withoutCredentials(next)
      at = target
    }
  }

  return {
    request,
    close: () => {
      for (const agent of agents.values()) agent.destroy()
    },
  }
}

/** Where an answer points: http or https, and never from https to plain http. Throws REGISTRY. */
export function locationOf(from: URL, location: string | null, tlsVerify: boolean): URL {
  const target = location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined
  const refuse = (reason: string): never => {
    throw new TscrunError('REGISTRY', `fetch ${show(from)}: redirected ${reason}`, { subject: from.host })
  }
  if (target === undefined) return refuse('to nowhere')
  if (target.protocol !== 'https:' && target.protocol !== 'http:') refuse(`to a ${target.protocol} address`)
  if (target.protocol === 'http:' && tlsVerify && !isLoopback(target.hostname)) refuse('to plain http')
  if (target.username !== '' || target.password !== '') refuse('to an address with a login in it')
  return target
}

function withoutCredentials(request: HttpRequest): HttpRequest {
  const { authorization: _, ...headers } = request.headers ?? {}
  return { ...request, headers }
}

/** Aborts what has brought nothing for a while, and what the caller aborts. */
interface IdleClock {
  readonly signal: AbortSignal
  /** Why it fired, if it did. */
  reason(): unknown
  /** Starts it anew, with so many times the usual time. */
  restart(times?: number): void
  /** Stands still; answers the milliseconds that are left. */
  pause(): number
  /** Goes on with the milliseconds that were left, or from the start. */
  resume(leftMs?: number): void
  stop(): void
}

function idleClock({ idleTimeoutMs, signal }: TransportOptions): IdleClock {
  const controller = new AbortController()
  let reason: unknown
  let timer: NodeJS.Timeout | undefined
  let dueMs = 0
  const fire = (why: unknown): void => {
    reason ??= why
    controller.abort()
  }
  const start = (ms: number, wholeMs = ms): void => {
    clearTimeout(timer)
    dueMs = performance.now() + ms
    timer = setTimeout(() => fire(new StallError(wholeMs)), ms)
  }
  const onAbort = (): void => fire(abortError(signal))
  start(idleTimeoutMs)
  if (signal?.aborted) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  return {
    signal: controller.signal,
    reason: () => reason,
    restart: (times = 1) => start(idleTimeoutMs * times),
    pause: () => {
      clearTimeout(timer)
      return Math.max(0, dueMs - performance.now())
    },
    resume: (leftMs = idleTimeoutMs) => start(leftMs, idleTimeoutMs),
    stop: () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    },
  }
}

export class StallError extends Error {
  constructor(ms: number) {
    super(`nothing or next to nothing arrived for ${Math.round(ms / 1000)} s`)
  }
}

function abortError(signal: AbortSignal | undefined): TscrunError {
  return new TscrunError('ABORTED', 'pull: interrupted', { cause: signal?.reason })
}

function lengthHeader(body: HttpRequest['body']): Readonly<Record<string, string>> {
  return typeof body === 'object' && 'open' in body ? { 'content-length': String(body.size) } : {}
}

/** Bytes that go out are a sign of life too. */
function sendable(body: NonNullable<HttpRequest['body']>, clock: IdleClock): string | Buffer | Readable {
  if (typeof body === 'string') return body
  if (!('open' in body)) return Buffer.from(body)
  async function* pieces(): AsyncGenerator<Buffer> {
    for await (const piece of (body as HttpBody).open()) {
      clock.restart()
      yield piece
      clock.restart()
    }
    clock.restart(ANSWER_PATIENCE)
  }
  return Readable.from(pieces(), { objectMode: false, highWaterMark: READ_AHEAD })
}

function wrap(url: URL, response: Response, clock: IdleClock): HttpResponse {
  const body = response.body as unknown as (AsyncIterable<Buffer> & { destroy(): void }) | null
  async function* chunks(): AsyncGenerator<Buffer> {
    clock.restart()
    let since = 0
    try {
      for await (const chunk of body ?? []) {
        since += chunk.length
        // The reader's own time does not count.
        const isEnough = since >= LEAST_BYTES
        if (isEnough) since = 0
        const paused = clock.pause()
        yield chunk
        clock.resume(isEnough ? undefined : paused)
      }
    } catch (error) {
      throw transportError(clock.reason() ?? error, url)
    } finally {
      clock.stop()
      body?.destroy()
    }
  }
  async function read(maxBytes: number, what: string): Promise<Buffer> {
    const parts: Buffer[] = []
    let size = 0
    for await (const chunk of chunks()) {
      size += chunk.length
      if (size > maxBytes)
        throw new TscrunError('LIMIT_EXCEEDED', `${what}: longer than the ${maxBytes} bytes that are taken`)
      parts.push(chunk)
    }
    return Buffer.concat(parts)
  }
  const discard = (): void => {
    clock.stop()
    body?.destroy()
  }
  return { status: response.status, headers: response.headers, url, chunks, read, discard }
}

/** A failure of the connection, in words; REGISTRY-level answers are no failures here. */
export function transportError(error: unknown, url: URL): unknown {
  if (error instanceof TscrunError || !(error instanceof Error)) return error
  const where = `connect ${url.host}`
  const details = { subject: url.host, cause: withoutQueries(error) }
  if (error instanceof StallError) return new TscrunError('NETWORK', `${where}: ${error.message}`, details)
  const code = errnoOf(error) ?? ''
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new TscrunError(
      'LIMIT_EXCEEDED',
      `answer of ${url.host}: headers of more than ${MAX_HEADERS} bytes`,
      details,
    )
  }
  const hint = HINTS.find(([pattern]) => pattern.test(code))?.[1]
  const message = error.message.replace(/^request to \S+ failed, reason: /, '').split('\n', 1)[0] ?? ''
  // The kernel's and the resolver's own sentences repeat the address.
  const reason = /^E[A-Z_]+$/.test(code) || message === '' ? code : message
  return new TscrunError('NETWORK', `${where}: ${reason}`, {
    ...details,
    ...(code === '' ? {} : { errno: code }),
    ...(hint === undefined ? {} : { hint }),
  })
}

const HINTS: readonly (readonly [RegExp, string])[] = [
  [/^(ENOTFOUND|EAI_AGAIN)$/, 'check the registry name and the DNS of this machine'],
  [
    /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT)$/,
    'is the registry running, and is a proxy needed (HTTPS_PROXY)?',
  ],
  [
    /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/,
    'put its CA into /etc/containers/certs.d, or use --tls-verify=false if you must',
  ],
  [/^(EPROTO|ERR_SSL_.*)$/, 'if it speaks plain http, use --tls-verify=false'],
]

/** Addresses of storages have signatures in their queries, and a cause is printed with --debug. */
function withoutQueries(error: Error): Error {
  const clean = (text: string): string => text.replace(/(\bhttps?:\/\/[^\s?#]*)[?#]\S*/g, '$1')
  const copy = new Error(clean(error.message))
  copy.stack = clean(error.stack ?? '')
  return copy
}

/** Without user information and query: those may hold secrets. */
function show(url: URL): string {
  return `${url.origin}${url.pathname}`
}
