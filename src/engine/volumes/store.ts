import { chmodSync, closeSync, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { listDirectory, syncDirectory, uniqueWord, writeDurably } from '../../images/files.ts'
import { removeTree } from '../../images/remove-tree.ts'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { volumeEvent, writeEvents } from '../events/log.ts'
import type { EnginePaths } from '../paths.ts'
import { readJsonFile } from '../state/json-file.ts'
import { makeDirectory } from '../state/make-directory.ts'
import { storeFailure } from '../state/store-failure.ts'
import {
  DATA,
  finishRemoval,
  GONE,
  lockVolume,
  makeUsers,
  removeVolumeIfUnused,
  removeUser,
  userIds,
  volumePath,
} from './users.ts'

/** `volume.json`: what a volume is, written when it is made and never again. */
export interface VolumeRecord {
  /** Format of this file; N reads N-1. */
  readonly version: 1
  readonly name: string
  readonly createdMs: number
  readonly labels: Readonly<Record<string, string>>
  /** `type`, `device`, `o`, as docker's local driver takes them. */
  readonly options: Readonly<Record<string, string>>
  /** Made for one container that named none. */
  readonly anonymous: boolean
}

const RECORD = 'volume.json'
/** There until the first container has taken it. */
const FRESH = 'fresh'
/** A volume that is being made. */
const HALF = '.new-'

const NAME = /^[A-Za-z0-9][\w.-]{0,254}$/

/** Docker's rule. Throws USAGE. */
export function checkVolumeName(name: string): string {
  if (NAME.test(name)) return name
  throw new TscrunError('USAGE', `volume ${JSON.stringify(name)}: not a volume name`, {
    subject: name,
    hint: 'letters, digits, _ . - and a letter or digit first; a directory of the host begins with / or ./',
  })
}

/**
 * Makes a volume: whole, beside its place, then renamed, so that one which is there is whole. False where there is one of
 * this name.
 */
export function makeVolume(paths: EnginePaths, record: VolumeRecord): boolean {
  const volume = volumePath(paths, record.name)
  if (userIds(volume) !== undefined) return false
  try {
    makeDirectory(paths.volumes)
    const { half, lockFd } = makeHalf(paths)
    try {
      mkdirSync(join(half, DATA))
      // Whatever the caller's umask is: every user of a container may come in, as in an image's directories.
      chmodSync(join(half, DATA), 0o755)
      writeFileSync(join(half, FRESH), '', { mode: 0o600 })
      makeUsers(half)
      writeRecord(half, record)
      const made = moveInto(half, volume)
      if (made) writeEvents(paths, [volumeEvent('create', record.name)])
      return made
    } finally {
      rmSync(half, { recursive: true, force: true })
      closeSync(lockFd)
    }
  } catch (error) {
    throw storeFailure(error, paths.volumes)
  }
}

/** Another command may take it for a leftover before it is locked: then once more. */
function makeHalf(paths: EnginePaths): { readonly half: string; readonly lockFd: number } {
  for (;;) {
    const half = join(paths.volumes, `${HALF}${uniqueWord()}`)
    mkdirSync(half, { mode: 0o700 })
    const lockFd = lockVolume(half)
    if (typeof lockFd === 'number') return { half, lockFd }
  }
}

function writeRecord(half: string, record: VolumeRecord): void {
  const text = `${JSON.stringify(record)}\n`
  // One that goes with its container need not survive a power cut.
  if (record.anonymous) writeFileSync(join(half, RECORD), text, { mode: 0o600 })
  else writeDurably(join(half, RECORD), text, half)
}

/** False where another has been made meanwhile; one that is half removed is removed. */
function moveInto(half: string, volume: string): boolean {
  for (;;) {
    try {
      renameSync(half, volume)
      syncDirectory(join(volume, '..'))
      return true
    } catch (error) {
      const errno = errnoOf(error)
      if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw error
    }
    if (userIds(volume) !== undefined) return false
    const lockFd = lockVolume(volume)
    if (typeof lockFd !== 'number') continue
    if (userIds(volume) === undefined) finishRemoval(volume, lockFd)
    else closeSync(lockFd)
  }
}

/** Undefined where there is none of this name. */
export function readVolume(paths: EnginePaths, name: string): VolumeRecord | undefined {
  if (!NAME.test(name)) return undefined
  const volume = volumePath(paths, name)
  if (userIds(volume) === undefined) return undefined
  try {
    const record = readJsonFile(join(volume, RECORD)) as VolumeRecord | undefined
    return record ?? (userIds(volume) === undefined ? undefined : lostRecord(volume, name))
  } catch (error) {
    throw new TscrunError('STORE', `read ${join(volume, RECORD)}: ${(error as Error).message}`, {
      subject: volume,
      cause: error,
    })
  }
}

/** A power cut can have emptied that of an anonymous one alone: it is not written durably. */
function lostRecord(volume: string, name: string): VolumeRecord {
  const createdMs = Math.round(statSync(join(volume, DATA)).mtimeMs)
  return { version: 1, name, createdMs, labels: {}, options: {}, anonymous: true }
}

/** By name. What is half made or half removed is not among them. */
export function listVolumes(paths: EnginePaths): VolumeRecord[] {
  const names = listDirectory(paths.volumes).filter((name) => NAME.test(name))
  return names.toSorted().flatMap((name) => readVolume(paths, name) ?? [])
}

export function isFresh(volume: string): boolean {
  return existsSync(join(volume, FRESH))
}

export function endFreshness(volume: string): void {
  rmSync(join(volume, FRESH), { force: true })
}

/** Containers that have it, running or not. */
export function usersOf(paths: EnginePaths, name: string): string[] {
  const ids = userIds(volumePath(paths, name)) ?? []
  return ids.filter((id) => isThere(join(paths.containers, id)))
}

function isThere(directory: string): boolean {
  return statSync(directory, { throwIfNoEntry: false }) !== undefined
}

/** Deletes what killed commands left half made or half removed, and volumes made for a container that never was. */
export function sweepVolumes(paths: EnginePaths): void {
  for (const name of listDirectory(paths.volumes)) {
    const path = volumePath(paths, name)
    const ids = userIds(path)
    if (name.startsWith(HALF) || name.startsWith(GONE) || ids === undefined) sweepOne(path, name)
    else if (ids.length > 0) sweepUsers(paths, name, ids)
  }
}

function sweepOne(path: string, name: string): void {
  const lockFd = lockVolume(path)
  if (typeof lockFd !== 'number') return
  if (NAME.test(name)) {
    if (userIds(path) === undefined) finishRemoval(path, lockFd)
    else closeSync(lockFd)
    return
  }
  try {
    removeTree(path, path)
  } finally {
    closeSync(lockFd)
  }
}

/** A container lets go of its volumes before its directory goes: one that did not was killed. */
function sweepUsers(paths: EnginePaths, name: string, ids: readonly string[]): void {
  const lost = ids.filter((id) => !isThere(join(paths.containers, id)))
  if (lost.length === 0) return
  const path = volumePath(paths, name)
  const record = readVolume(paths, name)
  const lockFd = lockVolume(path)
  if (typeof lockFd !== 'number') return
  for (const id of lost) removeUser(path, id)
  closeSync(lockFd)
  if (record?.anonymous === true && lost.length === ids.length) removeVolumeIfUnused(paths, record.name)
}
