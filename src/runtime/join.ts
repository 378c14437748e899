import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { NamespaceType } from '../model/config.ts'
import { TscrunError } from '../model/errors.ts'
import type { Plan } from '../model/step.ts'
import { compileExec, type ExecSpec } from '../plan/compile-exec.ts'
import { hostFacts } from './host.ts'

const NAMESPACE_FILES = {
  mnt: 'mount',
  cgroup: 'cgroup',
  uts: 'uts',
  ipc: 'ipc',
  user: 'user',
  pid: 'pid',
  net: 'network',
  time: 'time',
} as const satisfies Record<string, NamespaceType>

/** Those in which a process is not with us: to join one's own user namespace is an error (setns(2)). */
export function namespacesToJoin(pid: number): Set<NamespaceType> {
  const inode = (owner: string, name: string): number | undefined =>
    statSync(`/proc/${owner}/ns/${name}`, { throwIfNoEntry: false })?.ino
  const others = Object.entries(NAMESPACE_FILES).filter(([name]) => inode(String(pid), name) !== inode('self', name))
  return new Set(others.map(([, type]) => type))
}

/**
 * Runs a plan of one more process in a container's cgroup. Where that has been divided ("no internal processes",
 * cgroups(7)) it runs in the one of the container's first process.
 */
export async function inCgroupOf<T>(pid: number, spec: ExecSpec, run: (plan: Plan) => Promise<T>): Promise<T> {
  try {
    return await run(compileExec(spec))
  } catch (error) {
    if (!isFullOfCgroups(error)) throw error
    return run(compileExec({ ...spec, cgroup: currentCgroup(pid) }))
  }
}

/** clone3(2): EBUSY for one that hands controllers down, EOPNOTSUPP for one in a threaded subtree. */
function isFullOfCgroups(error: unknown): boolean {
  if (!(error instanceof TscrunError) || error.syscall !== 'clone3') return false
  return error.errno === 'EBUSY' || error.errno === 'EOPNOTSUPP'
}

/** Where the container's first process is now. Below our cgroup namespace's root, which is that of the mount. */
function currentCgroup(pid: number): string {
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? '/'
  return join(hostFacts().cgroup.mountpoint ?? '/sys/fs/cgroup', path)
}
