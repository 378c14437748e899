import { existsSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { OciConfig } from '../model/config.ts'
import { errnoOf } from '../model/errors.ts'
import { RESCTRL } from '../plan/outside.ts'

/** The directory that linux.intelRdt makes (config-linux.md, IntelRdt); undefined where it is there, or none is made. */
export function resctrlGroup({ linux }: OciConfig): string | undefined {
  const { closID } = linux?.intelRdt ?? {}
  if (closID === undefined || closID === '/') return undefined
  const path = join(RESCTRL, closID)
  return existsSync(path) ? undefined : path
}

/** Its processes go back to the root group. */
export function removeResctrlGroup(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}
