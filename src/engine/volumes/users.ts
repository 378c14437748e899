import {
  closeSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { removeTree } from '../../images/remove-tree.ts'
import { errnoOf } from '../../model/errors.ts'
import type { BindMount, StoreVolumeMount } from '../../model/run-options.ts'
import { volumeEvent, writeEvents } from '../events/log.ts'
import { lockDirectory } from '../state/directory-lock.ts'
import type { EnginePaths } from '../paths.ts'

/**
 * Who uses a volume: an empty file `users/<container id>` in it for each container that has it, running or not. The
 * directory `users` is also what makes a volume one: its removal begins with rmdir(2), which fails while it has users,
 * and what has none is half removed. The monitor does the same with no Node alive (op_remove_volume).
 */

/** What a container has mounted, as its record keeps it: a volume has its name by then. */
export type KeptMount = BindMount | KeptVolume

export interface KeptVolume extends StoreVolumeMount {
  readonly volume: string
  readonly anonymous: boolean
}

export const DATA = '_data'
const USERS = 'users'
/** A volume that is taken away, or not finished; nobody can name one like this. */
export const GONE = '.gone-'

export function keptVolumes(mounts: readonly KeptMount[] | undefined): KeptVolume[] {
  return (mounts ?? []).flatMap((mount) => (mount.source === undefined ? [mount] : []))
}

export function volumePath(paths: EnginePaths, name: string): string {
  return join(paths.volumes, name)
}

/** Its place in a volume. */
export function userFile(id: string): string {
  return `${USERS}/${id}`
}

export function makeUsers(volume: string): void {
  mkdirSync(join(volume, USERS), { mode: 0o700 })
}

export function addUser(volume: string, id: string): void {
  writeFileSync(join(volume, userFile(id)), '', { mode: 0o600 })
}

/** Ids of containers, some of which may be gone; undefined where there is no such volume, or one that is being removed. */
export function userIds(volume: string): string[] | undefined {
  try {
    return readdirSync(join(volume, USERS))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

export function removeUser(volume: string, id: string): void {
  try {
    unlinkSync(join(volume, userFile(id)))
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}

/** A container has gone, or will not be: its volumes are not in use by it; with `anonymous`, these go too. */
export function releaseVolumes(
  paths: EnginePaths,
  id: string,
  mounts: readonly KeptMount[] | undefined,
  anonymous: boolean,
): void {
  for (const volume of keptVolumes(mounts)) {
    const path = volumePath(paths, volume.volume)
    removeUser(path, id)
    if (anonymous && volume.anonymous) removeVolumeIfUnused(paths, volume.volume)
  }
}

/** Removes a volume that nobody uses. False where somebody does, or is about to. */
export function removeVolumeIfUnused(paths: EnginePaths, name: string): boolean {
  const removed = removeUnused(volumePath(paths, name))
  if (removed) writeEvents(paths, [volumeEvent('destroy', name)])
  return removed
}

function removeUnused(volume: string): boolean {
  const lockFd = lockVolume(volume)
  if (lockFd === 'gone') return true
  if (lockFd === undefined) return false
  try {
    rmdirSync(join(volume, USERS))
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOTEMPTY') {
      closeSync(lockFd)
      return false
    }
    if (errno !== 'ENOENT') throw error
  }
  finishRemoval(volume, lockFd)
  return true
}

/** Takes it out of sight, then deletes it. The caller's lock goes with it. */
export function finishRemoval(volume: string, lockFd: number): void {
  const gone = join(dirname(volume), `${GONE}${process.pid}-${volume.slice(dirname(volume).length + 1)}`)
  try {
    renameSync(volume, gone)
    removeTree(gone, gone)
  } catch (error) {
    // Another command has done the same.
    if (errnoOf(error) !== 'ENOENT') throw error
    rmSync(gone, { recursive: true, force: true })
  } finally {
    closeSync(lockFd)
  }
}

/** Its lock, which is held while it is made, filled, taken by a container, or removed; undefined where another has it. */
export function lockVolume(volume: string): number | undefined | 'gone' {
  for (;;) {
    const fd = lockIfThere(volume)
    if (fd === 'gone' || fd === undefined) return fd
    // It may have been removed, and made anew, before this lock was there.
    if (fstatSync(fd).ino === statSync(volume, { throwIfNoEntry: false })?.ino) return fd
    closeSync(fd)
  }
}

function lockIfThere(directory: string): number | undefined | 'gone' {
  try {
    return lockDirectory(directory)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'gone'
    throw error
  }
}
