import type { IdMapping } from '../model/config.ts'

/**
 * Whose files are whose: a container with a user namespace calls the host's user 1879048193 its user 1. Without mappings
 * both call everybody the same.
 */
export interface Owners {
  readonly uids: readonly IdMapping[]
  readonly gids: readonly IdMapping[]
}

export const SAME_OWNERS: Owners = { uids: [], gids: [] }

/** What the kernel shows in place of an id that a namespace has no name for (/proc/sys/fs/overflowuid). */
const NOBODY = 65534

/** What the container calls an id of the host. */
export function insideId(mappings: readonly IdMapping[], id: number): number {
  if (mappings.length === 0) return id
  const mapping = mappings.find(({ hostID, size }) => id >= hostID && id < hostID + size)
  return mapping === undefined ? NOBODY : mapping.containerID + (id - mapping.hostID)
}

/** What the host calls an id of the container; undefined where the container has no such id. */
export function outsideId(mappings: readonly IdMapping[], id: number): number | undefined {
  if (mappings.length === 0) return id
  const mapping = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size)
  return mapping === undefined ? undefined : mapping.hostID + (id - mapping.containerID)
}
