import { join } from 'node:path'
import type { EnginePaths } from '../paths.ts'

/** In a container's run directory: which ports lead to it. */
export function publicationPath({ runRoot }: EnginePaths, id: string): string {
  return join(runRoot, id, 'ports.json')
}
