import { closeSync, mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { AT_FDCWD, cString, trySyscall } from '../../syscall/call.ts'
import { errnoName, SyscallError } from '../../syscall/errno.ts'
import { pause } from '../../syscall/pause.ts'
import { lockDirectory } from '../state/containers.ts'
import { type IdRange, leaveRange, removeIfEmpty } from './id-range.ts'
import { ownerTag } from '../state/owner-link.ts'
import { storeFailure } from '../state/store-failure.ts'

/**
 * A range of ids belongs to one container: `ranges/<first id>` is a link with that one's tag. Who joins the container's
 * user namespace owns files in the same range, so the range must stay taken until the last of them is removed. Then
 * `ranges/<first id>` is a directory with a link for each, and it goes when it is empty. The kernel sees to it that
 * nothing falls between: the link becomes the directory by one exchange, and a directory that is not empty does not go.
 */

const RENAME_EXCHANGE = 2
const PATIENCE_MS = 10_000

/**
 * Makes the range of the container `target` that of `id`, too. Throws NO_SUCH_CONTAINER where the other one has just been
 * removed.
 */
export async function shareRange(directory: string, range: IdRange, target: string, id: string): Promise<void> {
  const path = join(directory, String(range.hostId))
  // One at a time: what is exchanged must be a link still.
  const lockFd = await lock(directory)
  try {
    for (let tries = 0; tries < 3; tries++) if (tryShare(directory, path, target, id)) return
  } catch (error) {
    throw storeFailure(error, path)
  } finally {
    closeSync(lockFd)
  }
  throw new TscrunError('NO_SUCH_CONTAINER', `container ${target.slice(0, 12)}: it is being removed`, {
    subject: target,
    hint: '`tscrun ps -a` lists those that are there',
  })
}

async function lock(directory: string): Promise<number> {
  for (let waited = 0; waited < PATIENCE_MS; waited += 5) {
    const fd = lockDirectory(directory)
    if (fd !== undefined) return fd
    await pause(5)
  }
  throw new TscrunError('STORE', `lock ${directory}: another command holds it`, { subject: directory })
}

function tryShare(directory: string, path: string, target: string, id: string): boolean {
  const entry = join(path, ownerTag(id))
  try {
    symlinkSync(ownerTag(id), entry)
  } catch (error) {
    // Below a link there is nothing.
    if (errnoOf(error) === 'ENOENT') return exchange(directory, path, target, id)
    throw error
  }
  if (entries(path).includes(ownerTag(target))) return true
  leaveRange(path, id)
  return false
}

/** The link of the one becomes the directory of both. */
function exchange(directory: string, path: string, target: string, id: string): boolean {
  const made = join(directory, `new.${ownerTag(id)}`)
  mkdirSync(made, { mode: 0o700 })
  try {
    for (const owner of [target, id]) symlinkSync(ownerTag(owner), join(made, ownerTag(owner)))
    const result = trySyscall('renameat2', [AT_FDCWD, cString(made), AT_FDCWD, cString(path), RENAME_EXCHANGE])
    if (result < 0 && errnoName(-result) === 'ENOENT') return false
    if (result < 0) throw new SyscallError('renameat2', -result, path)
    const before = linkOrDirectory(made)
    if (before === ownerTag(target)) return true
    // Another one's since: it gets what it had, and we nothing.
    symlinkSync(before, join(path, before))
    leaveRange(path, target)
    leaveRange(path, id)
    return false
  } finally {
    rmSync(made, { recursive: true, force: true })
  }
}

function linkOrDirectory(path: string): string {
  try {
    return readlinkSync(path)
  } catch (error) {
    const errno = errnoOf(error)
    // Gone meanwhile, it needs nothing either.
    if (errno === 'EINVAL' || errno === 'ENOENT') return 'directory'
    throw error
  }
}

function entries(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return []
    throw error
  }
}

/** Ranges of containers that are gone: killed between two deletions. `ids` lists those that are there. */
export function releaseOrphanRanges(directory: string, ids: () => readonly string[]): void {
  const known = new Set(ids().map(ownerTag))
  // One that has come since is asked for again.
  const isGone = (tag: string): boolean => !known.has(tag) && !ids().map(ownerTag).includes(tag)
  for (const name of entries(directory)) {
    const path = join(directory, name)
    const unfinished = name.startsWith('new.')
    // One that is still being made is its maker's.
    if (unfinished && isGone(name.slice('new.'.length))) rmSync(path, { recursive: true, force: true })
    if (unfinished) continue
    const owner = linkOrDirectory(path)
    if (owner !== 'directory' && isGone(owner)) rmSync(path, { force: true })
    if (owner !== 'directory') continue
    for (const tag of entries(path)) if (isGone(tag)) rmSync(join(path, tag), { force: true })
    removeIfEmpty(path)
  }
}
