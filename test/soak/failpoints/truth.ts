import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { cgroupsOf, pidOf, processesWith } from '../../kernel/fixtures/machine.ts'
import { type KilledCommand, OTHER, VICTIM } from './commands.ts'
import { must, type Place } from './place.ts'
import type { Trace } from './trace.ts'

/** What the kernel says, at one moment. */
interface Look {
  /** Ids of containers that have a process. */
  readonly running: readonly string[]
  /** Ids of containers whose lock somebody holds: who makes, starts, attends or removes it. */
  readonly held: readonly string[]
  /** Of monitors, and of whom else there is: who it is, and how often it has run. */
  readonly turns: readonly string[]
}

/** Half a minute and more, where others work, too. */
const MOST_LOOKS = 100

/** Until nobody has anything to do any more by himself: what is said then is said for good. */
export async function settledStatus(
  place: Place,
  command: KilledCommand,
  trace: Trace,
  label: string,
): Promise<string> {
  for (let tries = 0; ; tries++) {
    const before = lookAt(place, trace)
    const status = [await trueStatus(place, trace, label), ...(await askedOf(place, command))].join(', ')
    const after = lookAt(place, trace)
    const isOver = [before, after].every(({ held, running }) => held.length === 0 && running.length === 0)
    // What ends by itself is waited for.
    const stays = command.follow !== true && /^(?:running|paused)/.test(status)
    if (isOver || (stays && isAsleep(before, after))) return status
    expect(tries, `${label}: ${status}, and does not come to rest: ${JSON.stringify(after)}`).toBeLessThan(MOST_LOOKS)
    await sleep(20)
  }
}

/** It is attended, and nobody has had anything to do in between. */
function isAsleep(before: Look, after: Look): boolean {
  const hasAll = ({ running, held }: Look): boolean => running.length > 0 && isSame(running, held)
  return hasAll(before) && hasAll(after) && isSame(before.turns, after.turns)
}

/** Before anybody is asked: waits until nobody is about to start or to end. */
export async function comeToRest(place: Place, { follow }: KilledCommand, trace: Trace): Promise<void> {
  let before = lookAt(place, trace)
  for (let tries = 0; tries < MOST_LOOKS; tries++) {
    if (before.held.length === 0 && before.running.length === 0) return
    await sleep(50)
    const after = lookAt(place, trace)
    if (follow !== true && isAsleep(before, after)) return
    before = after
  }
}

/**
 * As `ps -a` says it: what it calls running has a process in its cgroup, what it does not has none. One whose lock is held may
 * be between the two: it is being started (`ps` calls it running from its record on), or its monitor has still to tell of the
 * end. Where nobody holds it nobody will tell anything else, and a claim may be wrong for three looks, not for a fourth.
 */
async function trueStatus(place: Place, trace: Trace, label: string): Promise<string> {
  let refuted = 0
  for (let tries = 0; ; tries++) {
    const before = lookAt(place, trace)
    const listed = await must(place, ['ps', '-a', '--no-trunc', '--format', '{{.ID}} {{.State}}'])
    const after = lookAt(place, trace)
    const states = listed.split('\n').flatMap((line) => (line === '' ? [] : [line.split(' ') as [string, string]]))
    const claimed = states.flatMap(([id, state]) => (['running', 'paused'].includes(state) ? [id] : [])).toSorted()
    if (isSame(before.running, after.running)) {
      if (isSame(claimed, before.running)) return states.map(([, state]) => state).join('+') || 'none'
      // Who was killed may be on its way out.
      refuted = before.held.length + after.held.length > 0 ? 0 : refuted + 1
      if (tries > MOST_LOOKS || refuted > 3) {
        expect({ claimed }, `${label}: ${listed}`).toEqual({ claimed: before.running })
      }
    }
    await sleep(20)
  }
}

function lookAt({ machine }: Place, { ids, names }: Trace): Look {
  const all = [...new Set([...ids, ...machine.containers().filter((name) => name.length === 64)])].toSorted()
  const groups = all.map((id) => ({ id, cgroups: cgroupsOf(id) }))
  const inside = groups.flatMap(({ cgroups }) =>
    cgroups.flatMap((cgroup) => read(join(cgroup, 'cgroup.procs')).split('\n')),
  )
  const monitors = [VICTIM, OTHER, ...names].map((name) => pidOf(`tscrun: ${name}`))
  const pids = new Set([...inside.filter(Boolean).map(Number), ...monitors, ...processesWith(machine.directory)])
  return {
    running: groups
      .filter(({ cgroups }) => cgroups.some((cgroup) => read(join(cgroup, 'cgroup.events')).includes('populated 1')))
      .map(({ id }) => id),
    held: all.filter((id) => isHeld(join(machine.store, 'containers', id))),
    turns: [...pids].flatMap((pid) => (pid === undefined ? [] : turnsOf(pid))).toSorted(),
  }
}

/** Never the same twice while it has something to do. */
function turnsOf(pid: number): string[] {
  const status = read(`/proc/${pid}/status`)
  const state = /^State:\t(\w)/m.exec(status)?.[1]
  const turns = [...status.matchAll(/^\w*voluntary_ctxt_switches:\t(\d+)/gm)].map(([, count]) => count)
  return state === undefined ? [] : [`${pid} ${state === 'R' ? `runs ${process.hrtime.bigint()}` : turns.join(' ')}`]
}

/** Whether somebody has a lock on it, by flock(1). */
function isHeld(directory: string): boolean {
  const fd = openDirectory(directory)
  if (fd === undefined) return false
  try {
    return spawnSync('flock', ['-s', '-n', '0'], { stdio: [fd, 'ignore', 'inherit'] }).status !== 0
  } finally {
    closeSync(fd)
  }
}

function openDirectory(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Empty where it is gone meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}

async function askedOf(place: Place, { asks }: KilledCommand): Promise<string[]> {
  if (asks === 'volume') {
    const volumes = await must(place, ['volume', 'ls', '-q'])
    return [volumes.includes('named') ? 'a volume' : 'no volume']
  }
  if (asks === 'image') {
    const images = await must(place, ['images', '--format', '{{.Repository}}'])
    return [images.includes('localhost/made') ? 'an image' : 'no image']
  }
  return []
}

export const isSame = (a: readonly string[], b: readonly string[]): boolean => a.join('\n') === b.join('\n')
