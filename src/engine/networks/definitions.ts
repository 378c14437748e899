import { linkSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readIfThere } from '../../images/files.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { NetworkDefinition } from '../../model/network.ts'
import { randomId } from '../../syscall/random.ts'
import type { EnginePaths } from '../paths.ts'
import { justLook } from '../start/look.ts'
import { makeDirectory } from '../state/make-directory.ts'
import { storeFailure } from '../state/store-failure.ts'

/** Of the network that a container has where none is named. */
export const DEFAULT_NETWORK = 'bridge'

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/
const RESERVED = ['none', 'host', 'default', 'container', 'ns', 'private', 'slirp4netns', 'pasta', 'cni']

/** Throws USAGE for what cannot be a network's name. */
export function checkNetworkName(name: string): string {
  const reason = RESERVED.includes(name)
    ? 'it is a word of --network'
    : NAME.test(name)
      ? undefined
      : 'it must be letters, digits, . _ -, at most 128, the first a letter or digit'
  if (reason === undefined) return name
  throw new TscrunError('USAGE', `network ${JSON.stringify(name)}: ${reason}`, {
    subject: name,
    hint: 'choose another name, e.g. backend',
  })
}

export function definitionsDirectory(paths: EnginePaths): string {
  return join(paths.root, 'networks')
}

export function definitionFile(paths: EnginePaths, name: string): string {
  return join(definitionsDirectory(paths), `${name}.json`)
}

/** In order of their names. */
export function listNetworks(paths: EnginePaths): NetworkDefinition[] {
  try {
    return readdirSync(definitionsDirectory(paths))
      .filter((file) => file.endsWith('.json'))
      .toSorted()
      .flatMap((file) => readNetwork(paths, file.slice(0, -'.json'.length)) ?? [])
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

/** Undefined where there is none of this name. */
export function readNetwork(paths: EnginePaths, name: string, look = justLook): NetworkDefinition | undefined {
  const path = definitionFile(paths, name)
  try {
    const text = look(() => readIfThere(path)?.toString())
    return text === undefined ? undefined : (JSON.parse(text) as NetworkDefinition)
  } catch (error) {
    throw new TscrunError('STORE', `read ${path}: ${(error as Error).message}`, { subject: path, cause: error })
  }
}

/** By its name, or the beginning of its id. Throws NO_SUCH_NETWORK. */
export function findNetwork(paths: EnginePaths, nameOrId: string): NetworkDefinition {
  if (NAME.test(nameOrId)) {
    const named = readNetwork(paths, nameOrId)
    if (named !== undefined) return named
  }
  const matches = /^[0-9a-f]{3,64}$/.test(nameOrId)
    ? listNetworks(paths).filter(({ id }) => id.startsWith(nameOrId))
    : []
  const [found, other] = matches
  if (found !== undefined && other === undefined) return found
  const reason = found === undefined ? 'there is none of this name' : `${matches.length} ids begin so`
  throw new TscrunError('NO_SUCH_NETWORK', `network ${nameOrId}: ${reason}`, {
    subject: nameOrId,
    hint: `\`tscrun network ls\` lists them; \`tscrun network create ${nameOrId}\` makes one`,
  })
}

/** Puts a definition into the store; false where there is one of this name. */
export function writeNetwork(paths: EnginePaths, definition: NetworkDefinition): boolean {
  const path = definitionFile(paths, definition.name)
  const made = `${path}.${randomId().slice(0, 12)}`
  try {
    makeDirectory(definitionsDirectory(paths))
    writeFileSync(made, `${JSON.stringify(definition)}\n`, { mode: 0o600, flush: true })
    linkSync(made, path)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false
    throw storeFailure(error, path)
  } finally {
    rmSync(made, { force: true })
  }
}

export function removeDefinition(paths: EnginePaths, name: string): void {
  rmSync(definitionFile(paths, name), { force: true })
}
