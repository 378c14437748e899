import { existsSync, readFileSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { Settings } from '../../model/settings.ts'

/**
 * The configuration of the host: files, and variables of the environment. All that is read of them is read here; what they
 * mean is in config-parse.ts, which a host without any does not load.
 */

export const SYSTEM_CONFIG = '/etc/tscrun/config.toml'

/** Beginning of the variables' names; the rest is a key. What tests are told begins with TSCRUN_TEST_. */
const PREFIX = 'TSCRUN_'
/** Variables of other meaning. */
const NOT_KEYS = new Set([
  'TSCRUN_NODE',
  'TSCRUN_FACE',
  'TSCRUN_CONFIG',
  'TSCRUN_PREPARED',
  // The launcher's own.
  'TSCRUN_NOFILE',
  'TSCRUN_NODE_OPTIONS',
  'TSCRUN_NODE_EXTRA_CA_CERTS',
])

/** What was found. */
export interface ConfigSources {
  /** In order: a later one wins. */
  readonly files: readonly { readonly path: string; readonly text: string }[]
  /** Variables that begin like ours. */
  readonly variables: Readonly<Record<string, string>>
}

/** Settings, and where each of them comes from by its key in the file. */
export interface ResolvedSettings {
  readonly settings: Settings
  readonly sources: ReadonlyMap<string, { readonly value: unknown; readonly from: string }>
}

export const NO_SETTINGS: ResolvedSettings = { settings: {}, sources: new Map() }

/**
 * The files that are looked for, whether they are there or not: the host's, then the user's; with TSCRUN_CONFIG that one
 * alone, and none where it is empty.
 */
export function configPaths(env: NodeJS.ProcessEnv = process.env): readonly string[] {
  const only = env['TSCRUN_CONFIG']
  if (only !== undefined) return only === '' ? [] : [only]
  const own = ownDirectory(env)
  return own === undefined ? [SYSTEM_CONFIG] : [SYSTEM_CONFIG, `${own}/tscrun/config.toml`]
}

/** The XDG base directory; root has one only where it is named. */
function ownDirectory(env: NodeJS.ProcessEnv): string | undefined {
  const named = env['XDG_CONFIG_HOME'] ?? ''
  if (named.startsWith('/')) return named
  const home = env['HOME'] ?? ''
  return process.geteuid?.() !== 0 && home.startsWith('/') ? `${home}/.config` : undefined
}

/** Undefined where nothing is set. Throws INVALID_CONFIG for a file that cannot be read. */
export function findConfig(env: NodeJS.ProcessEnv = process.env): ConfigSources | undefined {
  const mustExist = env['TSCRUN_CONFIG'] !== undefined
  const files = configPaths(env).flatMap((path) => (mustExist || existsSync(path) ? [{ path, text: read(path) }] : []))
  const names = Object.keys(env).filter(
    (name) => name.startsWith(PREFIX) && !name.startsWith(`${PREFIX}TEST_`) && !NOT_KEYS.has(name),
  )
  if (files.length === 0 && names.length === 0) return undefined
  return { files, variables: Object.fromEntries(names.map((name) => [name, env[name] ?? ''])) }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new TscrunError('INVALID_CONFIG', `read ${path}: ${errnoOf(error) ?? 'cannot be read'}`, {
      subject: path,
      hint: 'TSCRUN_CONFIG names another file, or with an empty value none',
      cause: error,
    })
  }
}
