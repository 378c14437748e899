import { existsSync, readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { type CgroupStats, readStats } from '../../cgroups/stats.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { realTimers } from '../../syscall/pause.ts'
import { startTimeOf } from '../../syscall/process.ts'
import { type ContainerView, findContainer, viewContainers } from '../state/containers-view.ts'
import type { EnginePaths } from '../paths.ts'

/** What a container uses. What no controller of this host counts for it is absent, and everything of one that is stopped. */
export interface ContainerStats {
  readonly id: string
  readonly name: string
  /** Per cent of one processor since the sample before; two busy ones are 200. */
  readonly cpuPercent?: number
  /** Nanoseconds of processor time since its start. */
  readonly cpuNs?: number
  /** Bytes, without what the kernel could drop at once of files; the limit of the machine where it has none. */
  readonly memory?: { readonly usage: number; readonly limit: number }
  /** Bytes through its own network interfaces but lo; absent where it uses the host's. */
  readonly network?: { readonly received: number; readonly sent: number }
  /** Bytes from and to block devices. */
  readonly blockIo?: { readonly read: number; readonly written: number }
  /** Processes and threads. */
  readonly pids?: number
}

export interface StatsOptions {
  /** Also those that do not run; only without names. */
  readonly all?: boolean
  /** Between two samples; 1 s by default. */
  readonly intervalMs?: number
  readonly signal?: AbortSignal
}

/** Processor time is measured over so long before the first sample is told. */
const FIRST_MS = 500

interface Sample {
  readonly stats: ContainerStats
  readonly atMs: number
}

/**
 * What containers use, again and again: those that are named, or all that run at that moment. Throws NO_SUCH_CONTAINER
 * for a name that is none at the beginning; one that goes later is left out.
 */
export async function* containerStats(
  paths: EnginePaths,
  names: readonly string[],
  { all = false, intervalMs = 1000, signal }: StatsOptions,
): AsyncGenerator<readonly ContainerStats[]> {
  const ids = names.map((name) => findContainer(paths, name).record.id)
  const views = (): ContainerView[] =>
    ids.length > 0
      ? ids.flatMap((id) => findAgain(paths, id) ?? [])
      : viewContainers(paths).filter((view) => all || view.live !== undefined)
  let before = takeSamples(views())
  for (let wait = Math.min(FIRST_MS, intervalMs); ; wait = intervalMs) {
    if (!(await waited(wait, signal))) return
    const now = takeSamples(views())
    yield [...now].map(([id, sample]) => withShare(sample, before.get(id)))
    before = now
  }
}

/** Whether the time has passed without an abort. */
function waited(ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve(false)
    const abort = (): void => {
      realTimers.clearTimeout(timer)
      resolve(false)
    }
    const timer = realTimers.setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve(true)
    }, ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}

function findAgain(paths: EnginePaths, id: string): ContainerView | undefined {
  try {
    return findContainer(paths, id)
  } catch (error) {
    if (error instanceof TscrunError && error.code === 'NO_SUCH_CONTAINER') return undefined
    throw error
  }
}

function takeSamples(views: readonly ContainerView[]): Map<string, Sample> {
  return new Map(views.map((view) => [view.record.id, { stats: sampleOf(view), atMs: realTimers.now() }]))
}

/** Another life begins at nothing. */
function withShare({ stats, atMs }: Sample, before: Sample | undefined): ContainerStats {
  const then = before?.stats.cpuNs
  if (stats.cpuNs === undefined || before === undefined || then === undefined || atMs <= before.atMs) return stats
  const spentMs = Math.max(0, stats.cpuNs - then) / 1e6
  return { ...stats, cpuPercent: (100 * spentMs) / (atMs - before.atMs) }
}

function sampleOf({ record, live }: ContainerView): ContainerStats {
  const common = { id: record.id, name: record.name }
  if (live === undefined) return common
  const network = record.network === 'host' ? undefined : readNetwork(live.pid, live.startTime)
  return {
    ...common,
    ...(record.cgroup === undefined ? {} : countedIn(record.cgroup, readStats(record.cgroup))),
    ...(network === undefined ? {} : { network }),
  }
}

function countedIn(cgroup: string, { cpu, memory, blkio, pids }: CgroupStats): Partial<ContainerStats> {
  // Empty until something is read or written.
  const counted = existsSync(join(cgroup, 'io.stat'))
  const io = blkio.ioServiceBytesRecursive
  const bytes = (op: string): number =>
    (io ?? []).filter((entry) => entry.op === op).reduce((sum, { value }) => sum + value, 0)
  return {
    cpuNs: cpu.usage.total,
    ...(memory.raw === undefined ? {} : { memory: memoryOf(memory.usage, memory.raw) }),
    ...(!counted ? {} : { blockIo: { read: bytes('Read'), written: bytes('Write') } }),
    ...(pids.current === undefined ? {} : { pids: pids.current }),
  }
}

/** As docker counts: inactive pages of files are free in all but name. */
function memoryOf(
  { usage, limit }: CgroupStats['memory']['usage'],
  raw: Readonly<Record<string, number>>,
): NonNullable<ContainerStats['memory']> {
  const machine = totalmem()
  return {
    usage: Math.max(0, usage - (raw['inactive_file'] ?? 0)),
    limit: typeof limit === 'number' ? Math.min(limit, machine) : machine,
  }
}

/** `/proc/PID/net/dev` (proc_pid_net(5)): the process's own network namespace, if it still is that process. */
function readNetwork(pid: number, startTime: number): ContainerStats['network'] {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/net/dev`, 'latin1')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ESRCH' || errno === 'EINVAL') return undefined
    throw error
  }
  if (startTimeOf(pid) !== startTime) return undefined
  return sumInterfaces(text)
}

/** Bytes received and sent by all interfaces but lo. */
export function sumInterfaces(text: string): NonNullable<ContainerStats['network']> {
  const lines = text
    .split('\n')
    .slice(2)
    .filter((line) => line.includes(':') && !/^\s*lo:/.test(line))
  const numbers = lines.map((line) =>
    line
      .slice(line.lastIndexOf(':') + 1)
      .trim()
      .split(/\s+/)
      .map(Number),
  )
  const sum = (column: number): number => numbers.reduce((total, row) => total + (row[column] ?? 0), 0)
  return { received: sum(0), sent: sum(8) }
}
