import { TscrunError } from '../model/errors.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import { type Credentials, type Environment, findCredentials } from './credentials.ts'
import { isLoopback } from './hosts.ts'
import type { HttpRequest, HttpResponse, Transport } from './transport.ts'

const MAX_TOKEN = 64 << 10

/** Who asks for what: tokens are made for one repository. */
export interface AuthScope {
  readonly registry: string
  readonly repository: string
  /** True where a password may be sent over plain http: only to this machine itself. */
  readonly env: Environment
}

/** Keeps the Authorization header of one repository of one registry fresh. */
export interface Authorizer {
  /** What to send now, if anything. */
  header(): string | undefined
  /** Learns from a 401. Answers whether asking again makes sense; throws REGISTRY_AUTH where the login is refused. */
  challenged(response: HttpResponse): Promise<boolean>
  /** The file the login came from, for messages. */
  source(): string | undefined
}

/** The token flow of the distribution project (its auth/token specification), and Basic (RFC 7617). */
export function createAuthorizer(transport: Transport, scope: AuthScope): Authorizer {
  let header: string | undefined
  let credentials: Credentials | undefined

  async function challenged(response: HttpResponse): Promise<boolean> {
    const challenges = parseChallenges(response.headers.get('www-authenticate') ?? '')
    credentials ??= findCredentials(scope.registry, scope.repository, scope.env)
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer')
    if (bearer !== undefined) {
      header = `Bearer ${await fetchToken(transport, scope, bearer, response.url, credentials)}`
      return true
    }
    if (!challenges.some((challenge) => challenge.scheme === 'basic') || credentials?.kind !== 'basic') return false
    refusePlainHttp(response.url, scope)
    const before = header
    header = basic(credentials)
    // The same password once more is refused once more.
    return before !== header
  }

  return { header: () => header, challenged, source: () => credentials?.source }
}

function basic(credentials: { readonly user: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`
}

function refusePlainHttp(url: URL, scope: AuthScope): void {
  if (url.protocol === 'https:' || isLoopback(url.hostname)) return
  throw new TscrunError('REGISTRY_AUTH', `login to ${scope.registry}: a password is not sent over plain http`, {
    subject: scope.registry,
    hint: 'give the registry a certificate',
  })
}

async function fetchToken(
  transport: Transport,
  scope: AuthScope,
  challenge: Challenge,
  asked: URL,
  credentials: Credentials | undefined,
): Promise<string> {
  const realm = challenge.parameters.get('realm') ?? ''
  if (!URL.canParse(realm) || !/^https?:$/.test(new URL(realm).protocol)) {
    throw new TscrunError(
      'REGISTRY_AUTH',
      `login to ${scope.registry}: its token service ${JSON.stringify(realm.slice(0, 100))} is no address`,
    )
  }
  const url = new URL(realm)
  if (asked.protocol === 'https:' && url.protocol !== 'https:') {
    throw new TscrunError('REGISTRY_AUTH', `login to ${scope.registry}: its token service is at plain http`)
  }
  if (credentials !== undefined) refusePlainHttp(url, scope)
  const wanted = challenge.parameters.get('scope') ?? `repository:${scope.repository}:pull`
  const service = challenge.parameters.get('service')
  const response = await transport.request(url, tokenRequest(url, wanted, service, credentials))
  if (response.status !== 200) {
    response.discard()
    throw refused(scope, response.status, credentials)
  }
  return readToken(await response.read(MAX_TOKEN, `token of ${url.host}`), scope)
}

function tokenRequest(
  url: URL,
  scope: string,
  service: string | undefined,
  credentials: Credentials | undefined,
): HttpRequest {
  if (credentials?.kind === 'identity') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'tscrun',
      refresh_token: credentials.token,
      scope,
    })
    if (service !== undefined) form.set('service', service)
    return { method: 'POST', body: form.toString(), headers: { 'content-type': 'application/x-www-form-urlencoded' } }
  }
  if (service !== undefined) url.searchParams.set('service', service)
  for (const part of scope.split(' ')) url.searchParams.append('scope', part)
  return credentials === undefined ? {} : { headers: { authorization: basic(credentials) } }
}

function readToken(bytes: Buffer, scope: AuthScope): string {
  let answer: { token?: unknown; access_token?: unknown }
  try {
    answer = JSON.parse(bytes.toString()) as typeof answer
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    answer = {}
  }
  const token = answer.token || answer.access_token
  // What goes into a header must not be able to end it.
  if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) return token
  throw new TscrunError('REGISTRY_AUTH', `login to ${scope.registry}: its token service gave no token`)
}

/** The sentence for a login that was not accepted, or is needed. */
export function refused(
  scope: Pick<AuthScope, 'registry' | 'repository'>,
  status: number,
  credentials: { readonly source: string } | undefined,
): TscrunError {
  const subject = `${scope.registry}/${scope.repository}`
  return new TscrunError('REGISTRY_AUTH', `pull ${subject}: the registry refuses access (${status})`, {
    subject,
    hint:
      credentials === undefined
        ? 'the image does not exist or needs a login; check the name, or log in with `podman login` or `docker login`'
        : `the login in ${credentials.source} does not open it; check the name, or log in again`,
  })
}
