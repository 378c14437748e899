import { lstatSync, readlinkSync } from 'node:fs'
import { errnoOf } from '../../model/errors.ts'
import { isBegunTag } from './owner-link.ts'

/**
 * A container that is begun before it is wanted (prepared/ahead.ts) has a cgroup and addresses, and nothing else that
 * could be found; it gives them back itself, unless it is killed.
 */
export const BEGUN_MS = 10_000

/** Whether a link of no container that is known may hold an address of one that is begun. */
export function isBegun(link: string): boolean {
  try {
    return isBegunTag(readlinkSync(link)) && Date.now() - lstatSync(link).mtimeMs <= BEGUN_MS
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    return false
  }
}
