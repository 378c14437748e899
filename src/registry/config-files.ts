import * as fs from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../model/errors.ts'
import type { Environment } from './environment.ts'
import { homeOf } from './environment.ts'

/** A file of settings and what is in it. */
export interface ConfigFile {
  readonly path: string
  readonly text: string
}

/**
 * The files of containers-registries.conf(5) and containers-registries.conf.d(5) that are there, in the order in which
 * the later one wins: the main file (the user's own, else the system's), the drop-ins, and the choices among short names
 * that podman has noted.
 */
export function registriesFiles(env: Environment): readonly ConfigFile[] {
  const home = homeOf(env)
  const own = join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers')
  const named = env['CONTAINERS_REGISTRIES_CONF'] || env['REGISTRIES_CONFIG_PATH']
  const main = named
    ? readConfig(named)
    : (readConfig(join(own, 'registries.conf')) ?? readConfig('/etc/containers/registries.conf'))
  const cache = env['XDG_CACHE_HOME'] || join(home, '.cache')
  const noted =
    process.getuid?.() === 0
      ? '/var/cache/containers/short-name-aliases.conf'
      : join(cache, 'containers/short-name-aliases.conf')
  return [
    main,
    ...dropIns('/etc/containers/registries.conf.d'),
    ...dropIns(join(own, 'registries.conf.d')),
    readConfig(noted),
  ].filter((file) => file !== undefined)
}

/** Variables that say where the files are. */
export const REGISTRIES_VARIABLES = [
  'HOME',
  'XDG_CONFIG_HOME',
  'XDG_CACHE_HOME',
  'CONTAINERS_REGISTRIES_CONF',
  'REGISTRIES_CONFIG_PATH',
] as const

/** Every place where `registriesFiles` looks, whether something is there or not; each directory with its files. */
export function registriesPlaces(env: Environment): readonly string[] {
  const home = homeOf(env)
  const own = join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers')
  const directories = ['/etc/containers/registries.conf.d', join(own, 'registries.conf.d')]
  const named = env['CONTAINERS_REGISTRIES_CONF'] || env['REGISTRIES_CONFIG_PATH']
  return [
    ...(named ? [named] : [join(own, 'registries.conf'), '/etc/containers/registries.conf']),
    ...directories.flatMap((directory) => [directory, ...dropIns(directory).flatMap((file) => file?.path ?? [])]),
    '/var/cache/containers/short-name-aliases.conf',
    join(env['XDG_CACHE_HOME'] || join(home, '.cache'), 'containers/short-name-aliases.conf'),
  ]
}

function dropIns(directory: string): readonly (ConfigFile | undefined)[] {
  let names: string[]
  try {
    names = fs.readdirSync(directory)
  } catch (error) {
    if (isAbsent(error)) return []
    throw error
  }
  return names
    .filter((name) => name.endsWith('.conf'))
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((name) => readConfig(join(directory, name)))
}

function readConfig(path: string): ConfigFile | undefined {
  try {
    return { path, text: fs.readFileSync(path, 'utf8') }
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

/** Root's files in a home that is not ours to look into are as good as absent. */
function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')
}
