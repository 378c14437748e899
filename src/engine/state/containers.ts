import {
  close,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  rmdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { AT_FDCWD, cString, syscall, trySyscall } from '../../syscall/call.ts'
import { errnoName, SyscallError } from '../../syscall/errno.ts'
import { noteBoot } from './boot.ts'
import { lockDirectory } from './directory-lock.ts'
import { makeDirectory } from './make-directory.ts'
import { readJsonFile } from './json-file.ts'
import { pause } from '../../syscall/pause.ts'
import { releaseRange } from '../ids/id-range.ts'
import { releaseConnections } from '../networks/lease-links.ts'
import { claimLink, linkOwner, releaseLink } from './owner-link.ts'
import { DEFAULT_ROOT, type EnginePaths } from '../paths.ts'
import type { ContainerRecord, ExitRecord, LiveState } from './record.ts'
import { storeFailure } from './store-failure.ts'
import { releaseVolumes } from '../volumes/users.ts'

export { lockDirectory } from './directory-lock.ts'

/**
 * The containers of one store, as plain files. Whoever makes, runs or removes a container holds a flock(2) on its
 * directory; the monitor inherits it. So a lock that is free means that nobody is alive to tell what happened, and the
 * next command puts things right.
 */

const LOCK_EX = 2
const ID = /^[0-9a-f]{64}$/

/** A container's directory with its lock held; closing the descriptor everywhere releases it. */
export interface HeldContainer {
  readonly id: string
  readonly directory: string
  readonly lockFd: number
}

/** Makes the directory of a new container and takes its name. Throws NAME_IN_USE; then nothing is left of it. */
export async function createContainerDirectory(paths: EnginePaths, id: string, name: string): Promise<HeldContainer> {
  const directory = join(paths.containers, id)
  const lockFd = await makeAndLock(paths, directory)
  try {
    takeName(paths, name, id)
    mkdirSync(join(paths.runRoot, id), { recursive: true, mode: 0o700 })
  } catch (error) {
    releaseLink(join(paths.names, name), id)
    closeSync(lockFd)
    rmSync(directory, { recursive: true, force: true })
    throw storeFailure(error)
  }
  return { id, directory, lockFd }
}

/**
 * A sweep may find the directory between its making and its locking, and take it for a leftover: then once more, but not
 * before the sweep has let go of it, as it deletes by the path.
 */
async function makeAndLock(paths: EnginePaths, directory: string): Promise<number> {
  for (;;) {
    withDirectories(paths, () => makeUnlessThere(directory))
    try {
      const lockFd = lockDirectory(directory)
      if (lockFd !== undefined && fstatSync(lockFd).nlink > 0) return lockFd
      if (lockFd !== undefined) closeSync(lockFd)
      else await pause(1)
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') continue
      removeIfEmpty(directory)
      throw error
    }
  }
}

/** Of a container that could not be begun, for want of open files say; what is in it is somebody's. */
function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY'].includes(errnoOf(error) ?? '')) throw error
  }
}

function makeUnlessThere(directory: string): void {
  try {
    mkdirSync(directory, { recursive: false, mode: 0o700 })
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
  }
}

/** Runs an action; where a directory of the store is missing, makes them all and tries again. */
function withDirectories(paths: EnginePaths, action: () => void): void {
  try {
    action()
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw storeFailure(error, whereOf(paths), paths.root)
    try {
      // That of the containers last: another start that finds it finds all.
      for (const path of [paths.root, paths.names, paths.ranges, paths.layers, paths.runRoot, paths.containers]) {
        makeDirectory(path)
      }
      noteBoot(paths)
      action()
    } catch (second) {
      throw storeFailure(second, whereOf(paths), paths.root)
    }
  }
}

function whereOf(paths: EnginePaths): string {
  return paths.root === DEFAULT_ROOT ? paths.root : `${paths.root} or ${paths.runRoot}`
}

function takeName(paths: EnginePaths, name: string, id: string): void {
  const link = join(paths.names, name)
  while (!claimLink(link, id)) {
    const owner = linkOwner(link, containerIds(paths))
    if (owner !== undefined) throw nameInUse(name, owner)
    rmSync(link, { force: true })
  }
}

export function nameInUse(name: string, owner: string): TscrunError {
  const container = owner.slice(0, 12)
  return new TscrunError('NAME_IN_USE', `name ${JSON.stringify(name)}: it is in use by container ${container}`, {
    subject: name,
    hint: `remove that one (tscrun rm ${name}), or choose another name`,
  })
}

/** The name that a container is found by; undefined where it is gone. */
export function nameOf(paths: EnginePaths, id: string): string | undefined {
  const record = readRecord(paths, id)
  const isIts = (name: string): boolean => linkOwner(join(paths.names, name), [id]) === id
  if (record !== undefined && isIts(record.name)) return record.name
  return readdirSync(paths.names).find(isIts)
}

/**
 * Writes the record under another name first, so that a reader never sees half of it. That of a container which is
 * removed at its end lies in memory from its start on: after a reboot its directory has no record, and is a leftover.
 */
export function writeRecord(paths: EnginePaths, record: ContainerRecord): void {
  const inMemory = record.remove && record.unstarted !== true
  // One that a power cut had emptied would be that of a container which never was.
  replaceFile(join(inMemory ? paths.runRoot : paths.containers, record.id, RECORD), record, { durably: !inMemory })
}

/** The same at a start. The record that `create` has left on the disk goes last: until then it is not started. */
export function writeStartedRecord(paths: EnginePaths, record: ContainerRecord): void {
  writeRecord(paths, record)
  if (record.remove) rmSync(join(paths.containers, record.id, RECORD), { force: true })
}

/**
 * Changes the record of a container that may live and end meanwhile. Whoever reads it to write it anew holds the lock of
 * the directory of names for that moment, so that no change is lost. Undefined where there is none.
 */
export function changeRecord(
  paths: EnginePaths,
  id: string,
  change: (record: ContainerRecord) => ContainerRecord,
): ContainerRecord | undefined {
  return withRecordLock(paths, () => {
    const record = readRecord(paths, id)
    if (record === undefined) return undefined
    const changed = change(record)
    writeRecord(paths, changed)
    return changed
  })
}

/** For the moment in which a record or a name is changed. */
export function withRecordLock<T>(paths: EnginePaths, action: () => T): T {
  const fd = openSync(paths.names, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    syscall('flock', [fd, LOCK_EX], paths.names)
    return action()
  } finally {
    closeSync(fd)
  }
}

function replaceFile(path: string, content: unknown, { durably = false } = {}): void {
  try {
    writeFileSync(`${path}.new`, `${JSON.stringify(content)}\n`, { mode: 0o600, flush: durably })
    renameSync(`${path}.new`, path)
  } catch (error) {
    rmSync(`${path}.new`, { force: true })
    throw storeFailure(error, path)
  }
}

const RECORD = 'container.json'

/** Undefined where there is none (a container half made, or gone). */
export function readRecord(paths: EnginePaths, id: string): ContainerRecord | undefined {
  const record = readJson(join(paths.containers, id, RECORD)) ?? readJson(join(paths.runRoot, id, RECORD))
  return record as ContainerRecord | undefined
}

export function writeLiveState(paths: EnginePaths, state: LiveState): void {
  replaceFile(join(paths.runRoot, state.id, 'state.json'), state)
}

export function readLiveState(paths: EnginePaths, id: string): LiveState | undefined {
  return readJson(join(paths.runRoot, id, 'state.json')) as LiveState | undefined
}

function readJson(path: string): unknown {
  try {
    return readJsonFile(path)
  } catch (error) {
    throw new TscrunError('STORE', `read ${path}: ${(error as Error).message}`, {
      subject: path,
      hint: '`tscrun system check` looks the store over',
      cause: error,
    })
  }
}

/** What a container has taken from others. */
export type Holdings = Pick<ContainerRecord, 'name' | 'idRange' | 'connections' | 'mounts'>

/**
 * Takes a container off the disk, with its anonymous volumes unless these are to stay. The caller holds its lock; its
 * processes have ended.
 */
export function deleteContainer(
  paths: EnginePaths,
  held: HeldContainer,
  record: Holdings | undefined,
  anonymousVolumes = true,
): void {
  releaseHoldings(paths, held, record, anonymousVolumes)
  // First: once the other directory is gone, so is the lock, and a container of this id may be made anew.
  removeRunDirectory(paths, held)
  removeFiles(held)
  unlock(held)
}

/**
 * The same but for the run directory, by which the next command finds what a monitor that still takes down cgroup and
 * mounts may leave; `forgetRun` is what follows.
 */
export function deleteFiles(paths: EnginePaths, held: HeldContainer, record: Holdings): void {
  releaseHoldings(paths, held, record, true)
  removeFiles(held)
}

/**
 * Nobody of it is alive, and nothing is left.
 *
 * @param deleted its directory is gone: the disk has it back with the last descriptor, 0.4 ms on ext4, in another thread
 */
export function forgetRun(paths: EnginePaths, held: HeldContainer, deleted = false): void {
  removeRunDirectory(paths, held)
  if (deleted && !unlocked.has(held)) close(held.lockFd, rethrow)
  else unlock(held)
  unlocked.add(held)
}

function releaseHoldings(
  paths: EnginePaths,
  held: HeldContainer,
  record: Holdings | undefined,
  anonymousVolumes: boolean,
): void {
  if (record !== undefined) {
    releaseVolumes(paths, held.id, record.mounts, anonymousVolumes)
    if (!releaseLink(join(paths.names, record.name), held.id)) releaseNames(paths, held.id)
    if (record.idRange !== undefined) releaseRange(paths.ranges, held.id, record.idRange)
    if (record.connections !== undefined) releaseConnections(paths, held.id, record.connections)
  }
}

function removeRunDirectory(paths: EnginePaths, { id }: HeldContainer): void {
  removeTree(join(paths.runRoot, id), ['state.json', RECORD])
}

function removeFiles({ directory }: HeldContainer): void {
  removeTree(directory, [
    RECORD,
    'work/incompat/volatile',
    'work/incompat',
    'work/work',
    'work',
    'upper',
    'lower',
    'scratch',
  ])
}

/** Somebody has given it another name meanwhile, or its name is gone already. */
function releaseNames(paths: EnginePaths, id: string): void {
  for (const name of readdirSync(paths.names)) releaseLink(join(paths.names, name), id)
}

function rethrow(error: Error | null): void {
  if (error !== null) throw error
}

/** Once: a failure on the way out may lead here twice, and the number may be another file's by then. */
function unlock(held: HeldContainer): void {
  if (!unlocked.has(held)) closeSync(held.lockFd)
  unlocked.add(held)
}

const unlocked = new WeakSet<HeldContainer>()

/** Takes what a container usually leaves by its names, which is ten times as fast as looking for it. */
function removeTree(directory: string, usual: readonly string[]): void {
  if (removeOne(directory, 'directory')) return
  for (const name of usual) removeOne(join(directory, name), name.endsWith('.json') ? 'file' : 'directory')
  if (!removeOne(directory, 'directory')) rmSync(directory, { recursive: true, force: true })
}

const AT_REMOVEDIR = 0x200
const STILL_THERE = ['ENOTEMPTY', 'ENOTDIR', 'EISDIR']

/** Whether it is gone. Asked of the kernel directly: each "not empty" or "not there" of node:fs is an exception, 15 us. */
function removeOne(path: string, kind: 'file' | 'directory'): boolean {
  const result = trySyscall('unlinkat', [AT_FDCWD, cString(path), kind === 'directory' ? AT_REMOVEDIR : 0])
  if (result === 0) return true
  const errno = errnoName(-result)
  if (errno === 'ENOENT') return true
  if (STILL_THERE.includes(errno)) return false
  throw new SyscallError(kind === 'directory' ? 'rmdir' : 'unlink', -result, path)
}

/**
 * Notes how a container ended; it is no longer among the live ones. Where that cannot be written (NO_SPACE) it stays a
 * leftover that nobody holds, which the next command puts right.
 */
export function finishContainer(
  paths: EnginePaths,
  held: HeldContainer,
  record: ContainerRecord,
  exit: ExitRecord,
): void {
  try {
    noteExit(paths, held, record, exit)
    rmSync(join(paths.runRoot, held.id), { recursive: true, force: true })
  } finally {
    unlock(held)
  }
}

/** The same, but it stays among the live ones until `forgetRun`. */
export function noteExit(paths: EnginePaths, { id }: HeldContainer, record: ContainerRecord, exit: ExitRecord): void {
  // As it is now: it may have been renamed or updated while it ran.
  withRecordLock(paths, () => {
    const { unstarted: _unstarted, ...now } = readRecord(paths, id) ?? record
    writeRecord(paths, { ...now, exit })
  })
}

export function containerIds(paths: EnginePaths): string[] {
  return idsIn(paths.containers)
}

/** Those that were running when somebody last looked: few, and quick to list. */
export function liveIds(paths: EnginePaths): string[] {
  return idsIn(paths.runRoot)
}

function idsIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => ID.test(name))
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT') return []
    if (errno === 'EACCES') {
      throw new TscrunError('PERMISSION_DENIED', `read ${directory}: permission denied (EACCES)`, {
        errno,
        subject: directory,
        hint: 'run it as root',
      })
    }
    throw error
  }
}
