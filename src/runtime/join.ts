import { statSync } from 'node:fs'
import type { NamespaceType } from '../model/config.ts'

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
