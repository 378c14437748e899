import * as fs from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { getuid } from 'node:process'
import { TscrunError, errnoOf } from '../model/errors.ts'

/** What a registry is told about who asks. */
export type Credentials =
  | { readonly kind: 'basic'; readonly user: string; readonly password: string; readonly source: string }
  | { readonly kind: 'identity'; readonly token: string; readonly source: string }

export type Environment = Readonly<Record<string, string | undefined>>

/** Where logins are kept, first match first (containers-auth.json(5), then docker's). */
export function authFiles(env: Environment): readonly string[] {
  if (env['REGISTRY_AUTH_FILE']) return [env['REGISTRY_AUTH_FILE']]
  const home = env['HOME'] || homedir()
  const runtime = env['XDG_RUNTIME_DIR']
    ? join(env['XDG_RUNTIME_DIR'], 'containers')
    : `/run/containers/${getuid?.() ?? 0}`
  return [
    join(runtime, 'auth.json'),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers', 'auth.json'),
    join(env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json'),
  ]
}

/**
 * The login for a repository: the longest key that is the registry or a path in it wins, the first file with one.
 * Undefined where there is none. Throws REGISTRY_AUTH for a damaged file.
 */
export function findCredentials(registry: string, repository: string, env: Environment): Credentials | undefined {
  const keys = keysFor(registry, repository)
  for (const file of authFiles(env)) {
    const auths = readAuths(file)
    for (const key of keys) {
      const entry = auths.get(key)
      if (entry !== undefined) return parseEntry(entry, file, key)
    }
  }
  return undefined
}

function keysFor(registry: string, repository: string): readonly string[] {
  const parts = [registry, ...repository.split('/')]
  const keys = parts.map((_, i) => parts.slice(0, parts.length - i).join('/'))
  if (registry === 'docker.io') keys.push('https://index.docker.io/v1/', 'index.docker.io', 'registry-1.docker.io')
  return [...keys, `https://${registry}`, `https://${registry}/v1/`, `https://${registry}/v2/`]
}

function readAuths(file: string): ReadonlyMap<string, Record<string, unknown>> {
  let text: string
  try {
    text = fs.readFileSync(file, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return new Map()
    if (errno !== 'EACCES') throw error
    throw damaged(file, 'not readable')
  }
  let auths: unknown
  try {
    auths = (JSON.parse(text) as { auths?: unknown } | null)?.auths ?? {}
  } catch (error) {
    if (error instanceof SyntaxError) throw damaged(file, 'not valid JSON')
    throw error
  }
  if (typeof auths !== 'object' || auths === null) throw damaged(file, '"auths" is not an object')
  return new Map(Object.entries(auths as Record<string, Record<string, unknown>>))
}

function damaged(file: string, reason: string): TscrunError {
  return new TscrunError('REGISTRY_AUTH', `login file ${file}: ${reason}`, { subject: file, hint: 'mend or remove it' })
}

function parseEntry(entry: Record<string, unknown>, file: string, key: string): Credentials | undefined {
  const { auth, identitytoken } = entry
  if (typeof identitytoken === 'string' && identitytoken !== '')
    return { kind: 'identity', token: identitytoken, source: file }
  if (typeof auth !== 'string' || auth === '') return undefined
  const text = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '')
  const colon = text.indexOf(':')
  if (colon < 1) throw damaged(file, `the login for ${key} is not user:password in base64`)
  return { kind: 'basic', user: text.slice(0, colon), password: text.slice(colon + 1), source: file }
}
