import { TscrunError } from '../model/errors.ts'
import { type Authorizer, createAuthorizer, type LoginSources, refused } from './auth.ts'
import type { Environment } from './environment.ts'
import { apiHost, isLoopback } from './hosts.ts'
import {
  DEFAULT_RETRY,
  PassingFault,
  RegistryOutage,
  type RetryListener,
  type RetryPolicy,
  retryAfterMs,
  withRetries,
} from './retry.ts'
import { createTransport, type HttpRequest, type HttpResponse, type Transport } from './transport.ts'

/** How the user wants registries to be reached; all optional. */
export interface RegistryAccess {
  /** `--tls-verify`; what registries.conf says without it. */
  readonly tlsVerify?: boolean
  /** `--creds`. */
  readonly creds?: { readonly user: string; readonly password: string }
  /** `--authfile`. */
  readonly authFile?: string
  /** `--cert-dir`. */
  readonly certDir?: string
}

export interface RegistryOptions {
  /** As a reference names it: `docker.io`, `localhost:5000`. */
  readonly registry: string
  /** Empty for requests about the registry as a whole. */
  readonly repository: string
  /** What is done there, for messages and tokens; `pull` without it. */
  readonly verb?: 'pull' | 'push' | 'search' | 'login'
  /** False also allows plain http, without passwords. */
  readonly tlsVerify?: boolean
  readonly logins?: LoginSources
  /** `--cert-dir`. */
  readonly certDir?: string
  readonly signal?: AbortSignal
  readonly env?: Environment
  readonly retry?: RetryPolicy
  readonly idleTimeoutMs?: number
  /** A fault that is met by another try. */
  readonly onRetry?: (reason: string) => void
  /** Each request, one line, without queries and headers. */
  readonly onDebug?: (line: string) => void
}

/** What a request was for, in words, and which answers are welcome. */
export interface Asked {
  readonly what: string
  readonly ok: readonly number[]
}

/** Talks to one registry about one repository: finds its address, logs in, words its refusals. */
export interface Session {
  /** For messages: `host/repository`, or the host alone. */
  readonly subject: string
  readonly retry: RetryPolicy
  /** An address below that of the registry: `/v2/`. */
  url(path: string): Promise<URL>
  /** Asks; an answer that is not `ok` is thrown as an error, a passing one as a PassingFault. */
  ask(url: URL, request: HttpRequest, asked: Asked): Promise<HttpResponse>
  /** Runs something until it succeeds or fails for good. */
  retrying<T>(attempt: () => Promise<T>): Promise<T>
  listener(onRetry?: (reason: string) => void): RetryListener
  readonly tlsVerify: boolean
  close(): void
}

const DEFAULT_IDLE_TIMEOUT_MS = 30_000

export function openSession(options: RegistryOptions): Session {
  const { registry, repository, signal, tlsVerify = true } = options
  if (!URL.canParse(`https://${apiHost(registry)}`)) {
    throw new TscrunError('INVALID_REFERENCE', `registry ${JSON.stringify(registry)}: not an address`, {
      subject: registry,
      hint: 'a name, an IPv4 address or an IPv6 address in [ ]; a port is at most 65535',
    })
  }
  const env = options.env ?? process.env
  const retry = options.retry ?? DEFAULT_RETRY
  const certificates =
    options.certDir === undefined ? undefined : { host: apiHost(registry), directory: options.certDir }
  const transport = createTransport({
    tlsVerify,
    env,
    idleTimeoutMs: options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS,
    ...(signal === undefined ? {} : { signal }),
    ...(certificates === undefined ? {} : { certificates }),
    ...(options.onDebug === undefined ? {} : { onDebug: options.onDebug }),
  })
  const verb = options.verb ?? 'pull'
  const scope = { registry, repository, env, logins: options.logins ?? {}, push: verb === 'push' }
  const authorizer = createAuthorizer(transport, scope)
  let base: Promise<URL> | undefined
  const subject = repository === '' ? registry : `${registry}/${repository}`

  async function url(path: string): Promise<URL> {
    base ??= chooseBase(transport, registry, tlsVerify)
    try {
      return new URL(path, await base)
    } catch (error) {
      base = undefined
      throw error
    }
  }

  async function ask(target: URL, request: HttpRequest, { what, ok }: Asked): Promise<HttpResponse> {
    // Where the registry sends us with an upload is not always the registry.
    const isOwn = target.origin === (await url('/')).origin
    const response = await (isOwn
      ? authorized(transport, authorizer, target, request)
      : transport.request(target, request))
    if (ok.includes(response.status)) return response
    const said = await explain(response)
    if (response.status === 401 || response.status === 403) {
      const source = authorizer.source()
      throw refused(scope, response.status, source === undefined ? undefined : { source })
    }
    throw statusError(response, said, { registry, subject, verb, what })
  }

  const listener = (onRetry = options.onRetry): RetryListener => ({
    ...(signal === undefined ? {} : { signal }),
    ...(onRetry === undefined ? {} : { onRetry }),
  })

  return {
    subject,
    retry,
    url,
    ask,
    tlsVerify,
    listener,
    retrying: (attempt) => withRetries(retry, listener(), attempt),
    close: () => transport.close(),
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
      const message = `ping ${candidate.host}: it answers ${status}: not a registry`
      failures.push(new TscrunError('REGISTRY', message, { subject: candidate.host }))
    } catch (error) {
      if (!(error instanceof TscrunError) || error.code === 'ABORTED') throw error
      failures.push(error)
    }
  }
  // A refused certificate says more than the failed guess at the other protocol.
  const refusal = failures.find(({ errno }) => /CERT|SELF_SIGNED|UNABLE_TO/.test(errno ?? ''))
  throw refusal ?? failures.find(({ code }) => code !== 'NETWORK') ?? failures[0] ?? new Error('no address was tried')
}

/** Asks; learns a token from a 401, also in the middle of a pull when the old one has run out; asks again. */
async function authorized(
  transport: Transport,
  authorizer: Authorizer,
  url: URL,
  request: HttpRequest,
): Promise<HttpResponse> {
  for (let renewed = false; ; ) {
    const sent = authorizer.header()
    const response = await transport.request(url, {
      ...request,
      headers: { ...request.headers, ...(sent === undefined ? {} : { authorization: sent }) },
    })
    // Whoever else it redirects to has no business with our logins.
    if (response.status !== 401 || response.url.origin !== url.origin) return response
    // Another request may have renewed the token meanwhile.
    if (authorizer.header() === sent) {
      if (renewed || !(await authorizer.challenged(response))) return response
      renewed = true
    }
    response.discard()
  }
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

interface Refusal {
  readonly registry: string
  readonly subject: string
  readonly verb: string
  readonly what: string
}

function statusError(response: HttpResponse, explanation: string, asked: Refusal): TscrunError | PassingFault {
  const { status } = response
  const { subject, verb, what } = asked
  const said = explanation === '' ? '' : ` (${explanation})`
  if (status === 404) {
    const hint = 'check the name and the tag'
    return new TscrunError('NO_SUCH_IMAGE', `${verb} ${subject}: the registry has no ${what}${said}`, {
      subject,
      hint,
    })
  }
  if (status === 429) return new PassingFault(rateLimited(asked, said), retryAfterMs(response))
  const error = new TscrunError('REGISTRY', `${verb} ${subject}: the registry answers ${status} for ${what}${said}`, {
    subject,
  })
  return status >= 500 ? new PassingFault(new RegistryOutage(error), retryAfterMs(response)) : error
}

function rateLimited({ registry, subject, verb }: Refusal, said: string): TscrunError {
  return new TscrunError('REGISTRY_RATE_LIMIT', `${verb} ${subject}: too many requests${said}`, {
    subject,
    hint:
      registry === 'docker.io'
        ? 'Docker Hub allows few pulls without an account; log in with `tscrun login docker.io`, or wait'
        : 'wait a while, or log in',
  })
}
