import { stringify } from 'smol-toml'
import type { ConfigFile } from './config-files.ts'

/** What a program says of registries beside the host's files; the names are those of containers-registries.conf(5). */
export interface RegistrySettings {
  /** Registries in which a name without one is looked for, in this order; without it as the host's files say. */
  readonly search?: readonly string[]
  /** Complete names by short ones, both without tag and digest. */
  readonly aliases?: Readonly<Record<string, string>>
  readonly registries?: readonly RegistrySetting[]
}

export interface RegistrySetting {
  /** `HOST[:PORT][/PATH]` or `*.DOMAIN`: the longest one that fits counts. Without it `location`. */
  readonly prefix?: string
  /** What is asked in the place of the prefix. */
  readonly location?: string
  /** Plain http, and certificates nobody vouches for, are allowed. */
  readonly insecure?: boolean
  readonly blocked?: boolean
  /** Asked before the registry itself, in this order; pulls only. */
  readonly mirrors?: readonly {
    readonly location: string
    readonly insecure?: boolean
    readonly use?: 'all' | 'digest-only' | 'tag-only'
  }[]
}

/** The same as one more file, so that it is checked and counts as one; the last file wins. */
export function settingsFile({ search, aliases, registries }: RegistrySettings): ConfigFile {
  const registry = registries?.map(({ mirrors, ...rest }) => ({
    ...rest,
    mirror: mirrors?.map(({ use, ...mirror }) => ({ ...mirror, 'pull-from-mirror': use })),
  }))
  return {
    path: 'createEngine({ registries })',
    text: stringify({ 'unqualified-search-registries': search, aliases, registry }),
  }
}
