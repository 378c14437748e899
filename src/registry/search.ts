import { TscrunError } from '../model/errors.ts'
import type { Session } from './session.ts'
import { type HttpResponse, locationOf } from './transport.ts'

/** One repository that a search found. */
export interface FoundRepository {
  /** With the registry: `docker.io/library/alpine`. */
  readonly name: string
  readonly description: string
  readonly stars: number
  readonly official: boolean
}

const MAX_PAGE = 4 << 20
const PAGE = 1000
/** A registry that goes on listing is not read to its end. */
const MAX_PAGES = 100

/** The host that answers Docker Hub's searches. */
export const DOCKER_HUB_SEARCH = 'index.docker.io'

/**
 * Repositories whose name (with the first API: or description) has the term. Registries of today only list what they
 * have (`_catalog`, distribution-spec's older part), some not even that: then the older search is tried.
 */
export async function searchRegistry(
  session: Session,
  registry: string,
  query: { readonly term: string; readonly limit: number },
): Promise<readonly FoundRepository[]> {
  if (registry === 'docker.io') return searchV1(session, registry, query)
  try {
    const names = await listPages(session, `/v2/_catalog?n=${PAGE}`, 'repositories', (name) =>
      name.includes(query.term),
    )
    return names
      .slice(0, query.limit)
      .map((name) => ({ name: `${registry}/${name}`, description: '', stars: 0, official: false }))
  } catch (error) {
    const isElsewhere =
      error instanceof TscrunError && ['NO_SUCH_IMAGE', 'REGISTRY', 'REGISTRY_AUTH'].includes(error.code)
    if (!isElsewhere) throw error
    try {
      return await searchV1(session, registry, query)
    } catch (second) {
      // The catalogue's refusal says more than that of an API nobody has any more.
      if (second instanceof TscrunError && second.code !== 'ABORTED') throw error
      throw second
    }
  }
}

async function searchV1(
  session: Session,
  registry: string,
  { term, limit }: { readonly term: string; readonly limit: number },
): Promise<readonly FoundRepository[]> {
  const url = await session.url('/v1/search')
  url.searchParams.set('q', term)
  url.searchParams.set('n', String(Math.min(limit, 100)))
  const { value } = await readJson(session, url, 'search')
  const results = (value as { results?: unknown } | null)?.results
  if (!Array.isArray(results)) throw notAnswer(session, 'search')
  return results.slice(0, limit).map((item: unknown): FoundRepository => {
    const { name, description, star_count: stars, is_official: official } = (item ?? {}) as Record<string, unknown>
    const isHub = registry === 'docker.io' && typeof name === 'string' && !name.includes('/')
    return {
      name: `${registry}/${isHub ? 'library/' : ''}${textOf(name)}`,
      description: textOf(description),
      stars: typeof stars === 'number' ? stars : 0,
      official: official === true,
    }
  })
}

/** The tags of a repository, as the registry orders them. */
export async function listTags(session: Session, repository: string): Promise<readonly string[]> {
  return listPages(session, `/v2/${repository}/tags/list?n=${PAGE}`, 'tags', () => true)
}

/** Follows a listing from page to page (distribution-spec, `Link: <...>; rel="next"`). */
async function listPages(
  session: Session,
  path: string,
  key: string,
  wanted: (name: string) => boolean,
): Promise<readonly string[]> {
  const found: string[] = []
  let next: URL | undefined = await session.url(path)
  for (let page = 0; next !== undefined; page++) {
    if (page === MAX_PAGES) {
      throw new TscrunError('LIMIT_EXCEEDED', `list ${session.subject}: more than ${MAX_PAGES} pages of ${PAGE}`)
    }
    const { value, response } = await readJson(session, next, key)
    const names = (value as Record<string, unknown> | null)?.[key] ?? []
    if (!Array.isArray(names)) throw notAnswer(session, key)
    for (const name of names) if (typeof name === 'string' && wanted(name)) found.push(textOf(name))
    next = nextPage(session, response)
  }
  return found
}

function nextPage(session: Session, response: HttpResponse): URL | undefined {
  const link = /<([^>]*)>\s*;\s*rel="?next"?/.exec(response.headers.get('link') ?? '')?.[1]
  if (link === undefined) return undefined
  const url = locationOf(response.url, link, session.tlsVerify)
  // The rest of a list comes from where it began.
  return url.origin === response.url.origin ? url : undefined
}

async function readJson(
  session: Session,
  url: URL,
  what: string,
): Promise<{ readonly value: unknown; readonly response: HttpResponse }> {
  return session.retrying(async () => {
    const response = await session.ask(url, {}, { what, ok: [200] })
    const bytes = await response.read(MAX_PAGE, `${what} of ${session.subject}`)
    try {
      return { value: JSON.parse(bytes.toString()) as unknown, response }
    } catch (error) {
      if (error instanceof SyntaxError) throw notAnswer(session, what)
      throw error
    }
  })
}

function notAnswer(session: Session, what: string): TscrunError {
  return new TscrunError('REGISTRY', `search ${session.subject}: its answer for ${what} is not what the protocol has`, {
    subject: session.subject,
  })
}

/** What comes from outside is shown on one line. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, 1000) : ''
}
