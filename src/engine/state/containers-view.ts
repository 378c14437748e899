import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { ContainerFilter, ContainerStatus, ContainerSummary } from '../api.ts'
import { containerIds, readLiveState, readRecord } from './containers.ts'
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

/** Newest first. Those that are half made or half removed are passed over. */
export function viewContainers(paths: EnginePaths): ContainerView[] {
  const views = containerIds(paths).flatMap((id) => view(paths, id) ?? [])
  return views.toSorted((a, b) => b.record.createdMs - a.record.createdMs)
}

/** Ids of the images that containers have, running or not. */
export function imagesInUse(paths: EnginePaths): string[] {
  return containerIds(paths).flatMap((id) => readRecord(paths, id)?.imageId ?? [])
}

function view(paths: EnginePaths, id: string): ContainerView | undefined {
  const record = readRecord(paths, id)
  if (record === undefined) return undefined
  const live = readLiveState(paths, id)
  const status = statusOf(paths, record)
  const health = record.launch?.health === undefined ? undefined : readHealth(paths, id)
  const more = health === undefined ? {} : { health }
  if (status === 'running') return { record, live, status: isFrozen(record.cgroup) ? 'paused' : status, ...more }
  // A detached container's end is told by its monitor alone.
  const exit = record.exit ?? readExitFile(paths, id)
  return { record: exit === undefined ? record : { ...record, exit }, live: undefined, status, ...more }
}

/** The lock tells who is alive, whatever a file says. */
function statusOf(paths: EnginePaths, record: ContainerRecord): ContainerStatus {
  if (record.exit !== undefined) return 'stopped'
  if (record.unstarted === true) return 'created'
  try {
    return isHeld(join(paths.containers, record.id)) && !hasEnded(paths, record) ? 'running' : 'stopped'
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'stopped'
    throw error
  }
}

/** Held, but only by who puts it away: its monitor has told of its last end. */
function hasEnded(paths: EnginePaths, { id, launch }: ContainerRecord): boolean {
  if (readLiveState(paths, id) !== undefined) return false
  const exit = readExitFile(paths, id)
  return exit !== undefined && (exit.byPerson === true || launch?.restart.name === 'no')
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
    ...(health === undefined || status === 'stopped' ? {} : { health: health.status }),
  }
}

/** As docker's daemon decides it when it starts; `on-failure` is for the failures of a running machine. */
function startsAtBoot({ launch, exit, unstarted }: ContainerRecord): boolean {
  const policy = launch?.restart.name
  return unstarted !== true && (policy === 'always' || (policy === 'unless-stopped' && exit?.byPerson !== true))
}

/** Each list is "any of"; all lists must hold. */
export function matchesFilter(
  summary: ContainerSummary,
  filter: ContainerFilter,
  imageId: string | undefined,
): boolean {
  const any = <T>(list: readonly T[] | undefined, test: (wanted: T) => boolean): boolean =>
    list === undefined || list.some(test)
  return (
    any(filter.id, (id) => summary.id.startsWith(id)) &&
    any(filter.name, (pattern) => matchesName(summary.name, pattern)) &&
    any(filter.status, (status) => summary.status === status) &&
    any(
      filter.ancestor,
      (image) => summary.image === image || imageId?.startsWith(`sha256:${image}`) === true || imageId === image,
    ) &&
    any(filter.exited, (code) => summary.exitCode === code) &&
    any(filter.health, (health) => (summary.health ?? 'none') === health) &&
    any(filter.volume, (volume) => summary.mounts.includes(volume)) &&
    any(filter.network, (network) => summary.network.split(',').includes(network)) &&
    any(filter.restartPolicy, (policy) => summary.restartPolicy === policy) &&
    any(filter.startsAtBoot, (wanted) => summary.startsAtBoot === wanted) &&
    (filter.label ?? []).every((label) => hasLabel(summary, label))
  )
}

/** A part of it, or a regular expression as docker takes it, to which a name may begin with a slash. */
function matchesName(name: string, pattern: string): boolean {
  if (name.includes(pattern)) return true
  try {
    const expression = new RegExp(pattern)
    return expression.test(name) || expression.test(`/${name}`)
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

function hasLabel(summary: ContainerSummary, label: string): boolean {
  const equals = label.indexOf('=')
  if (equals < 0) return Object.hasOwn(summary.labels, label)
  const key = label.slice(0, equals)
  return Object.hasOwn(summary.labels, key) && summary.labels[key] === label.slice(equals + 1)
}
