import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../model/errors.ts'
import type { EnginePaths } from './paths.ts'

/**
 * Names for the completion of a shell: read from the directories alone, without the kernel's door being loaded. A store that
 * cannot be read has none: nobody wants an error between two keys.
 */
export function containerNames(paths: EnginePaths): string[] {
  return entries(paths.names)
}

/** The first twelve letters, as `ps` shows them. */
export function shortContainerIds(paths: EnginePaths): string[] {
  return entries(paths.containers).map((id) => id.slice(0, 12))
}

export function volumeNames(paths: EnginePaths): string[] {
  return entries(paths.volumes).filter((name) => /^[A-Za-z0-9][\w.-]*$/.test(name))
}

export function networkNames(paths: EnginePaths): string[] {
  return entries(join(paths.root, 'networks')).flatMap((file) => /^(.*)\.json$/.exec(file)?.[1] ?? [])
}

/** Complete names, and the short ones that mean the same: `docker.io/library/alpine:3` is `alpine:3`, too. */
export function imageNames(paths: EnginePaths): string[] {
  const names = indexNames(join(paths.root, 'images', 'index.json'))
  return names.flatMap((name) => {
    const short = name.replace(/^docker\.io\/(?:library\/)?/, '').replace(/:latest$/, '')
    return short === name ? [name] : [short, name]
  })
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (errnoOf(error) === undefined) throw error
    return []
  }
}

function indexNames(path: string): string[] {
  try {
    const { manifests = [] } = JSON.parse(readFileSync(path, 'utf8')) as {
      manifests?: readonly { readonly annotations?: Readonly<Record<string, string>> }[]
    }
    return manifests.flatMap(({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] ?? [])
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof SyntaxError)) throw error
    return []
  }
}
