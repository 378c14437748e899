import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { randomId } from '../../syscall/random.ts'
import { readRecord } from '../state/containers.ts'
import { volumeEvent, writeEvents } from '../events/log.ts'
import type { EnginePaths } from '../paths.ts'
import { storeFailure } from '../state/store-failure.ts'
import { treeBytes } from '../tree/bytes.ts'
import { checkDevice, kindOf } from './options.ts'
import {
  checkVolumeName,
  listVolumes,
  makeVolume,
  readVolume,
  sweepVolumes,
  usersOf,
  type VolumeRecord,
} from './store.ts'
import { DATA, removeVolumeIfUnused, removeUser, userIds, volumePath } from './users.ts'

/** A volume of the store. */
export interface VolumeSummary {
  readonly name: string
  /** Where its files are on the host: in the store, or the `device` of a bind; empty for a tmpfs. */
  readonly mountpoint: string
  /** Milliseconds since 1970. */
  readonly createdMs: number
  readonly labels: Readonly<Record<string, string>>
  /** `type`, `device` and `o`, as it was made with. */
  readonly options: Readonly<Record<string, string>>
  /** Made for a container that named none. */
  readonly anonymous: boolean
  /** Ids of the containers that have it, running or not. */
  readonly containers: readonly string[]
}

export interface CreateVolumeOptions {
  /** Absent: 64 hexadecimal digits. */
  readonly name?: string
  readonly labels?: Readonly<Record<string, string>>
  /** As docker's local driver: `type` (`tmpfs`, or `none` with `o=bind`), `device`, `o`. */
  readonly options?: Readonly<Record<string, string>>
  /** One of this name that is there already is no error; it stays as it is. */
  readonly ignore?: boolean
}

/** Each list is "any of"; all that are given must hold. */
export interface VolumeFilter {
  /** Parts of names. */
  readonly name?: readonly string[]
  /** `key` or `key=value`: all of them. */
  readonly label?: readonly string[]
  /** None of them. */
  readonly withoutLabel?: readonly string[]
  /** No container has it. */
  readonly dangling?: boolean
  readonly anonymous?: boolean
  readonly driver?: readonly string[]
  /** Made before, milliseconds since 1970. */
  readonly untilMs?: number
}

export interface PrunedVolumes {
  readonly removed: readonly string[]
  /** Bytes on the disk. */
  readonly reclaimedBytes: number
}

/** Throws NAME_IN_USE, USAGE. */
export function createVolume(paths: EnginePaths, options: CreateVolumeOptions): VolumeSummary {
  const { name = randomId(), labels = {}, options: given = {}, ignore = false } = options
  checkVolumeName(name)
  checkDevice(kindOf(given))
  sweepVolumes(paths)
  const record: VolumeRecord = {
    version: 1,
    name,
    createdMs: Date.now(),
    labels,
    options: given,
    anonymous: options.name === undefined,
  }
  if (!makeVolume(paths, record) && !ignore) {
    throw new TscrunError('NAME_IN_USE', `volume ${name}: there is one of this name`, {
      subject: name,
      hint: '--ignore takes it as it is',
    })
  }
  return summaryOf(paths, readVolume(paths, name) ?? record)
}

export function volumeSummaries(paths: EnginePaths, filter: VolumeFilter = {}): VolumeSummary[] {
  sweepVolumes(paths)
  return listVolumes(paths)
    .map((record) => summaryOf(paths, record))
    .filter((volume) => matches(volume, filter))
}

/** By name, or by a beginning that only one has. Throws NO_SUCH_VOLUME. */
export function findVolume(paths: EnginePaths, name: string): VolumeSummary {
  const record = readVolume(paths, name)
  if (record !== undefined) return summaryOf(paths, record)
  // Of an anonymous one nobody types the whole name.
  const alike = /^[0-9a-f]+$/.test(name) ? listVolumes(paths).filter((other) => other.name.startsWith(name)) : []
  const [only] = alike
  if (only !== undefined && alike.length === 1) return summaryOf(paths, only)
  throw new TscrunError(
    'NO_SUCH_VOLUME',
    `volume ${name}: ${alike.length === 0 ? 'there is none' : `${alike.length} names begin like this`}`,
    { subject: name, hint: alike.length === 0 ? '`tscrun volume ls` lists them' : 'give more of it' },
  )
}

/** Resolves to its name. Throws NO_SUCH_VOLUME, VOLUME_IN_USE. */
export function removeVolume(paths: EnginePaths, name: string): string {
  const volume = findVolume(paths, name)
  if (remove(paths, volume.name)) return volume.name
  const [user] = usersOf(paths, volume.name)
  const who = user === undefined ? 'a container that is being made' : `container ${nameOf(paths, user)}`
  throw new TscrunError('VOLUME_IN_USE', `volume ${volume.name}: used by ${who}`, {
    subject: volume.name,
    hint: 'remove the container first',
  })
}

/** Removes volumes that no container has: those without a name, with `all` the others too. */
export function pruneVolumes(
  paths: EnginePaths,
  { all = false, filter = {} }: { readonly all?: boolean; readonly filter?: VolumeFilter },
): PrunedVolumes {
  const wanted = volumeSummaries(paths, { ...filter, dangling: true }).filter(({ anonymous }) => all || anonymous)
  let reclaimedBytes = 0
  const removed = wanted.flatMap(({ name }) => {
    const bytes = volumeBytes(paths, name)
    if (!remove(paths, name)) return []
    reclaimedBytes += bytes
    return [name]
  })
  writeEvents(paths, [volumeEvent('prune', '', { reclaimed: String(reclaimedBytes) })])
  return { removed, reclaimedBytes }
}

/** What it takes on the disk. */
export function volumeBytes(paths: EnginePaths, name: string): number {
  return treeBytes(join(volumePath(paths, name), DATA))
}

function remove(paths: EnginePaths, name: string): boolean {
  const path = volumePath(paths, name)
  const users = new Set(usersOf(paths, name))
  if (users.size > 0) return false
  try {
    for (const id of userIds(path) ?? []) removeUser(path, id)
    return removeVolumeIfUnused(paths, name)
  } catch (error) {
    if (errnoOf(error) === 'EBUSY') throw busy(name, error)
    throw storeFailure(error, path)
  }
}

function busy(name: string, cause: unknown): TscrunError {
  return new TscrunError('VOLUME_IN_USE', `volume ${name}: something is mounted in it`, {
    subject: name,
    hint: 'unmount it first',
    cause,
  })
}

function nameOf(paths: EnginePaths, id: string): string {
  return readRecord(paths, id)?.name ?? id.slice(0, 12)
}

function summaryOf(paths: EnginePaths, record: VolumeRecord): VolumeSummary {
  const { name, createdMs, labels, options, anonymous } = record
  return {
    name,
    mountpoint: mountpointOf(paths, record),
    createdMs,
    labels,
    options,
    anonymous,
    containers: usersOf(paths, name),
  }
}

function mountpointOf(paths: EnginePaths, { name, options }: VolumeRecord): string {
  const kind = kindOf(options)
  if (kind.kind === 'store') return join(volumePath(paths, name), DATA)
  return kind.kind === 'bind' ? kind.device : ''
}

function matches(volume: VolumeSummary, filter: VolumeFilter): boolean {
  const { name, label, withoutLabel, dangling, anonymous, driver, untilMs } = filter
  return (
    (name === undefined || name.some((part) => volume.name.includes(part))) &&
    (label ?? []).every((text) => hasLabel(volume, text)) &&
    !(withoutLabel ?? []).some((text) => hasLabel(volume, text)) &&
    (dangling === undefined || dangling === (volume.containers.length === 0)) &&
    (anonymous === undefined || anonymous === volume.anonymous) &&
    (driver === undefined || driver.includes('local')) &&
    (untilMs === undefined || volume.createdMs < untilMs)
  )
}

function hasLabel({ labels }: VolumeSummary, text: string): boolean {
  const equals = text.indexOf('=')
  const key = equals < 0 ? text : text.slice(0, equals)
  return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === text.slice(equals + 1))
}

/** Under docker's key names. */
export function inspectVolume(volume: VolumeSummary): Readonly<Record<string, unknown>> {
  return {
    Name: volume.name,
    Driver: 'local',
    Mountpoint: volume.mountpoint,
    CreatedAt: new Date(volume.createdMs).toISOString(),
    Labels: volume.labels,
    Scope: 'local',
    Options: volume.options,
    Anonymous: volume.anonymous,
    Containers: volume.containers,
  }
}
