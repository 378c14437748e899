import { join } from 'node:path'
import type { EnginePaths } from '../paths.ts'

/** In a container's run directory: which ports lead to it. */
export function publicationPath({ runRoot }: EnginePaths, id: string): string {
  return join(runRoot, id, 'ports.json')
}

/** The same while its monitor takes them back: rules that are made anew have them no more, but somebody may have to end it. */
export function takenBackPath(paths: EnginePaths, id: string): string {
  return `${publicationPath(paths, id)}.taken-back`
}
