import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { ContainerStatus, ContainerSummary } from '../api.ts'
import { containerIds, liveIds, readLiveState, readRecord } from './containers.ts'
import { isHeld } from './directory-lock.ts'
import { readExitFile } from './exit-file.ts'
import { type HealthState, readHealth } from '../health/state.ts'
import { linkOwner } from './owner-link.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord, LiveState } from './record.ts'
import { keptVolumes } from '../volumes/users.ts'

/** A container as it is now: its record, and whether somebody keeps it alive. */
export interface ContainerView {
  readonly record: ContainerRecord
  readonly status: ContainerStatus
  readonly live: LiveState | undefined
  /** Where checks are made; of one that has ended, how it stood. */
  readonly health?: HealthState
}

/**
 * Newest first. Those that are half made or half removed are passed over.
 *
 * @param read records that were read just now
 */
export function viewContainers(
  paths: EnginePaths,
  read: ReadonlyMap<string, ContainerRecord> = new Map(),
): ContainerView[] {
  // Most that are many do not run: a look into a directory that is not there costs as much as all the rest.
  const lives = new Set(liveIds(paths))
  const views = containerIds(paths).flatMap((id) => view(paths, id, lives.has(id), read.get(id)) ?? [])
  return views.toSorted((a, b) => b.record.createdMs - a.record.createdMs)
}

/** Ids of the images that containers have, running or not. */
export function imagesInUse(paths: EnginePaths): string[] {
  return containerIds(paths).flatMap((id) => readRecord(paths, id)?.imageId ?? [])
}

function view(
  paths: EnginePaths,
  id: string,
  mayLive = true,
  record = readRecord(paths, id),
): ContainerView | undefined {
  if (record === undefined) return undefined
  const live = mayLive ? readLiveState(paths, id) : undefined
  const status = statusOf(paths, record, live)
  const health = record.launch?.health === undefined ? undefined : readHealth(paths, id)
  const more = health === undefined ? {} : { health }
  if (status === 'running') return { record, live, status: isFrozen(record.cgroup) ? 'paused' : status, ...more }
  // A detached container's end is told by its monitor alone.
  const exit = record.exit ?? readExitFile(paths, id)
  return { record: exit === undefined ? record : { ...record, exit }, live: undefined, status, ...more }
}

/** The lock tells who is alive, whatever a file says. */
function statusOf(paths: EnginePaths, record: ContainerRecord, live: LiveState | undefined): ContainerStatus {
  if (record.exit !== undefined) return 'stopped'
  if (record.unstarted === true) return 'created'
  if (!isHeld(join(paths.containers, record.id))) return 'stopped'
  return live === undefined ? betweenLives(paths, record) : 'running'
}

/** Held by its monitor, or by who starts or removes it; no first process is known. */
function betweenLives(paths: EnginePaths, { id, launch }: ContainerRecord): ContainerStatus {
  // Its monitor may have told of the next life meanwhile.
  if (readLiveState(paths, id) !== undefined) return 'running'
  const exit = readExitFile(paths, id)
  if (exit === undefined) return 'running'
  const { name, most } = launch?.restart ?? { name: 'no', most: 0 }
  // A sick one may be started again without any policy.
  const isSick = launch?.health?.onFailure === 'restart' && readHealth(paths, id).status === 'unhealthy'
  if (isSick && exit.byPerson !== true) return 'restarting'
  const gaveUp = name === 'on-failure' && (exit.exitCode === 0 || (most > 0 && exit.restarts >= most))
  return exit.byPerson === true || name === 'no' || gaveUp ? 'stopped' : 'restarting'
}

function isFrozen(cgroup: string | undefined): boolean {
  try {
    return cgroup !== undefined && /^frozen 1$/m.test(readFileSync(join(cgroup, 'cgroup.events'), 'latin1'))
  } catch (error) {
    // It ends just now.
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') return false
    throw error
  }
}

/** By name, id, or a beginning of an id that only one has. Throws NO_SUCH_CONTAINER. */
export function findContainer(paths: EnginePaths, idOrName: string): ContainerView {
  const found = tryFindContainer(paths, idOrName)
  if (found !== undefined) return found
  throw noSuchContainer(idOrName)
}

export function noSuchContainer(idOrName: string): TscrunError {
  return new TscrunError('NO_SUCH_CONTAINER', `container ${idOrName}: there is none`, {
    subject: idOrName,
    hint: '`tscrun ps -a` lists them',
  })
}

export function tryFindContainer(paths: EnginePaths, idOrName: string): ContainerView | undefined {
  const ids = containerIds(paths)
  // By its link, without reading the record of every other container.
  const owner = NAME.test(idOrName) ? linkOwner(join(paths.names, idOrName), ids) : undefined
  const named = owner === undefined ? undefined : view(paths, owner)
  if (named !== undefined) return named
  if (!/^[0-9a-f]+$/.test(idOrName)) return undefined
  const matches = ids.filter((id) => id.startsWith(idOrName)).flatMap((id) => view(paths, id) ?? [])
  if (matches.length > 1) {
    throw new TscrunError('NO_SUCH_CONTAINER', `container ${idOrName}: ${matches.length} ids begin like this`, {
      subject: idOrName,
      hint: 'give more of it',
    })
  }
  return matches[0]
}

/** What a container can be called; a link of that name lies in `names`. */
const NAME = /^[A-Za-z0-9][\w.-]{0,254}$/

export function summarize({ record, status, live, health }: ContainerView): ContainerSummary {
  const { exit } = record
  const binds = record.config.mounts?.filter((mount) => mount.type === 'bind') ?? []
  const names = new Map(keptVolumes(record.mounts).map(({ target, volume }) => [target, volume]))
  return {
    id: record.id,
    name: record.name,
    image: record.image,
    command: record.config.process?.args ?? [],
    status,
    createdMs: record.createdMs,
    startedMs: live?.startedMs ?? exit?.startedMs ?? record.createdMs,
    ...(exit === undefined ? {} : { finishedMs: exit.finishedMs, exitCode: exit.exitCode }),
    labels: record.labels,
    mounts: binds.map((mount) => names.get(mount.destination) ?? mount.source ?? ''),
    network: record.network,
    ports: record.ports ?? [],
    ...(record.imageId === undefined ? {} : { imageId: record.imageId }),
    ...(live === undefined ? {} : { pid: live.pid }),
    restartPolicy: record.launch?.restart.name ?? 'no',
    startsAtBoot: startsAtBoot(record),
    ...(health === undefined || live === undefined ? {} : { health: health.status }),
  }
}

/** As docker's daemon decides it when it starts; `on-failure` is for the failures of a running machine. */
function startsAtBoot({ launch, exit, unstarted }: ContainerRecord): boolean {
  const policy = launch?.restart.name
  return unstarted !== true && (policy === 'always' || (policy === 'unless-stopped' && exit?.byPerson !== true))
}
