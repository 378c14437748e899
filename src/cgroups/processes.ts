import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../model/errors.ts'

/**
 * Pids of everyone in a cgroup and in those below it, sorted, as this process's pid namespace numbers them; empty where
 * there is no such cgroup. Whoever is outside of that namespace has no number here and is left out.
 */
export function pidsInCgroup(directory: string): number[] {
  const found = new Set<number>()
  collect(directory, found)
  return [...found].sort((a, b) => a - b)
}

function collect(directory: string, found: Set<number>): void {
  try {
    for (const line of readFileSync(join(directory, 'cgroup.procs'), 'latin1').split('\n')) {
      if (Number(line) > 0) found.add(Number(line))
    }
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENODEV') return
    // A threaded cgroup: its processes are listed by the domain above it (cgroup-v2.rst, Threads).
    if (errno !== 'EOPNOTSUPP' && errno !== 'ENOTSUP') throw error
  }
  for (const name of subdirectories(directory)) collect(join(directory, name), found)
}

function subdirectories(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}
