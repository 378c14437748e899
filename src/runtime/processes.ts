import { readdirSync, readlinkSync } from 'node:fs'
import { pidsInCgroup } from '../cgroups/processes.ts'
import { errnoOf } from '../model/errors.ts'
import { type ContainerState, type Status } from './container.ts'

/**
 * Pids of everyone in a container as this process numbers them: those of its cgroup and of the cgroups in there. Without
 * a cgroup of its own, those of its pid namespace; where it shares that too, its first process alone.
 */
export function containerPids(state: ContainerState, status: Status): number[] {
  return pidsOf(state.cgroup, 'pid' in status ? status.pid : undefined)
}

/** The same of a container that is known by its cgroup and its first process, where it has them. */
export function pidsOf(cgroup: string | undefined, first: number | undefined): number[] {
  if (cgroup !== undefined) return pidsInCgroup(cgroup)
  if (first === undefined) return []
  const namespace = pidNamespace(String(first))
  if (namespace === undefined) return []
  if (namespace === pidNamespace('self')) return [first]
  const all = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))
  return all.filter((pid) => pidNamespace(pid) === namespace).map(Number)
}

function pidNamespace(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch (error) {
    const errno = errnoOf(error)
    // It has ended, or is somebody's who is out of our reach.
    if (errno === 'ENOENT' || errno === 'ESRCH' || errno === 'EACCES' || errno === 'EPERM') return undefined
    throw error
  }
}
