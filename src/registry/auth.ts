import { TscrunError } from '../model/errors.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import { type Credentials, findCredentials } from './credentials.ts'
import { primaryAuthFile } from './auth-files.ts'
import type { Environment } from './environment.ts'
import { isLoopback } from './hosts.ts'
import type { HttpRequest, HttpResponse, Transport } from './transport.ts'

const MAX_TOKEN = 64 << 10

/** Where logins come from. */
export interface LoginSources {
  /** `--creds`; nothing else is asked then. An empty password is one. */
  readonly creds?: { readonly user: string; readonly password: string }
  /** `--authfile`. */
  readonly authFile?: string
  /** See `Lookup`. */
  readonly helpers?: readonly string[]
}

/** Who asks for what: tokens are made for one repository. */
export interface AuthScope {
  readonly registry: string
  /** Empty for the registry as a whole. */
  readonly repository: string
  readonly env: Environment
  readonly logins: LoginSources
  /** What the token must allow beyond reading. */
  readonly push?: boolean
}

/** Keeps the Authorization header of one repository of one registry fresh. */
export interface Authorizer {
  /** What to send now, if anything. */
  header(): string | undefined
  /**
   * Learns from a 401. Answers whether asking again makes sense; throws REGISTRY_AUTH where the login is refused.
   * Whoever comes while a token is being fetched gets that one.
   */
  challenged(response: HttpResponse): Promise<boolean>
  /** Where the login came from, for messages. */
  source(): string | undefined
}

/** The token flow of the distribution project (its auth/token specification), and Basic (RFC 7617). */
export function createAuthorizer(transport: Transport, scope: AuthScope): Authorizer {
  let header: string | undefined
  let credentials: Promise<Credentials | undefined> | undefined
  let source: string | undefined
  let renewal: Promise<boolean> | undefined

  async function renew(response: HttpResponse): Promise<boolean> {
    const challenges = parseChallenges(response.headers.get('www-authenticate') ?? '')
    credentials ??= credentialsOf(scope)
    const login = await credentials
    source = login?.source
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer')
    if (bearer !== undefined) {
      header = `Bearer ${await fetchToken(transport, scope, { challenge: bearer, asked: response.url, login })}`
      return true
    }
    if (!challenges.some((challenge) => challenge.scheme === 'basic') || login?.kind !== 'basic') return false
    refusePlainHttp(response.url, scope)
    const before = header
    header = basic(login)
    // The same password once more is refused once more.
    return before !== header
  }

  return {
    header: () => header,
    source: () => source,
    challenged(response) {
      renewal ??= renew(response).finally(() => {
        renewal = undefined
      })
      return renewal
    },
  }
}

async function credentialsOf({ registry, repository, env, logins }: AuthScope): Promise<Credentials | undefined> {
  const { creds, ...sources } = logins
  if (creds !== undefined) return { kind: 'basic', ...creds, source: '--creds' }
  return findCredentials({ registry, repository, env, ...sources })
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

interface TokenAsked {
  readonly challenge: Challenge
  /** What was answered with the challenge. */
  readonly asked: URL
  readonly login: Credentials | undefined
}

async function fetchToken(transport: Transport, scope: AuthScope, { challenge, asked, login }: TokenAsked) {
  const url = tokenService(scope, challenge, asked)
  if (login !== undefined) refusePlainHttp(url, scope)
  const service = challenge.parameters.get('service')
  const request = tokenRequest(url, wantedScopes(scope, challenge), service, login)
  const response = await transport.request(url, request)
  if (response.status !== 200) {
    response.discard()
    throw refused(scope, response.status, login)
  }
  return readToken(await response.read(MAX_TOKEN, `token of ${url.host}`), scope)
}

function tokenService(scope: AuthScope, challenge: Challenge, asked: URL): URL {
  const realm = challenge.parameters.get('realm') ?? ''
  const url = URL.canParse(realm) ? new URL(realm) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new TscrunError(
      'REGISTRY_AUTH',
      `login to ${scope.registry}: its token service ${JSON.stringify(realm.slice(0, 100))} is no address`,
    )
  }
  if (asked.protocol === 'https:' && url.protocol !== 'https:') {
    throw new TscrunError('REGISTRY_AUTH', `login to ${scope.registry}: its token service is at plain http`)
  }
  return url
}

/** What the challenge asks for; for a push all that it will need, so that one token does. */
function wantedScopes({ repository, push = false }: AuthScope, challenge: Challenge): readonly string[] {
  const named = challenge.parameters.get('scope')
  if (repository === '') return named === undefined ? [] : named.split(' ')
  const own = `repository:${repository}:`
  const scopes = (named ?? `${own}pull`).split(' ').filter((scope) => scope !== '')
  return push ? [`${own}pull,push`, ...scopes.filter((scope) => !scope.startsWith(own))] : scopes
}

function tokenRequest(
  url: URL,
  scopes: readonly string[],
  service: string | undefined,
  credentials: Credentials | undefined,
): HttpRequest {
  if (credentials?.kind === 'identity') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'tscrun',
      refresh_token: credentials.token,
      scope: scopes.join(' '),
    })
    if (service !== undefined) form.set('service', service)
    return { method: 'POST', body: form.toString(), headers: { 'content-type': 'application/x-www-form-urlencoded' } }
  }
  if (service !== undefined) url.searchParams.set('service', service)
  for (const scope of scopes) url.searchParams.append('scope', scope)
  return credentials === undefined ? {} : { headers: { authorization: basic(credentials) } }
}

function readToken(bytes: Buffer, scope: AuthScope): string {
  let answer: { token?: unknown; access_token?: unknown } | null
  try {
    answer = JSON.parse(bytes.toString()) as typeof answer
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    answer = {}
  }
  const token = answer?.token || answer?.access_token
  // What goes into a header must not be able to end it.
  if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) return token
  throw new TscrunError('REGISTRY_AUTH', `login to ${scope.registry}: its token service gave no token`)
}

/** The sentence for a login that was not accepted, or is needed. */
export function refused(
  scope: Pick<AuthScope, 'registry' | 'repository' | 'push' | 'env'>,
  status: number,
  credentials: { readonly source: string } | undefined,
): TscrunError {
  const { registry, repository, env } = scope
  if (repository === '') {
    return new TscrunError('REGISTRY_AUTH', `login to ${registry}: the registry refuses access (${status})`, {
      subject: registry,
      hint:
        credentials === undefined ? `log in with \`tscrun login ${registry}\`` : 'check the user name and the password',
    })
  }
  const subject = `${registry}/${repository}`
  return new TscrunError(
    'REGISTRY_AUTH',
    `${scope.push === true ? 'push' : 'pull'} ${subject}: the registry refuses access (${status})`,
    { subject, hint: hintFor(registry, credentials, env) },
  )
}

function hintFor(registry: string, credentials: { readonly source: string } | undefined, env: Environment): string {
  const caller = process.getuid?.() === 0 ? env['SUDO_USER'] || undefined : undefined
  if (credentials !== undefined) {
    const whose = caller === undefined ? '' : ` (under sudo that is root's, not ${caller}'s)`
    return `the login in ${credentials.source}${whose} does not open it; check the name, or log in again`
  }
  const login = `the image does not exist or needs a login; check the name, or log in with \`tscrun login ${registry}\``
  if (caller === undefined) return login
  return `${login}; under sudo the logins of root count (${primaryAuthFile(env)}), not those of ${caller}`
}
