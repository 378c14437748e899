import * as fs from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { type Environment, homeOf } from './environment.ts'

/** A login file as far as anybody asks (containers-auth.json(5), docker's config.json). */
export interface AuthFile {
  readonly path: string
  /** Name -> its entry, as it is in the file. */
  readonly auths: ReadonlyMap<string, Readonly<Record<string, unknown>>>
  /** Registry -> suffix of the helper that keeps its logins. */
  readonly helpers: ReadonlyMap<string, string>
  /** The helper for all others; docker's config.json has one. */
  readonly store: string | undefined
  /** All of the document, to be written back with what others put there. */
  readonly document: Readonly<Record<string, unknown>>
}

/** The file that `login` writes: REGISTRY_AUTH_FILE, else one that goes when the machine or the session ends. */
export function primaryAuthFile(env: Environment): string {
  if (env['REGISTRY_AUTH_FILE']) return env['REGISTRY_AUTH_FILE']
  const runtime = env['XDG_RUNTIME_DIR']
    ? join(env['XDG_RUNTIME_DIR'], 'containers')
    : `/run/containers/${process.getuid?.() ?? 0}`
  return join(runtime, 'auth.json')
}

/** Where logins are looked for, first match first (containers-auth.json(5), then docker's). */
export function authFiles(env: Environment): readonly string[] {
  if (env['REGISTRY_AUTH_FILE']) return [env['REGISTRY_AUTH_FILE']]
  const home = homeOf(env)
  return [
    primaryAuthFile(env),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers', 'auth.json'),
    join(env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json'),
    join(home, '.dockercfg'),
  ]
}

/** Undefined for a file that is not there. Throws REGISTRY_AUTH for one that is damaged. */
export function readAuthFile(path: string): AuthFile | undefined {
  const text = readText(path)
  if (text === undefined) return undefined
  const document = parseObject(text, path)
  // The oldest of them is nothing but entries.
  const auths = path.endsWith('.dockercfg') ? document : member(document, 'auths', path)
  const entries = Object.entries(auths).map(([name, entry]): [string, Record<string, unknown>] => {
    if (!isObject(entry)) throw damaged(path, `the login for ${name} is not an object`)
    return [name, entry]
  })
  const helpers = Object.entries(member(document, 'credHelpers', path)).map(([name, suffix]): [string, string] => {
    if (typeof suffix !== 'string') throw damaged(path, `credHelpers has no name for ${name}`)
    return [name, suffix]
  })
  const store = document['credsStore'] ?? ''
  if (typeof store !== 'string') throw damaged(path, 'credsStore is not a string')
  return {
    path,
    document,
    auths: new Map(entries),
    helpers: new Map(helpers),
    store: store === '' ? undefined : store,
  }
}

function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined
    if (errno === 'EACCES' || errno === 'EISDIR') throw damaged(path, 'not readable')
    throw error
  }
}

function parseObject(text: string, path: string): Record<string, unknown> {
  // An empty file is what `touch` and mktemp leave.
  if (text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    // Its message quotes the text, which holds passwords.
    throw damaged(path, 'not valid JSON')
  }
  throw damaged(path, 'not an object')
}

function member(document: Record<string, unknown>, key: string, path: string): Record<string, unknown> {
  const value = document[key] ?? {}
  if (!isObject(value)) throw damaged(path, `"${key}" is not an object`)
  return value
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function damaged(file: string, reason: string): TscrunError {
  return new TscrunError('REGISTRY_AUTH', `login file ${file}: ${reason}`, { subject: file, hint: 'mend or remove it' })
}

/**
 * Names under which the login for a repository may stand, best first: the longest path that holds it, then the registry,
 * then what older programs called it.
 */
export function keysFor(registry: string, repository: string): readonly string[] {
  const parts = [registry, ...(repository === '' ? [] : repository.split('/'))]
  const keys = parts.map((_, i) => parts.slice(0, parts.length - i).join('/'))
  if (registry === 'docker.io') keys.push('https://index.docker.io/v1/', 'index.docker.io', 'registry-1.docker.io')
  return [...keys, `https://${registry}`, `https://${registry}/`, `https://${registry}/v1/`, `https://${registry}/v2/`]
}
