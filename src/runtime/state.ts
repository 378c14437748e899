import { type ContainerState, isAbandoned, readState, type Status, statusOf } from './container.ts'

/** What `state` prints: the fields of runtime.md, and those that callers know from runc. */
export interface StateDocument {
  readonly ociVersion: string
  readonly id: string
  readonly pid: number
  readonly status: Status['status']
  readonly bundle: string
  readonly rootfs: string
  /** RFC 3339. */
  readonly created: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly owner: string
}

/** `state`. Throws NO_SUCH_CONTAINER. */
export function containerState(root: string, id: string): StateDocument {
  const state = readState(root, id)
  return stateDocument(state, settledStatus(root, state))
}

/** As `statusOf`; what a `create` that was killed has left is stopped, since nothing will ever come of it. */
export function settledStatus(root: string, state: ContainerState): Status {
  const status = statusOf(root, state)
  return status.status === 'creating' && isAbandoned(root, state.id) ? { status: 'stopped' } : status
}

export function stateDocument(state: ContainerState, status: Status): StateDocument {
  const { ociVersion, id, bundle, rootfs, createdMs, annotations, owner } = state
  return {
    ociVersion,
    id,
    pid: 'pid' in status ? status.pid : 0,
    status: status.status,
    bundle,
    rootfs,
    created: new Date(createdMs).toISOString(),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    owner,
  }
}
