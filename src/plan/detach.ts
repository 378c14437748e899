import type { HealthAction } from '../model/health.ts'
import { type EventLaunch, type HealthLaunch, type LaunchSpec, LOG_FILE, type StopBy } from '../model/launch.ts'
import { O } from '../model/linux.ts'
import type { FdSlot, Step } from '../model/step.ts'

export interface DetachSteps {
  /** Stage, at its very beginning. */
  readonly begin: readonly Step[]
  /** Teardown, when the cgroup has gone. */
  readonly end: readonly Step[]
  readonly inherited: readonly FdSlot[]
}

/** Numbers of native/log.h and native/plan.h. */
const LOG_FORMATS = { none: 0, 'k8s-file': 1, 'json-file': 2, passthrough: 0 } as const
export const RESTART_POLICIES = { no: 0, 'on-failure': 1, always: 2, 'unless-stopped': 2 } as const

/** What is told of the container's life; the file is made when there is something to tell. */
export function eventSteps({ id, events }: LaunchSpec): Step[] {
  if (events === undefined) return []
  const { path, name, attributes, creates, removes } = events
  const volumes = events.volumes.map((volume) => `${volume.name}\0${volume.attributes}\0`).join('')
  return [{ op: 'events', path, id, name, attributes, flags: (creates ? 1 : 0) | (removes ? 2 : 0), volumes }]
}

/** What makes the stage a monitor on its own of one more command: its end is told by `exec_die`. */
export function watchedExecSteps({ monitors, events }: WatchedExec): Step[] {
  const { path, id, name, attributes } = events
  return [...leaveSteps(monitors), { op: 'events', path, id, name, attributes, flags: EXEC, volumes: '' }]
}

export interface WatchedExec {
  /** Absolute directory of the cgroup that the monitor itself goes to. */
  readonly monitors?: string
  readonly events: Pick<EventLaunch, 'path' | 'name' | 'attributes'> & { readonly id: string }
}

/** EVENTS_EXEC of native/plan.h. */
const EXEC = 4

function leaveSteps(monitors: string | undefined): Step[] {
  return [
    ...(monitors === undefined ? [] : [openDirectory('fd:monitors', monitors)]),
    {
      op: 'detach',
      cgroup: monitors === undefined ? 'none' : 'fd:monitors',
      about: 'leave the session and the cgroup of the caller',
    },
  ]
}

/** What makes the stage a monitor on its own: a session, a log, a socket for clients, a record of how it goes on. */
export function detachSteps({ detach, directory, health, stopBy, timeLimitMs: limit }: LaunchSpec): DetachSteps {
  const checks = health === undefined ? [] : healthSteps(health, stopBy)
  if (detach === undefined) return { begin: [...limitSteps(limit), ...checks], end: [], inherited: [] }
  const { runDirectory, monitors, log, restart, timeLimitMs, remove } = detach
  const begin: Step[] = [
    ...leaveSteps(monitors),
    openDirectory('fd:run-directory', runDirectory),
    { op: 'status', runDir: 'fd:run-directory', dir: 'fd:directory' },
    {
      op: 'log',
      dir: 'fd:directory',
      name: LOG_FILE,
      format: LOG_FORMATS[log.driver],
      maxSize: log.maxSize,
      maxFiles: log.maxFiles,
      about: `open the log ${directory}/${LOG_FILE}`,
    },
    { op: 'listen', listener: 'fd:listener' },
    { op: 'restart', policy: RESTART_POLICIES[restart.name], most: restart.name === 'on-failure' ? restart.most : 0 },
    ...limitSteps(timeLimitMs),
    ...checks,
  ]
  const end: Step[] = [{ op: 'last' }]
  if (remove !== undefined) {
    for (const [index, { directory: path, name, text }] of remove.links.entries()) {
      const dir: FdSlot = `fd:links${index}`
      end.push(openDirectory(dir, path), { op: 'release_link', dir, path: name, text })
    }
    if (remove.range !== undefined) end.push(...rangeSteps(remove.range))
    end.push(...remove.files.map((path): Step => ({ op: 'unlink', dir: 'cwd', path })))
    for (const volume of remove.volumes) {
      const { parent, name } = placeOf(volume)
      end.push(openDirectory('fd:volumes', parent), {
        op: 'remove_volume',
        dir: 'fd:volumes',
        path: name,
        user: remove.user,
      })
    }
    for (const [slot, path] of [
      ['fd:runs', runDirectory],
      ['fd:containers', directory],
    ] as const) {
      const { parent, name } = placeOf(path)
      end.push(openDirectory(slot, parent), { op: 'remove_tree', dir: slot, path: name })
    }
  }
  return { begin, end, inherited: ['fd:listener'] }
}

function limitSteps(ms: number | undefined): Step[] {
  return ms === undefined ? [] : [{ op: 'time_limit', ms }]
}

function placeOf(path: string): { readonly parent: string; readonly name: string } {
  const slash = path.lastIndexOf('/')
  return { parent: path.slice(0, slash), name: path.slice(slash + 1) }
}

const ACTIONS = { none: 0, kill: 1, restart: 2, stop: 3 } as const satisfies Record<HealthAction, number>

function healthSteps({ onFailure, directory, args, ...times }: HealthLaunch, stopBy: StopBy | undefined): Step[] {
  const { intervalMs, timeoutMs, retries, startPeriodMs, startIntervalMs, plan } = times
  return [
    ...(stopBy === undefined ? [] : [{ op: 'stop_by', signal: stopBy.signal, ms: stopBy.afterMs } as const]),
    openDirectory('fd:health', directory),
    {
      op: 'health',
      dir: 'fd:health',
      intervalMs,
      timeoutMs,
      retries,
      startPeriodMs,
      startIntervalMs,
      action: ACTIONS[onFailure],
      plan,
      about: `check its health: ${args.join(' ')}`,
    },
  ]
}

function openDirectory(fd: FdSlot, path: string): Step {
  return { op: 'open', fd, dir: 'cwd', path, flags: O.PATH | O.DIRECTORY, mode: 0, resolve: 0 }
}

/** A range that others share stays theirs. */
function rangeSteps({ path, entry }: { readonly path: string; readonly entry: string }): Step[] {
  const because = 'the range may be shared, or its own'
  return [
    { op: 'unlink', dir: 'cwd', path, tolerate: ['EISDIR'], because },
    { op: 'unlink', dir: 'cwd', path: `${path}/${entry}`, tolerate: ['ENOTDIR'], because },
    { op: 'rmdir', dir: 'cwd', path, tolerate: ['ENOTEMPTY', 'ENOENT', 'ENOTDIR'], because },
  ]
}
