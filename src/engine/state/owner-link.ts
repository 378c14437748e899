import { readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { storeFailure } from './store-failure.ts'

/**
 * A name or a range of ids that only one container can have: a link that says whose it is. It holds the first half of
 * the id, since up to 59 bytes a link lies in its inode, and a longer one costs ext4 a block to make and to free.
 */
const TAG = 32

/** What such a link says. */
export function ownerTag(id: string): string {
  return id.slice(0, TAG)
}

/** The same of a container that is begun before it is wanted, and has no directory yet that could be found. */
export function begunTag(id: string): string {
  return `${ownerTag(id)}+`
}

/** Whether it says so. */
export function isBegunTag(tag: string): boolean {
  return tag.endsWith('+')
}

/** Whose it is, as `ownerTag` says it; undefined where there is no such link. */
export function tagOf(path: string): string | undefined {
  try {
    return readlinkSync(path).slice(0, TAG)
  } catch (error) {
    if (['ENOENT', 'EINVAL', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined
    throw error
  }
}

/** Takes it for a container; false if it is taken. */
export function claimLink(path: string, id: string, begun = false): boolean {
  try {
    symlinkSync(begun ? begunTag(id) : ownerTag(id), path)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false
    throw storeFailure(error, path)
  }
}

/** Whose it is among `ids`; undefined where its container is gone, or it was given back meanwhile. */
export function linkOwner(path: string, ids: readonly string[]): string | undefined {
  const tag = tagOf(path)
  return tag === undefined ? undefined : ids.find((id) => id.startsWith(tag))
}

/** Gives it back; false where it is not this container's (any more). */
export function releaseLink(path: string, id: string): boolean {
  try {
    if (tagOf(path) !== ownerTag(id)) return false
    unlinkSync(path)
    return true
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}
