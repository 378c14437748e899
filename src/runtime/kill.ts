import { writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { signalProcess, startTimeOf } from '../syscall/process.ts'
import { type ContainerState, readState, type Status, statusOf } from './container.ts'
import { containerPids } from './processes.ts'

/**
 * `kill`: a signal for the first process, or with `all` for everyone in the container. Throws CONTAINER_STATE
 * (`container not running`, the words that callers look for) where there is nobody; with `all` that is no error, since
 * callers ask for it after the end of a first process, which may have left others behind.
 */
export function killContainer(root: string, id: string, signal: number, all: boolean): void {
  const state = readState(root, id)
  const status = statusOf(root, state)
  if (all) return signalAll(state, status, signal)
  if (!('pid' in status) || !signalProcess(status.pid, status.startTime, signal)) {
    throw new TscrunError('CONTAINER_STATE', `container not running: ${id} is ${status.status}`, { subject: id })
  }
}

function signalAll(state: ContainerState, status: Status, signal: number): void {
  if (signal === constants.signals.SIGKILL && state.cgroup !== undefined) return killCgroup(state.cgroup)
  for (const pid of containerPids(state, status)) {
    const startTime = startTimeOf(pid)
    if (startTime !== undefined) signalProcess(pid, startTime, signal)
  }
}

/** At once, so that nobody can fork meanwhile (Linux 5.14). */
function killCgroup(directory: string): void {
  try {
    writeFileSync(join(directory, 'cgroup.kill'), '1', { flag: 'r+' })
  } catch (error) {
    // It is gone, and everyone with it.
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENODEV') throw error
  }
}
