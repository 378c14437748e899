import { platformFor } from '../../images/host-platform.ts'
import { copyImage } from '../../images/copy.ts'
import { dockerSource } from '../../images/docker-transport.ts'
import { openForSearch, type ReachOptions } from '../../images/open-registry.ts'
import type { Packing } from '../../images/packer.ts'
import { pushImage } from '../../images/push.ts'
import type { ImageStore } from '../../images/store.ts'
import { openImageSource, openImageTarget } from '../../images/transports.ts'
import type { ImageDocument } from '../../images/transport.ts'
import { TscrunError } from '../../model/errors.ts'
import { formatReference, parseReference } from '../../model/reference.ts'
import { type AuthTarget, removeAllLogins, removeLogin, saveLogin } from '../../registry/auth-write.ts'
import { findCredentials } from '../../registry/credentials.ts'
import { loadRegistriesConf, type RegistriesConf } from '../../registry/registries-conf.ts'
import { DOCKER_HUB_SEARCH, type FoundRepository, listTags, searchRegistry } from '../../registry/search.ts'
import type { RegistryAccess } from '../../registry/session.ts'
import type { EngineOptions, Listener } from '../api.ts'
import type { ShortNames } from './short-names.ts'

export interface CopyRequest extends Listener {
  /** `all` for everything an index names, attestations too. */
  readonly platform?: string
  readonly source: RegistryAccess
  readonly target: RegistryAccess
}

export interface PushRequest extends Listener, RegistryAccess {
  /** Packs the layers anew, so that the image gets another digest. */
  readonly packing?: Packing
}

export interface LoginRequest extends RegistryAccess {
  readonly user: string
  readonly password: string
  readonly signal?: AbortSignal
}

export interface SearchRequest extends RegistryAccess {
  readonly limit: number
  readonly signal?: AbortSignal
}

/** What is done with registries, and with images outside the store. */
export interface RegistryVerbs {
  /** Sends a stored image under a name of its own or another; resolves to the digest it has there. */
  push(image: string, destination: string | undefined, options: PushRequest): Promise<string>
  /** Copies between two places (`docker://`, `oci:`, ...) without unpacking; resolves to the digest at the target. */
  copy(source: string, target: string, request: CopyRequest): Promise<string>
  /** The manifest or index a name stands for at its registry, byte for byte. */
  manifest(reference: string, options: RegistryAccess & { readonly signal?: AbortSignal }): Promise<ImageDocument>
  /** The registry meant where none is named. */
  defaultRegistry(): string
  /** Tries a login and keeps it; resolves to where. `name` is `HOST[:PORT][/PATH]`. */
  login(name: string, request: LoginRequest): Promise<string>
  /** The user name of the login there is. */
  loggedInAs(name: string, authFile: string | undefined): Promise<string | undefined>
  /** Resolves to false where there was no login. */
  logout(name: string, authFile: string | undefined): Promise<boolean>
  logoutAll(authFile: string | undefined): Promise<void>
  /** `term` may begin with a registry: `quay.io/postgres`. */
  search(term: string, request: SearchRequest): Promise<readonly FoundRepository[]>
  tags(repository: string, request: SearchRequest): Promise<readonly string[]>
}

export function registryVerbs(
  store: ImageStore,
  names: ShortNames,
  { onDebug, registries }: Pick<EngineOptions, 'onDebug' | 'registries'>,
): RegistryVerbs {
  const env = process.env
  const conf = (): RegistriesConf => loadRegistriesConf(env, registries)
  const reach = (options: RegistryAccess & Pick<Listener, 'signal' | 'onProgress'>): ReachOptions => ({
    ...options,
    ...(onDebug === undefined ? {} : { onDebug }),
    ...(registries === undefined ? {} : { registries }),
  })
  const files = (authFile: string | undefined): AuthTarget => ({
    env,
    helpers: conf().credentialHelpers,
    ...(authFile === undefined ? {} : { path: authFile }),
  })

  return {
    async push(image, destination, options) {
      await names.prepare(image)
      const target = parseReference(destination ?? nameOf(store, image))
      const { packing } = options
      return pushImage(store, image, target, { ...reach(options), ...(packing === undefined ? {} : { packing }) })
    },
    async copy(source, target, { platform, source: from, target: to, ...listener }) {
      const wanted = platform === 'all' ? platform : platformFor(platform)
      const { work } = store.paths
      const opened = await openImageSource(source, { ...reach({ ...from, ...listener }), work })
      try {
        const sink = openImageTarget(target, { ...reach({ ...to, ...listener }), work }, source)
        try {
          return await copyImage(opened, sink, { ...listener, verb: 'copy', platform: wanted })
        } finally {
          await sink.close()
        }
      } finally {
        await opened.close()
      }
    },
    async manifest(reference, options) {
      const [name = reference] = await names.toPull(reference)
      const source = dockerSource(parseReference(name), reach(options))
      try {
        return await source.document()
      } finally {
        await source.close()
      }
    },
    defaultRegistry: () => conf().search?.[0] ?? 'docker.io',
    async login(name, { user, password, ...access }) {
      const registry = name.split('/', 1)[0] ?? name
      const creds = { user, password }
      const session = openForSearch(registry, reach({ ...access, creds }), 'login')
      try {
        const url = await session.url('/v2/')
        const response = await session.retrying(() => session.ask(url, {}, { what: 'API', ok: [200] }))
        response.discard()
      } finally {
        session.close()
      }
      return saveLogin(files(access.authFile), name, { user, secret: password })
    },
    async loggedInAs(name, authFile) {
      const [registry = name, ...path] = name.split('/')
      const { credentialHelpers: helpers } = conf()
      const found = await findCredentials({
        registry,
        repository: path.join('/'),
        env,
        helpers,
        ...(authFile === undefined ? {} : { authFile }),
      })
      return found === undefined ? undefined : found.kind === 'basic' ? found.user : '<token>'
    },
    logout: (name, authFile) => removeLogin(files(authFile), name),
    logoutAll: (authFile) => removeAllLogins(files(authFile)),
    async search(text, { limit, ...access }) {
      const slash = text.indexOf('/')
      const head = text.slice(0, Math.max(0, slash))
      const isNamed = /[.:]/.test(head) || head === 'localhost'
      const registry = isNamed ? head : (conf().search?.[0] ?? 'docker.io')
      const term = isNamed ? text.slice(slash + 1) : text
      const session = openForSearch(registry === 'docker.io' ? DOCKER_HUB_SEARCH : registry, reach(access), 'search')
      try {
        return await searchRegistry(session, registry, { term, limit })
      } finally {
        session.close()
      }
    },
    async tags(text, { limit, ...access }) {
      const [name = text] = await names.toPull(text)
      const { registry, repository } = parseReference(name)
      const session = openForSearch(registry, reach(access), 'search', repository)
      try {
        return (await listTags(session, repository)).slice(0, limit)
      } finally {
        session.close()
      }
    },
  }
}

/** What an image is pushed as where nothing else is said. Throws for one that has no name. */
function nameOf(store: ImageStore, image: string): string {
  const stored = store.find(image)
  const [only, ...others] = stored?.names ?? []
  const typed = /^(?:sha256:)?[0-9a-f]{4,64}$/.test(image) ? undefined : formatReference(parseReference(image))
  if (stored === undefined || (typed !== undefined && stored.names.includes(typed))) return typed ?? image
  if (only !== undefined && others.length === 0) return only
  throw new TscrunError('USAGE', `push ${image}: under which name?`, {
    subject: image,
    hint: only === undefined ? 'tscrun push IMAGE DESTINATION' : `it has the names ${stored.names.join(', ')}`,
  })
}
