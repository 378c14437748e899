import { readlinkSync } from 'node:fs'
import type { IdMapping } from '../../model/config.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { readIfThere } from '../../runtime/host.ts'

/** The ids of a user namespace that a container joins. */
export interface JoinedMappings {
  readonly uid: readonly IdMapping[]
  readonly gid: readonly IdMapping[]
}

/**
 * The mappings of `/proc/PID/ns/user`. Undefined where that is the host's own user namespace, which cannot be joined
 * again (setns(2), EINVAL). Throws USAGE for another path, since only a process in it tells its mappings, and for one in
 * which setgroups(2) is denied (user_namespaces(7)): the container would keep the groups of its caller.
 */
export function joinedMappings(path: string): JoinedMappings | undefined {
  const directory = /^(\/proc\/(?:[0-9]+|self))\/ns\/user$/.exec(path)?.[1]
  if (directory === undefined) {
    throw new TscrunError('USAGE', `--userns ns:${path}: only a process in it tells its mappings`, {
      subject: path,
      hint: 'give /proc/PID/ns/user of a process in that namespace',
    })
  }
  try {
    if (readlinkSync(path) === readlinkSync('/proc/self/ns/user')) return undefined
  } catch (error) {
    throw new TscrunError('USAGE', `--userns ns:${path}: ${errnoOf(error) ?? 'cannot be read'}`, {
      subject: path,
      hint: 'is that process still running?',
      cause: error,
    })
  }
  if (readIfThere(`${directory}/setgroups`)?.trim() === 'deny') {
    throw new TscrunError('USAGE', `--userns ns:${path}: setgroups(2) is denied in it`, {
      subject: path,
      hint: 'have root or newgidmap write its gid_map, e.g. unshare --map-auto instead of --map-root-user',
    })
  }
  return { uid: readMap(`${directory}/uid_map`), gid: readMap(`${directory}/gid_map`) }
}

/** The first number that is no uid or no gid there, from which on there are none. */
export function endOf({ uid, gid }: JoinedMappings): number {
  return Math.min(...[uid, gid].map((map) => Math.max(0, ...map.map(({ containerID, size }) => containerID + size))))
}

/** user_namespaces(7): first id inside, first id outside, how many. */
function readMap(path: string): IdMapping[] {
  const lines = (readIfThere(path) ?? '').split('\n').filter((line) => line.trim() !== '')
  return lines.map((line) => {
    const [containerID = 0, hostID = 0, size = 0] = line.trim().split(/\s+/).map(Number)
    return { containerID, hostID, size }
  })
}
