import { readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { TscrunError } from '../model/errors.ts'
import { signalProcess, startTimeOf } from '../syscall/process.ts'
import { readState, statusOf } from './container.ts'

/**
 * `kill`: a signal for the first process, or with `all` for everyone in the container's cgroup. Throws CONTAINER_STATE
 * (`container not running`, the words that callers look for) where there is nobody.
 */
export function killContainer(root: string, id: string, signal: number, all: boolean): void {
  const state = readState(root, id)
  const status = statusOf(root, state)
  if (all && state.cgroup !== undefined) return signalCgroup(state.cgroup, signal)
  if (!('pid' in status) || !signalProcess(status.pid, status.startTime, signal)) {
    throw new TscrunError('CONTAINER_STATE', `container not running: ${id} is ${status.status}`, { subject: id })
  }
}

function signalCgroup(cgroup: string, signal: number): void {
  if (signal === constants.signals.SIGKILL) return writeFileSync(join(cgroup, 'cgroup.kill'), '1')
  for (const word of readFileSync(join(cgroup, 'cgroup.procs'), 'latin1').split('\n')) {
    const pid = Number(word)
    const startTime = pid > 0 ? startTimeOf(pid) : undefined
    if (startTime !== undefined) signalProcess(pid, startTime, signal)
  }
}
