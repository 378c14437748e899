import { constants } from 'node:os'
import { removeCgroup } from '../cgroups/remove.ts'
import { TscrunError } from '../model/errors.ts'
import { pause } from '../syscall/pause.ts'
import { signalProcess } from '../syscall/process.ts'
import { type ContainerState, readState, removeContainerDirectory, statusOf, withLock } from './container.ts'

/** How long a killed process may take to end, in milliseconds: it may be in an uninterruptible call. */
const PATIENCE_MS = 10_000

/**
 * `delete`: removes what `create` made. A container that still runs is refused, unless `force` kills it first. With
 * `force` a container that does not exist is no error.
 */
export async function deleteContainer(root: string, id: string, force: boolean): Promise<void> {
  try {
    await withLock(root, id, async (paths) => {
      const state = readState(root, id)
      await endFirstProcess(root, state, force)
      if (state.cgroup !== undefined) await removeCgroup(state.cgroup)
      removeContainerDirectory(paths)
    })
  } catch (error) {
    if (!(force && error instanceof TscrunError && error.code === 'NO_SUCH_CONTAINER')) throw error
  }
}

async function endFirstProcess(root: string, state: ContainerState, force: boolean): Promise<void> {
  const { status } = statusOf(root, state)
  if ((status === 'running' || status === 'paused') && !force) {
    throw new TscrunError('CONTAINER_STATE', `cannot delete container ${state.id} that is not stopped: ${status}`, {
      subject: state.id,
      hint: '`kill` it first, or use --force',
    })
  }
  for (let waited = 0; waited < PATIENCE_MS; waited += 5) {
    const now = statusOf(root, state)
    if (!('pid' in now)) return
    signalProcess(now.pid, now.startTime, constants.signals.SIGKILL)
    await pause(5)
  }
  throw new TscrunError('CONTAINER_STATE', `delete ${state.id}: its first process does not end after SIGKILL`, {
    subject: state.id,
    hint: 'it hangs in a call of the kernel: look at /proc/PID/stack, then try again',
  })
}
