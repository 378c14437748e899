import { existsSync, readFileSync, readlinkSync, rmdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { RANGE_SIZE } from '../../model/ids.ts'
import { isInFirst } from './nesting.ts'
import { claimLink, ownerTag } from '../state/owner-link.ts'

/**
 * Where ranges are taken from when /etc/subuid has no line for `containers`: above what distributions give to users and
 * to systemd's containers, below 2^31 (systemd's UIDS-GIDS.md lists who uses what). In a container, whose tscrun cannot
 * see the ranges that the one around it has given away, the last quarter is taken (docs/decisions/0021).
 */
const DEFAULT = { outside: { first: 0x70000000, size: 0x0bfe0000 }, nested: { first: 0x7bfe0000, size: 0x04000000 } }

interface Ids {
  readonly first: number
  readonly size: number
}

/** Ids that containers are given from, all of them mapped in the user namespace tscrun is in. */
export interface Pool extends Ids {
  /** `config`: the config file. `subuid`: a line of /etc/subuid. `mapped`: what this user namespace has beyond its own first 65,536. */
  readonly source: 'config' | 'subuid' | 'default' | 'mapped'
}

/** What decides about the pool, as text. */
export interface IdFacts {
  /** `id_pool` of the config file, which stands for all else. */
  readonly configured?: Ids
  /** /etc/subuid (subuid(5)). */
  readonly subuid: string
  /** /proc/self/uid_map and gid_map (user_namespaces(7)). */
  readonly uidMap: string
  readonly gidMap: string
  /** In a container: another tscrun may give ids away at the same time. */
  readonly nested: boolean
}

/**
 * The `containers` line of /etc/subuid (podman's convention for --userns=auto), or the default pool; only what is mapped
 * here. Where nothing of the default pool is, what is mapped beyond the first 65,536 ids, which the users here have. Its
 * size is 0 where there is none.
 */
export function poolOf({ configured, subuid, uidMap, gidMap, nested }: IdFacts): Pool {
  const mapped = common(idsOf(uidMap), idsOf(gidMap))
  const line = configured ?? containersLine(subuid)
  const wanted = line ?? (nested ? DEFAULT.nested : DEFAULT.outside)
  const found = largest(common([wanted], mapped))
  if (line !== undefined) {
    return { ...(found ?? { ...line, size: 0 }), source: configured === undefined ? 'subuid' : 'config' }
  }
  if (found !== undefined && found.size >= RANGE_SIZE) return { ...found, source: 'default' }
  const rest = largest(common([{ first: RANGE_SIZE, size: 2 ** 31 - RANGE_SIZE }], mapped))
  return { ...(rest ?? { ...wanted, size: 0 }), source: 'mapped' }
}

function containersLine(subuid: string): Ids | undefined {
  for (const line of subuid.split('\n')) {
    const [name, first, size] = line.trim().split(':')
    if (name !== 'containers' || first === undefined || size === undefined) continue
    if (/^\d+$/.test(first) && /^\d+$/.test(size)) return { first: Number(first), size: Number(size) }
  }
  return undefined
}

/** The ids that exist in a namespace: the first and the third column of its map. */
function idsOf(map: string): Ids[] {
  return map.split('\n').flatMap((line) => {
    const [first, , size] = line.trim().split(/\s+/).map(Number)
    return first === undefined || size === undefined ? [] : [{ first, size }]
  })
}

function common(some: readonly Ids[], others: readonly Ids[]): Ids[] {
  return some.flatMap((a) =>
    others.flatMap((b) => {
      const first = Math.max(a.first, b.first)
      const size = Math.min(a.first + a.size, b.first + b.size) - first
      return size > 0 ? [{ first, size }] : []
    }),
  )
}

function largest(list: readonly Ids[]): Ids | undefined {
  return list.toSorted((a, b) => b.size - a.size)[0]
}

export function readIdFacts(configured?: Ids): IdFacts {
  return {
    ...(configured === undefined ? {} : { configured }),
    subuid: readOrNothing('/etc/subuid'),
    uidMap: readOrNothing('/proc/self/uid_map'),
    gidMap: readOrNothing('/proc/self/gid_map'),
    nested: !isInFirst('pid'),
  }
}

let pool: Pool | undefined

/** Asks the machine once a process. */
export function readPool(configured?: Ids): Pool {
  if (configured !== undefined) return poolOf(readIdFacts(configured))
  pool ??= poolOf(readIdFacts())
  return pool
}

/** How many containers can have ids of their own at once. */
export function rangesIn({ size }: Ids): number {
  return Math.floor(size / RANGE_SIZE)
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return ''
    throw error
  }
}

/** A range that no other container of this store has. */
export interface IdRange {
  readonly hostId: number
  readonly size: number
}

/**
 * Takes a range for a container: a link in `directory` that only one can make. The search begins at a place that the
 * container's id picks, so that many starts at once rarely meet. Throws USERNS_UNAVAILABLE when the pool is used up.
 */
export function takeRange(directory: string, containerId: string, pool: Ids): IdRange {
  const count = rangesIn(pool)
  const begin = count === 0 ? 0 : beginOf(containerId, count)
  for (let offset = 0; offset < count; offset++) {
    const hostId = pool.first + ((begin + offset) % count) * RANGE_SIZE
    if (claimLink(join(directory, String(hostId)), containerId)) return { hostId, size: RANGE_SIZE }
  }
  throw new TscrunError('USERNS_UNAVAILABLE', `user namespace: all ${count} ranges of ids are in use`, {
    hint: 'remove containers (`tscrun rm`), or give `containers` a larger range in /etc/subuid',
  })
}

function beginOf(containerId: string, count: number): number {
  return Number.parseInt(containerId.slice(0, 8), 16) % count
}

/** First host id of the range that is tried first for a container, as far as it is free now. */
export function likelyRange(directory: string, containerId: string, pool: Ids): number | undefined {
  const count = rangesIn(pool)
  const hostId = count === 0 ? undefined : pool.first + beginOf(containerId, count) * RANGE_SIZE
  return hostId === undefined || existsSync(join(directory, String(hostId))) ? undefined : hostId
}

/** Gives a range back, if it is this container's; others that share it keep it (shared-range.ts). */
export function releaseRange(directory: string, id: string, range: IdRange): void {
  const path = join(directory, String(range.hostId))
  try {
    if (readlinkSync(path) === ownerTag(id)) unlinkSync(path)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT') return
    // A directory.
    if (errno !== 'EINVAL' && errno !== 'EISDIR') throw error
    leaveRange(path, id)
  }
}

/** One of those who share a range goes, the last one with the range itself. */
export function leaveRange(path: string, id: string): void {
  try {
    unlinkSync(join(path, ownerTag(id)))
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error
  }
  removeIfEmpty(path)
}

export function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (!['ENOTEMPTY', 'ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error
  }
}
