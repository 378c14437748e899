import { type AuthFile, authFiles, damaged, keysFor, readAuthFile } from './auth-files.ts'
import { askHelper, type HelperLogin } from './credential-helper.ts'
import type { Environment } from './environment.ts'

/** What a registry is told about who asks; `source` says where it is from: a file, a helper, a flag. */
export type Credentials =
  | { readonly kind: 'basic'; readonly user: string; readonly password: string; readonly source: string }
  | { readonly kind: 'identity'; readonly token: string; readonly source: string }

export interface Lookup {
  readonly registry: string
  /** Empty for the registry itself. */
  readonly repository: string
  readonly env: Environment
  /** `--authfile`: this one alone. */
  readonly authFile?: string
  /** Helpers of registries.conf, asked in this order; `containers-auth.json` stands for the files. */
  readonly helpers?: readonly string[]
}

/** What stands for the login files among the helpers of registries.conf. */
export const LOGIN_FILES = 'containers-auth.json'

/**
 * The login for a repository. In a file the helper that is named for the registry wins over entries, and the longest key
 * that is a part of the name over shorter ones; the first file with a login counts. Throws REGISTRY_AUTH for a damaged
 * file or a failing helper.
 */
export async function findCredentials(lookup: Lookup): Promise<Credentials | undefined> {
  for (const helper of lookup.helpers ?? [LOGIN_FILES]) {
    if (helper !== LOGIN_FILES) {
      const login = await askHelper(helper, lookup.registry, lookup.env)
      if (login !== undefined) return ofHelper(login, helper)
      continue
    }
    for (const path of lookup.authFile === undefined ? authFiles(lookup.env) : [lookup.authFile]) {
      const file = readAuthFile(path)
      const found = file === undefined ? undefined : await findInFile(file, lookup)
      if (found !== undefined) return found
    }
  }
  return undefined
}

async function findInFile(file: AuthFile, { registry, repository, env }: Lookup): Promise<Credentials | undefined> {
  const keys = keysFor(registry, repository)
  for (const key of keys) {
    const helper = file.helpers.get(key)
    if (helper === undefined) continue
    const login = await askHelper(helper, key, env)
    return login === undefined ? undefined : ofHelper(login, helper)
  }
  for (const key of keys) {
    const entry = file.auths.get(key)
    const found = entry === undefined ? undefined : parseEntry(entry, file.path, key)
    if (found !== undefined) return found
  }
  if (file.store === undefined) return undefined
  const login = await askHelper(file.store, serverOf(registry), env)
  return login === undefined ? undefined : ofHelper(login, file.store)
}

/** What docker calls a registry where it talks to its credential store. */
export function serverOf(registry: string): string {
  return registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry
}

function ofHelper({ user, secret }: HelperLogin, helper: string): Credentials {
  const source = `docker-credential-${helper}`
  if (user === '<token>') return { kind: 'identity', token: secret, source }
  return { kind: 'basic', user, password: secret, source }
}

function parseEntry(entry: Readonly<Record<string, unknown>>, file: string, key: string): Credentials | undefined {
  const { auth, identitytoken, username, password } = entry
  if (typeof identitytoken === 'string' && identitytoken !== '')
    return { kind: 'identity', token: identitytoken, source: file }
  if (typeof auth !== 'string' || auth === '') {
    if (typeof username !== 'string' || typeof password !== 'string' || username === '') return undefined
    return { kind: 'basic', user: username, password, source: file }
  }
  const text = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '')
  const colon = text.indexOf(':')
  if (colon < 1) throw damaged(file, `the login for ${key} is not user:password in base64`)
  return { kind: 'basic', user: text.slice(0, colon), password: text.slice(colon + 1), source: file }
}
