import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { HOST_LACKS } from '../../src/engine/tell-once.ts'
import { errnoOf } from '../../src/model/errors.ts'

/** What a test may leave behind on the machine, by kind; each a line for a person. */
type Traces = ReadonlyMap<string, ReadonlySet<string>>

/** vitest's global setup: remembers the machine, and fails the run if something new is there at its end. */
export default function watchForLeaks(): () => Promise<void> {
  const before = traces()
  return async () => {
    let left = leaks(before, traces())
    // The last processes of a container may still be on their way out. Of what runs beside this, a cgroup of somebody who was
    // killed is empty for ten seconds, then any command removes it.
    for (let round = 0; left.length > 0 && round < 150; round++) {
      await setTimeout(100)
      const now = leaks(before, traces())
      left = left.filter((leak) => now.includes(leak))
    }
    if (left.length === 0) return
    // vitest reports an error at its close but ends with 0.
    process.exitCode = 1
    throw new Error(`the tests left behind:\n  ${left.join('\n  ')}`)
  }
}

/** What is in `after` and not in `before`, one line each. */
export function leaks(before: Traces, after: Traces): string[] {
  return [...after].flatMap(([kind, found]) =>
    [...found].filter((trace) => before.get(kind)?.has(trace) !== true).map((trace) => `${kind} ${trace}`),
  )
}

function traces(): Traces {
  return new Map([
    ['mount', mounts()],
    ['cgroup', cgroups()],
    ['process', processes()],
    // podman keeps its locks there for good.
    ['shared memory', new Set([...entries('/dev/shm')].filter((path) => !path.startsWith('/dev/shm/libpod')))],
    ['network namespace', entries('/run/netns')],
    ['network', network()],
    ['runtime state', new Set([...entries('/run/tscrun'), ...entries('/run/tscrun-runtime')].filter(isState))],
  ])
}

/** All but what has been told once and stays until the machine starts anew (tell-once.ts). */
function isState(path: string): boolean {
  return !HOST_LACKS.some((name) => path.endsWith(`/${name}`))
}

/** Links of ours, and what a first container with a network switches on: nothing of it may be this machine's. */
function network(): Set<string> {
  const links = readFileSync('/proc/net/dev', 'utf8').match(/^ *(?:tscrun0|ts-|tv)[^:]*/gm) ?? []
  const forwarding = ['ipv4/ip_forward', 'ipv6/conf/all/forwarding'].map(
    (name) => `${name} ${contentOf(`/proc/sys/net/${name}`)?.trim()}`,
  )
  return new Set([...links.map((link) => link.trim()), ...forwarding])
}

/** Type, source and place; the ids at the start of a line say nothing (proc_pid_mountinfo(5)). */
function mounts(): Set<string> {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').trimEnd().split('\n')
  return new Set(lines.map((line) => line.split(' ').slice(3).join(' ')))
}

function cgroups(): Set<string> {
  const found = new Set<string>()
  for (const root of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']) {
    if (!existsSync(join(root, 'cgroup.controllers'))) continue
    for (const path of directoriesBelow(root)) {
      // The common parents of all containers stay, and that of all monitors.
      if (!path.includes('/tscrun') || path.includes('/tscrun-test-')) continue
      if (!/\/tscrun(-runtime|\/monitors)?$/.test(path) && !isOthers(path)) found.add(path)
    }
  }
  return found
}

/** Somebody lives in there, and nobody whom this process sees: the containers of what runs beside it (scripts/apart.sh). */
function isOthers(cgroup: string): boolean {
  const pids = [cgroup, ...directoriesBelow(cgroup)].flatMap((path) => wordsOf(join(path, 'cgroup.procs')))
  return pids.length > 0 && pids.every((pid) => pid === '0')
}

function directoriesBelow(dir: string): string[] {
  return entriesOf(dir)
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => [join(dir, name), ...directoriesBelow(join(dir, name))])
}

/** Those of the cgroup that scripts/test.sh made for this run, our own kind and the ones above it aside. */
function processes(): Set<string> {
  const cgroup = process.env['TSCRUN_TEST_CGROUP']
  if (cgroup === undefined || cgroup === '') return new Set()
  const pids = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number)
  const parents = new Map(pids.map((pid) => [pid, parentOf(pid)]))
  const above = new Set<number>()
  for (let pid = process.pid; pid > 0 && !above.has(pid); pid = parentOf(pid) ?? 0) above.add(pid)
  const known = new Set([...above, ...workers(pids, parents)])
  return new Set(
    pids
      .filter((pid) => !known.has(pid) && parents.get(pid) !== undefined)
      .map((pid) => `${pid} (child of ${parents.get(pid)}): ${commandOf(pid)}`),
  )
}

/** vitest's worker processes are this process's own children and end after this check. */
function workers(pids: readonly number[], parents: ReadonlyMap<number, number | undefined>): number[] {
  return pids.filter((pid) => parents.get(pid) === process.pid && commandOf(pid).includes('vitest'))
}

/** undefined for a process that is gone, or dead and waiting for its parent. */
function parentOf(pid: number): number | undefined {
  const status = contentOf(`/proc/${pid}/stat`)
  const fields = status?.slice(status.lastIndexOf(')') + 2).split(' ')
  return fields === undefined || fields[0] === 'Z' ? undefined : Number(fields[1])
}

function commandOf(pid: number): string {
  return (contentOf(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ').trim()
}

function entries(dir: string): Set<string> {
  return new Set(entriesOf(dir).map(({ name }) => join(dir, name)))
}

function entriesOf(dir: string): { name: string; isDirectory(): boolean }[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    return []
  }
}

function wordsOf(path: string): string[] {
  return (
    contentOf(path)
      ?.trim()
      .split('\n')
      .filter((word) => word !== '') ?? []
  )
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    // ENODEV: a file of a cgroup that is removed just now.
    if (!['ENOENT', 'ESRCH', 'ENODEV'].includes(errnoOf(error) ?? '')) throw error
    return undefined
  }
}
