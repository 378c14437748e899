import { join } from 'node:path'
import type { EnginePaths } from '../paths.ts'

/** Where the monitor of a container listens. */
export function monitorSocket(paths: EnginePaths, id: string): string {
  return join(paths.runRoot, id, 'monitor')
}
