import type { JoinedNamespace } from '../model/launch.ts'
import { AT, CLONE, O, OPEN_TREE_CLONE, RESOLVE } from '../model/linux.ts'
import type { FdSlot, Step } from '../model/step.ts'

/** Where POSIX shared memory lies (shm_overview(7)). */
export const SHARED_MEMORY = '/dev/shm'

const SLOT: FdSlot = 'fd:shm'

/**
 * Who joins the IPC namespace of a container sees its shared memory, too: a clone of its mount. Only who is among the
 * other's mounts can clone one of them, so the stage goes there for a moment. No link is followed there: another
 * container's files are not to be trusted.
 */
export function sharedMemorySteps(joins: readonly JoinedNamespace[] = []): {
  readonly parent: readonly Step[]
  readonly receive: readonly Step[]
  readonly prepared: readonly (readonly [string, FdSlot])[]
} {
  const ipc = joins.find(({ type }) => type === 'ipc')
  if (ipc === undefined) return { parent: [], receive: [], prepared: [] }
  const about = `share ${SHARED_MEMORY} of container ${ipc.name}`
  const [own, theirs, found] = ['fd:own-mounts', 'fd:shm-mounts', 'fd:shm-found'] as const
  const resolve = RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS
  const path = SHARED_MEMORY
  const flags = OPEN_TREE_CLONE | AT.EMPTY_PATH
  const parent: Step[] = [
    { op: 'open', fd: own, dir: 'cwd', path: '/proc/self/ns/mnt', flags: O.RDONLY, mode: 0, resolve: 0, about },
    { op: 'open_container', fd: theirs, state: ipc.state, file: 'ns/mnt', about },
    { op: 'setns', namespace: theirs, type: CLONE.NEWNS, about },
    { op: 'open', fd: found, dir: 'cwd', path, flags: O.PATH | O.DIRECTORY, mode: 0, resolve, about },
    { op: 'open_tree', fd: SLOT, dir: found, path: '', flags, about },
    { op: 'setns', namespace: own, type: CLONE.NEWNS, about },
    { op: 'close', fd: theirs },
    { op: 'close', fd: found },
    { op: 'send_fd', fd: SLOT },
  ]
  return { parent, receive: [{ op: 'recv_fd', fd: SLOT }], prepared: [[path, SLOT]] }
}
