import { existsSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { OciConfig } from '../model/config.ts'
import { errnoOf } from '../model/errors.ts'
import { RESCTRL, resctrlMonitor, resctrlPath } from '../plan/outside.ts'

/**
 * The directory that `create` makes for linux.intelRdt, and `delete` removes: the group, with what is in it, or what
 * counts the container in a group that was there before. Undefined where nothing is made.
 */
export function resctrlGroup(id: string, { linux }: OciConfig): string | undefined {
  const { intelRdt } = linux ?? {}
  if (intelRdt === undefined) return undefined
  const group = join(RESCTRL, resctrlPath(id, intelRdt))
  if (!existsSync(group)) return group
  const monitor = resctrlMonitor(id, intelRdt)
  return monitor === undefined ? undefined : join(group, monitor)
}

/** Its processes go back to the root group. */
export function removeResctrlGroup(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}
