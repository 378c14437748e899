import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { removeCgroup } from '../cgroups/remove.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { pause } from '../syscall/pause.ts'
import { signalProcess } from '../syscall/process.ts'
import {
  type ContainerPaths,
  type ContainerState,
  readState,
  removeContainerDirectory,
  statusOf,
  withLock,
} from './container.ts'
import { removeHostMount } from './host-mounts.ts'
import { removeResctrlGroup } from './resctrl.ts'

/** How long a killed process may take to end, in milliseconds: it may be in an uninterruptible call. */
const PATIENCE_MS = 10_000

/**
 * `delete`: removes what `create` made. A container that still runs is refused, unless `force` kills it first. With
 * `force` a container that does not exist is no error.
 *
 * @param warn told of each poststop hook that failed
 */
export async function deleteContainer(
  root: string,
  id: string,
  force: boolean,
  warn: (line: string) => void = () => undefined,
): Promise<void> {
  try {
    await withLock(root, id, (paths) => remove(root, id, { paths, force, warn }))
  } catch (error) {
    if (!(force && isMissing(error))) throw error
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof TscrunError && error.code === 'NO_SUCH_CONTAINER'
}

interface Removal {
  readonly paths: ContainerPaths
  readonly force: boolean
  readonly warn: (line: string) => void
}

async function remove(root: string, id: string, { paths, force, warn }: Removal): Promise<void> {
  let state: ContainerState
  try {
    state = readState(root, id)
  } catch (error) {
    // Nobody holds the lock: its `create` was killed before it had made anything else.
    if (isMissing(error)) removeContainerDirectory(paths)
    throw error
  }
  await endFirstProcess(root, state, force)
  if (state.cgroup !== undefined) await removeCgroup(state.cgroup)
  if (state.unit !== undefined) await forgetUnit(state.unit)
  if (state.hostMount !== undefined) removeHostMount(state.hostMount)
  if (state.resctrl !== undefined) removeResctrlGroup(state.resctrl)
  const text = configText(paths)
  removeContainerDirectory(paths)
  if (!text.includes('"poststop"')) return
  const { runHooks } = await import('./hooks.ts')
  for (const line of await runHooks('poststop', text, { ...state, status: 'stopped', pid: 0 })) warn(line)
}

/** A `create` that was killed may have left none. */
function configText(paths: ContainerPaths): string {
  try {
    return readFileSync(paths.config, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return ''
    throw error
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
  for (let waited = 0; waited < PATIENCE_MS; waited += 2) {
    const now = statusOf(root, state)
    if (!('pid' in now)) return
    signalProcess(now.pid, now.startTime, constants.signals.SIGKILL)
    await pause(2)
  }
  throw new TscrunError('CONTAINER_STATE', `delete ${state.id}: its first process does not end after SIGKILL`, {
    subject: state.id,
    hint: 'it hangs in a call of the kernel: look at /proc/PID/stack, then try again',
  })
}

/** A scope without processes ends by itself; waited for, so that its name can be used again at once. */
async function forgetUnit(unit: string): Promise<void> {
  const { stopScope } = await import('./scope.ts')
  await stopScope(unit)
}
