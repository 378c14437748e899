import { readFileSync } from 'node:fs'
import type { ContainerStatus, Engine } from '../engine/api.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import type { FlagValues } from './command.ts'
import { forEachOperand } from './each.ts'
import { print } from './output/print.ts'
import { parseContainerFilter } from './parse/filter.ts'

/** What was typed about which containers are meant. */
export interface Typed {
  readonly verb: string
  readonly flags: FlagValues
  readonly operands: readonly string[]
}

/** It is opened only where it must be asked: what is typed wrong needs none. */
type OpenEngine = () => Promise<Engine>

/**
 * The containers that are named, those of --cidfile, that of --latest, or with --all or --filter all that are in one of
 * these states. Throws USAGE where none is, or both ways are gone at once.
 */
export async function chooseContainers(
  engine: OpenEngine,
  typed: Typed,
  statuses: readonly ContainerStatus[],
): Promise<readonly string[]> {
  const { verb, flags } = typed
  if (!flags.bool('all') && !flags.has('filter')) return namedContainers(engine, typed)
  const word = flags.bool('all') ? '--all' : '--filter'
  if (typed.operands.length > 0 || flags.has('cidfile') || flags.bool('latest')) throw bothWays(verb, word)
  const found = await (await engine()).ps({ all: true, filter: parseContainerFilter(flags.list('filter')) })
  return found.filter(({ status }) => statuses.includes(status)).map(({ name }) => name)
}

/** Without --all. */
export async function namedContainers(
  engine: OpenEngine,
  { verb, flags, operands }: Typed,
): Promise<readonly string[]> {
  const named = [...operands, ...flags.list('cidfile').flatMap((file) => readCidfile(file, flags.bool('ignore')))]
  if (flags.bool('latest')) {
    if (named.length > 0) throw bothWays(verb, '--latest')
    return [await latestContainer(engine)]
  }
  // A file that is not there was all.
  if (named.length > 0 || flags.has('cidfile')) return named
  throw new TscrunError('USAGE', `${verb}: the container is missing`, {
    hint: `usage: tscrun ${verb} [OPTIONS] CONTAINER [CONTAINER...]`,
    subject: verb,
  })
}

/** For a command about one container whose other words follow it: the container, and the rest. */
export async function latestOrFirst(
  engine: OpenEngine,
  { verb, flags, operands }: Typed,
): Promise<readonly [container: string, ...rest: string[]]> {
  if (flags.bool('latest')) return [await latestContainer(engine), ...operands]
  const [container, ...rest] = operands
  if (container !== undefined) return [container, ...rest]
  throw new TscrunError('USAGE', `${verb}: the container is missing`, {
    hint: `see tscrun ${verb} --help`,
    subject: verb,
  })
}

/** The name of the one that was made last. Throws NO_SUCH_CONTAINER. */
async function latestContainer(engine: OpenEngine): Promise<string> {
  const [latest] = await (await engine()).ps({ all: true, last: 1 })
  if (latest !== undefined) return latest.name
  throw new TscrunError('NO_SUCH_CONTAINER', 'container --latest: there is none', { subject: '--latest' })
}

function bothWays(verb: string, flag: string): TscrunError {
  return new TscrunError('USAGE', `${verb} ${flag}: no container can be named`, {
    subject: verb,
    hint: `leave ${flag} out, or the names`,
  })
}

function readCidfile(file: string, ignore: boolean): string[] {
  try {
    return [readFileSync(file, 'utf8').trim()]
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === undefined) throw error
    if (errno === 'ENOENT' && ignore) return []
    throw new TscrunError('USAGE', `--cidfile ${file}: ${errno}`, { errno, subject: file, cause: error })
  }
}

/**
 * Does something with each of them and prints its name, as typed; with --ignore one that is not there is passed over.
 * Resolves to the exit code.
 */
export function forEachContainer(
  containers: readonly string[],
  action: (name: string) => Promise<unknown>,
  { ignore, debug }: { readonly ignore: boolean; readonly debug: boolean },
): Promise<number> {
  const doOne = async (name: string): Promise<void> => {
    try {
      await action(name)
    } catch (error) {
      if (ignore && error instanceof TscrunError && error.code === 'NO_SUCH_CONTAINER') return
      throw error
    }
    print(`${name}\n`)
  }
  return forEachOperand(containers, doOne, debug)
}
