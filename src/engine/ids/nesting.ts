import { readlinkSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'

/** Numbers of the first namespaces, the same on every boot (linux/proc_ns.h). */
const FIRST = { user: 'user:[4026531837]', pid: 'pid:[4026531836]', cgroup: 'cgroup:[4026531835]' } as const

const known = new Map<keyof typeof FIRST, boolean>()

/**
 * Whether this process is in the machine's first namespace of a kind: outside of every container. Looked at once: a process
 * of several threads cannot change its user namespace, and its pid namespace is fixed (setns(2)).
 */
export function isInFirst(kind: keyof typeof FIRST): boolean {
  let found = known.get(kind)
  if (found === undefined) known.set(kind, (found = look(kind)))
  return found
}

function look(kind: keyof typeof FIRST): boolean {
  try {
    return readlinkSync(`/proc/self/ns/${kind}`) === FIRST[kind]
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}
