import { closeSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { removeCgroup, removeEmptyCgroup } from '../../cgroups/remove.ts'
import { errnoOf } from '../../model/errors.ts'
import { noteBoot, wasBooted } from './boot.ts'
import { cgroupOf } from '../start/cgroup.ts'
import { killProcess } from '../../syscall/process.ts'
import {
  containerIds,
  deleteContainer,
  finishContainer,
  forgetRun,
  type HeldContainer,
  liveIds,
  lockDirectory,
  readLiveState,
  readRecord,
} from './containers.ts'
import { monitorSocket } from '../live/monitor-socket.ts'
import { containerEvent, type NewEvent, volumeEvent, writeEvents } from '../events/log.ts'
import { readExitFile } from './exit-file.ts'
import { leasesDirectory } from '../networks/lease-links.ts'
import { deleteAttachments, takeBackPorts } from '../networks/left.ts'
import { linkOwner } from './owner-link.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord, ExitRecord } from './record.ts'
import { BEGUN_MS, isBegun } from './begun.ts'
import { releaseOrphanRanges } from '../ids/shared-range.ts'
import { sweepVolumes } from '../volumes/store.ts'
import { keptVolumes } from '../volumes/users.ts'

/** How long to wait for the end of what was killed, for each container. */
const PATIENCE_MS = 1000

/**
 * Puts right what a killed command or monitor left behind. `live` looks only at containers that were running, which is
 * cheap; `all` looks at every container, name and range. Resolves to the records that it has read of containers at rest.
 */
export async function sweep(paths: EnginePaths, asked: 'live' | 'all'): Promise<ReadonlyMap<string, ContainerRecord>> {
  const resting = new Map<string, ContainerRecord>()
  const booted = wasBooted(paths)
  // Somebody may also have emptied /run.
  const scope = booted || !existsSync(paths.runRoot) ? 'all' : asked
  const ids = scope === 'live' ? liveIds(paths) : [...new Set([...liveIds(paths), ...containerIds(paths)])]
  const live = new Set(liveIds(paths))
  for (const id of ids) {
    const rests = await sweepOne(paths, id, { wasLive: live.has(id), booted })
    if (rests !== undefined) resting.set(id, rests)
  }
  if (scope === 'live') return resting
  releaseOrphans(paths)
  removeOrphanedCgroups(paths)
  sweepVolumes(paths)
  noteBoot(paths)
  return resting
}

interface Circumstances {
  /** It has a directory in the run directory. */
  readonly wasLive: boolean
  /** The machine has been started anew since. */
  readonly booted: boolean
}

/** The record of one that is as it should be, at rest. */
async function sweepOne(
  paths: EnginePaths,
  id: string,
  { wasLive, booted }: Circumstances,
): Promise<ContainerRecord | undefined> {
  const directory = join(paths.containers, id)
  const lockFd = tryLock(directory)
  if (lockFd !== undefined && !booted) await takeBackPorts(paths, id)
  if (lockFd === 'gone') {
    // Another sweep has taken it for a leftover, and who makes it may be making it anew: nothing here is ours.
    if (!wasLive) return undefined
    // Its monitor and who waited for that may both have been killed on the way out.
    if (!(await endProcesses(paths, id, readRecord(paths, id)?.cgroup ?? cgroupOf(id), booted))) return
    await deleteAttachments(paths, readRecord(paths, id))
    rmSync(join(paths.runRoot, id), { recursive: true, force: true })
    return undefined
  }
  if (lockFd === undefined) return undefined
  const held: HeldContainer = { id, directory, lockFd }
  const record = readRecord(paths, id)
  // Without a record it was never finished being made.
  const doomed = record === undefined || (record.remove && record.unstarted !== true)
  if (!doomed && !wasLive) {
    if (hasEnd(paths, record)) {
      closeSync(lockFd)
      return record
    }
    // Where only the run directory was emptied its cgroup is still there.
    if (!(await endProcesses(paths, id, record.cgroup, true))) {
      closeSync(lockFd)
      return undefined
    }
    await deleteAttachments(paths, record)
    finishContainer(paths, held, record, wentDown())
    return undefined
  }
  // A `create` or a `start` that did not get as far as to start it.
  if (record?.unstarted === true) {
    forgetRun(paths, held)
    return undefined
  }
  await endOne(paths, held, record, { doomed, booted })
  return undefined
}

/** Its processes are ended, and what they leave is put away. */
async function endOne(
  paths: EnginePaths,
  held: HeldContainer,
  record: ContainerRecord | undefined,
  { doomed, booted }: { readonly doomed: boolean; readonly booted: boolean },
): Promise<void> {
  const { id, lockFd } = held
  // One in the background ends with its monitor only where nothing else could tell of it.
  const killed = !booted && existsSync(monitorSocket(paths, id)) && readLiveState(paths, id) !== undefined
  const ended = await endProcesses(paths, id, record === undefined ? cgroupOf(id) : record.cgroup, booted)
  // A later command tries again; `rm` says what is in the way.
  if (!ended) return closeSync(lockFd)
  if (record !== undefined && killed) writeEvents(paths, deathsOf(record))
  await deleteAttachments(paths, record)
  if (doomed || record === undefined) return deleteContainer(paths, held, record)
  const told = readLiveState(paths, id) === undefined ? readExitFile(paths, id) : undefined
  if (told !== undefined) return finishContainer(paths, held, record, told)
  if (record.exit !== undefined) return finishContainer(paths, held, record, record.exit)
  if (booted) return finishContainer(paths, held, record, wentDown())
  finishContainer(paths, held, record, {
    exitCode: 137,
    signal: 'SIGKILL',
    oomKilled: false,
    finishedMs: Date.now(),
    error: 'its monitor was killed',
  })
}

/** Or needs none. */
function hasEnd(paths: EnginePaths, record: ContainerRecord): boolean {
  return record.exit !== undefined || record.unstarted === true || readExitFile(paths, record.id) !== undefined
}

/** docker's exit code for one whose end nobody has seen. */
function wentDown(): ExitRecord {
  return { exitCode: 255, oomKilled: false, finishedMs: Date.now(), error: 'the machine went down while it ran' }
}

function deathsOf(record: ContainerRecord): NewEvent[] {
  const died = containerEvent(record, 'die', { exitCode: '137' })
  const unmounted = keptVolumes(record.mounts).map(({ volume }) =>
    volumeEvent('unmount', volume, { container: record.id }),
  )
  return [died, ...unmounted, ...(record.remove ? [containerEvent(record, 'destroy')] : [])]
}

function tryLock(directory: string): number | undefined | 'gone' {
  try {
    return lockDirectory(directory)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'gone'
    throw error
  }
}

/** False where a killed process does not end: nobody else's command may fail by it. */
async function endProcesses(
  paths: EnginePaths,
  id: string,
  cgroup: string | undefined,
  booted: boolean,
): Promise<boolean> {
  const state = booted ? undefined : readLiveState(paths, id)
  if (state !== undefined) killProcess(state.pid, state.startTime)
  try {
    if (cgroup !== undefined) await removeCgroup(cgroup, PATIENCE_MS)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EBUSY') return false
    throw error
  }
}

/** Cgroups that nobody is in, and that no container here has: of what was begun by somebody who was killed. */
function removeOrphanedCgroups(paths: EnginePaths): void {
  const parent = cgroupOf('')
  const known = new Set([...containerIds(paths), ...liveIds(paths)])
  for (const id of parent === undefined ? [] : list(parent)) {
    if (!/^[0-9a-f]{64}$/.test(id) || known.has(id)) continue
    // A container of another store may just be made.
    const made = statSync(join(parent ?? '', id), { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY
    if (Date.now() - made > BEGUN_MS) removeEmptyCgroup(join(parent ?? '', id))
  }
}

/** Names, addresses and ranges whose container is gone: killed between two deletions, or before it was wanted. */
function releaseOrphans(paths: EnginePaths): void {
  const known = containerIds(paths)
  const networks = list(join(paths.root, 'leases')).map((id) => leasesDirectory(paths, { id }))
  for (const link of [paths.names, ...networks].flatMap((directory) =>
    list(directory).map((name) => join(directory, name)),
  )) {
    // One that has come since is asked for again.
    const isGone = linkOwner(link, known) === undefined && linkOwner(link, containerIds(paths)) === undefined
    if (isGone && !isBegun(link)) rmSync(link, { force: true })
  }
  releaseOrphanRanges(paths.ranges, () => containerIds(paths))
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}
