import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CgroupStats, readStats } from '../cgroups/stats.ts'
import { errnoOf, TscrunError } from '../model/errors.ts'
import { pause } from '../syscall/pause.ts'
import { readState, statusOf } from './container.ts'
import { cgroupOf } from './pause.ts'

/** A line of `events`, in the shape of runc's. */
export type RuntimeEvent =
  | { readonly type: 'stats'; readonly id: string; readonly data: CgroupStats }
  | { readonly type: 'oom'; readonly id: string }

/** `events --stats`. Throws CONTAINER_STATE for a container that has stopped. */
export function containerStats(root: string, id: string): RuntimeEvent {
  return { type: 'stats', id, data: readStats(livingCgroup(root, id)) }
}

export interface EventOptions {
  /** Between two `stats`. */
  readonly intervalMs: number
  readonly onEvent: (event: RuntimeEvent) => void
  readonly signal: AbortSignal
}

/** How often memory.events is looked at: it tells how many were killed, so none is missed in between. */
const LOOK_MS = 200

/** `events`: statistics in intervals, and each kill for want of memory, until the container has ended. */
export async function followEvents(root: string, id: string, options: EventOptions): Promise<void> {
  const cgroup = livingCgroup(root, id)
  const state = readState(root, id)
  let kills = oomKills(cgroup)
  let nextMs = Date.now()
  while (!options.signal.aborted) {
    const now = oomKills(cgroup)
    // A cgroup that is gone has no count.
    for (; now !== undefined && kills !== undefined && kills < now; kills++) options.onEvent({ type: 'oom', id })
    if (!('pid' in statusOf(root, state))) return
    if (Date.now() >= nextMs) {
      options.onEvent({ type: 'stats', id, data: readStats(cgroup) })
      nextMs += options.intervalMs
    }
    await pause(Math.max(1, Math.min(LOOK_MS, nextMs - Date.now())))
  }
}

function livingCgroup(root: string, id: string): string {
  const state = readState(root, id)
  const status = statusOf(root, state)
  if (!('pid' in status)) {
    throw new TscrunError('CONTAINER_STATE', `container with id ${id} is not running: ${status.status}`, {
      subject: id,
    })
  }
  return cgroupOf(state)
}

/** Undefined without the memory controller, or when the cgroup is gone. */
function oomKills(cgroup: string): number | undefined {
  try {
    const text = readFileSync(join(cgroup, 'memory.events'), 'latin1')
    return Number(/^oom_kill ([0-9]+)$/m.exec(text)?.[1] ?? 0)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') return undefined
    throw error
  }
}
