import { parse, TomlError, type TomlTable } from 'smol-toml'
import { TscrunError } from '../model/errors.ts'
import { type ConfigFile, registriesFiles } from './config-files.ts'
import type { Environment } from './environment.ts'
import { type RegistrySettings, settingsFile } from './registry-settings.ts'

/** A `[[registry]]` table of registries.conf (containers-registries.conf(5)). */
export interface RegistryRule {
  /** `host[:port][/path][:tag]`, or `*.domain`. */
  readonly prefix: string
  /** What stands in for the prefix when the registry is asked; empty: nothing does. */
  readonly location: string
  /** Plain http and certificates nobody vouches for are allowed. */
  readonly insecure: boolean
  readonly blocked: boolean
  readonly mirrors: readonly Mirror[]
  /** The file it is in, for messages. */
  readonly file: string
}

export interface Mirror {
  readonly location: string
  readonly insecure: boolean
  readonly use: 'all' | 'digest-only' | 'tag-only'
}

export interface RegistriesConf {
  readonly rules: readonly RegistryRule[]
  /** Where short names are looked for; undefined where no file says. */
  readonly search: readonly string[] | undefined
  readonly mode: 'enforcing' | 'permissive' | 'disabled'
  /** Short name -> complete name, both without tag and digest. */
  readonly aliases: ReadonlyMap<string, string>
  /** Helpers to ask for every registry; `containers-auth.json` stands for the login files. */
  readonly credentialHelpers: readonly string[]
}

/** Reads all files there are; without any, what docker would do. Throws INVALID_CONFIG naming file and setting. */
export function loadRegistriesConf(env: Environment, own?: RegistrySettings): RegistriesConf {
  return parseRegistriesConf([...registriesFiles(env), ...(own === undefined ? [] : [settingsFile(own)])])
}

/** Puts files together: a later one replaces a rule of the same prefix, an alias, or a list. Pure. */
export function parseRegistriesConf(files: readonly ConfigFile[]): RegistriesConf {
  const rules = new Map<string, RegistryRule>()
  const aliases = new Map<string, string>()
  let search: readonly string[] | undefined
  let mode: RegistriesConf['mode'] | undefined
  let credentialHelpers: readonly string[] | undefined
  for (const file of files) {
    const table = parseToml(file)
    const reader = readerOf(file.path)
    if (table['registries'] !== undefined) {
      throw reader.bad('registries', 'version 1 of the format, which is not supported', 'write [[registry]] tables')
    }
    search = reader.strings(table, 'unqualified-search-registries') ?? search
    for (const host of search ?? []) reader.checkLocation(host, 'unqualified-search-registries')
    mode = reader.word(table, 'short-name-mode', ['enforcing', 'permissive', 'disabled']) ?? mode
    credentialHelpers = reader.strings(table, 'credential-helpers') ?? credentialHelpers
    const own = new Set<string>()
    for (const item of reader.tables(table, 'registry')) {
      const rule = registryRule(item, reader, file.path)
      // Of two in one file the first counts less than an honest complaint.
      if (own.has(rule.prefix)) throw reader.bad('registry', `two tables for ${rule.prefix}`)
      own.add(rule.prefix)
      rules.set(rule.prefix, rule)
    }
    for (const [name, value] of Object.entries(reader.table(table, 'aliases'))) {
      if (typeof value !== 'string') throw reader.bad(`aliases.${name}`, 'not a string')
      if (value === '') aliases.delete(name)
      else aliases.set(name, value)
    }
  }
  return {
    rules: [...rules.values()],
    search,
    mode: mode ?? 'permissive',
    aliases,
    credentialHelpers: credentialHelpers ?? ['containers-auth.json'],
  }
}

function parseToml({ path, text }: ConfigFile): TomlTable {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const reason = error.message.split('\n', 1)[0]?.replace(/^Invalid TOML document: /, '')
    throw new TscrunError('INVALID_CONFIG', `${path}: line ${error.line}: ${reason}`, { subject: path, cause: error })
  }
}

/** `[*.]host[:port][/path]`, with a tag or a digest at most behind a path. */
const PREFIX = /^(?:\*\.)?[A-Za-z0-9[][A-Za-z0-9.:\]-]*(?:\/[a-z0-9._\-/]+(?::[\w.-]+|@sha256:[0-9a-f]{64})?)?$/

function registryRule(table: TomlTable, reader: Reader, file: string): RegistryRule {
  const location = reader.text(table, 'location')
  const prefix = reader.text(table, 'prefix') || location
  if (prefix === '') throw reader.bad('registry', 'neither prefix nor location')
  const isWildcard = prefix.startsWith('*.')
  if (!PREFIX.test(prefix) || (isWildcard && /[/:]/.test(prefix))) {
    throw reader.bad('registry.prefix', `${JSON.stringify(prefix)} is not HOST[:PORT][/PATH] or *.DOMAIN`)
  }
  const byDigestOnly = reader.flag(table, 'mirror-by-digest-only')
  const mirrors = reader.tables(table, 'mirror').map((item): Mirror => {
    const use = reader.word(item, 'pull-from-mirror', ['all', 'digest-only', 'tag-only'])
    if (byDigestOnly && use !== undefined) {
      throw reader.bad('registry.mirror.pull-from-mirror', 'excludes mirror-by-digest-only')
    }
    return {
      location: reader.location(item, 'registry.mirror'),
      insecure: reader.flag(item, 'insecure'),
      use: byDigestOnly ? 'digest-only' : (use ?? 'all'),
    }
  })
  return {
    prefix: cleaned(prefix),
    location: location === '' ? (isWildcard ? '' : cleaned(prefix)) : reader.location(table, 'registry'),
    insecure: reader.flag(table, 'insecure'),
    blocked: reader.flag(table, 'blocked'),
    mirrors,
    file,
  }
}

function cleaned(name: string): string {
  return name.replace(/\/+$/, '')
}

type Reader = ReturnType<typeof readerOf>

/** Reads settings of one file by kind. Keys it does not ask for are left to other programs. */
function readerOf(path: string) {
  const bad = (key: string, reason: string, hint?: string): TscrunError =>
    new TscrunError('INVALID_CONFIG', `${path}: ${key}: ${reason}`, {
      subject: path,
      ...(hint === undefined ? {} : { hint }),
    })
  const isTable = (value: unknown): value is TomlTable =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
  const text = (table: TomlTable, key: string): string => {
    const value = table[key] ?? ''
    if (typeof value !== 'string') throw bad(key, 'not a string')
    return value
  }
  /** A real host must be told from a path of Docker Hub. */
  const checkLocation = (value: string, where: string): void => {
    const host = value.split('/', 1)[0] ?? ''
    const isHost = /[.:]/.test(host) || host === 'localhost'
    if (!PREFIX.test(value) || value.startsWith('*') || !isHost) {
      throw bad(where, `${JSON.stringify(value)} is not HOST[:PORT][/PATH]`)
    }
  }
  return {
    bad,
    text,
    flag(table: TomlTable, key: string): boolean {
      const value = table[key] ?? false
      if (typeof value !== 'boolean') throw bad(key, 'neither true nor false')
      return value
    },
    word<T extends string>(table: TomlTable, key: string, words: readonly T[]): T | undefined {
      const value = text(table, key)
      const word = words.find((candidate) => candidate === value)
      if (value !== '' && word === undefined) throw bad(key, `${JSON.stringify(value)} is none of ${words.join(', ')}`)
      return word
    },
    strings(table: TomlTable, key: string): readonly string[] | undefined {
      const value = table[key]
      if (value === undefined) return undefined
      if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
        throw bad(key, 'not a list of strings')
      }
      return value
    },
    tables(table: TomlTable, key: string): readonly TomlTable[] {
      const value = table[key] ?? []
      if (!Array.isArray(value) || !value.every(isTable)) throw bad(key, `not [[${key}]] tables`)
      return value
    },
    table(table: TomlTable, key: string): TomlTable {
      const value = table[key] ?? {}
      if (!isTable(value)) throw bad(key, 'not a table')
      return value
    },
    checkLocation,
    location(table: TomlTable, where: string): string {
      const value = cleaned(text(table, 'location'))
      checkLocation(value, `${where}.location`)
      return value
    },
  }
}
