import { setFrozen } from '../cgroups/freeze.ts'
import { TscrunError } from '../model/errors.ts'
import { type ContainerState, readState, type Status, statusOf, withLock } from './container.ts'

/** `pause`: stops every process of a container. Resolves when they stand still. Throws CONTAINER_STATE. */
export async function pauseContainer(root: string, id: string): Promise<void> {
  await freeze(root, id, { frozen: true, from: ['running', 'created'] })
}

/** `resume`. Throws CONTAINER_STATE for a container that is not paused. */
export async function resumeContainer(root: string, id: string): Promise<void> {
  await freeze(root, id, { frozen: false, from: ['paused'] })
}

interface Change {
  readonly frozen: boolean
  readonly from: readonly Status['status'][]
}

async function freeze(root: string, id: string, { frozen, from }: Change): Promise<void> {
  await withLock(root, id, async () => {
    const state = readState(root, id)
    const { status } = statusOf(root, state)
    if (!from.includes(status)) {
      throw new TscrunError('CONTAINER_STATE', `container not ${from[0]}: ${id} is ${status}`, { subject: id })
    }
    await setFrozen(cgroupOf(state), frozen)
  })
}

/** The container's cgroup. Throws HOST_UNSUPPORTED for a container that was made without. */
export function cgroupOf(state: ContainerState): string {
  if (state.cgroup !== undefined) return state.cgroup
  throw new TscrunError('HOST_UNSUPPORTED', `container ${state.id}: it has no cgroup of its own`, {
    subject: state.id,
    hint: 'it was made with --cgroup-manager disabled, or where no cgroup v2 is writable',
  })
}
