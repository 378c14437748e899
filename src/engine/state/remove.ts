import { join } from 'node:path'
import { removeCgroup } from '../../cgroups/remove.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { pause } from '../../syscall/pause.ts'
import { deleteContainer, lockDirectory } from './containers.ts'
import { findContainer } from './containers-view.ts'
import { stopContainer } from '../live/live.ts'
import { containerEvent, writeEvents } from '../events/log.ts'
import type { EnginePaths } from '../paths.ts'

/** A killed container's command still has to notice and to tidy up. */
const PATIENCE_MS = 10_000

export interface RemoveOptions {
  /** Also one that runs: it is killed. */
  readonly force: boolean
  /** With its anonymous volumes. */
  readonly volumes?: boolean
  /** How long one that runs may take to stop before it is killed; at once without it. */
  readonly timeoutMs?: number
}

/** Removes a container. Resolves to its id. */
export async function removeContainer(
  paths: EnginePaths,
  idOrName: string,
  { force, volumes = false, timeoutMs }: RemoveOptions,
): Promise<string> {
  const { record, status } = findContainer(paths, idOrName)
  const rests = status === 'stopped' || status === 'created'
  if (!rests && !force) {
    throw new TscrunError('CONTAINER_STATE', `remove ${idOrName}: it is ${status}`, {
      subject: idOrName,
      hint: 'stop it first, or use rm --force',
    })
  }
  // Its monitor would start it again.
  if (!rests) await stopContainer(paths, record.id, timeoutMs === undefined ? { signal: 'SIGKILL' } : { timeoutMs })
  // Without an exit it ended with its monitor, and perhaps not all of it.
  if (record.cgroup !== undefined && record.exit === undefined) await removeCgroup(record.cgroup)
  const directory = join(paths.containers, record.id)
  for (let waited = 0; waited < PATIENCE_MS; waited += 10) {
    const lockFd = lockUnlessGone(directory)
    if (lockFd === 'gone') return record.id
    if (lockFd !== undefined) {
      deleteContainer(paths, { id: record.id, directory, lockFd }, record, volumes || record.remove)
      writeEvents(paths, [containerEvent(record, 'destroy')])
      return record.id
    }
    await pause(10)
  }
  throw new TscrunError('CONTAINER_STATE', `remove ${idOrName}: another command still holds it`, {
    subject: idOrName,
    hint: 'end that command, then try again',
  })
}

function lockUnlessGone(directory: string): number | undefined | 'gone' {
  try {
    return lockDirectory(directory)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'gone'
    throw error
  }
}
