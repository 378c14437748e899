import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { claimLink, releaseLink } from './owner-link.ts'

/** Ids of one user namespace: as many as a 16-bit system has. */
export const RANGE_SIZE = 65536

/**
 * Where ranges are taken from when /etc/subuid has no line for `containers`: above what distributions give to users and
 * to systemd's containers, below 2^31 (systemd's UIDS-GIDS.md lists who uses what).
 */
const DEFAULT_POOL: Pool = { first: 0x70000000, size: 0x0ffe0000 }

export interface Pool {
  readonly first: number
  readonly size: number
}

/** A range that no other container of this store has. */
export interface IdRange {
  readonly hostId: number
  readonly size: number
}

/** The `containers` line of /etc/subuid (podman's convention for --userns=auto), or the default pool. */
export function poolOf(subuid: string): Pool {
  for (const line of subuid.split('\n')) {
    const [name, first, size] = line.split(':')
    if (
      name === 'containers' &&
      first !== undefined &&
      size !== undefined &&
      /^\d+$/.test(first) &&
      /^\d+$/.test(size.trim())
    ) {
      return { first: Number(first), size: Number(size) }
    }
  }
  return DEFAULT_POOL
}

export function readPool(): Pool {
  try {
    return poolOf(readFileSync('/etc/subuid', 'latin1'))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return DEFAULT_POOL
    throw error
  }
}

/**
 * Takes a range for a container: a link in `directory` that only one can make. The search begins at a place that the
 * container's id picks, so that many starts at once rarely meet. Throws USERNS_UNAVAILABLE when the pool is used up.
 */
export function takeRange(directory: string, containerId: string, pool: Pool): IdRange {
  const count = Math.floor(pool.size / RANGE_SIZE)
  const begin = count === 0 ? 0 : Number.parseInt(containerId.slice(0, 8), 16) % count
  for (let offset = 0; offset < count; offset++) {
    const hostId = pool.first + ((begin + offset) % count) * RANGE_SIZE
    if (claimLink(join(directory, String(hostId)), containerId)) return { hostId, size: RANGE_SIZE }
  }
  throw new TscrunError('USERNS_UNAVAILABLE', `user namespace: all ${count} ranges of ids are in use`, {
    hint: 'remove containers (`tscrun rm`), or give `containers` a larger range in /etc/subuid',
  })
}

/** Gives a range back, if it is still this container's. */
export function releaseRange(directory: string, containerId: string, range: IdRange): void {
  releaseLink(join(directory, String(range.hostId)), containerId)
}
