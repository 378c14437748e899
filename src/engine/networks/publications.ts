import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../../model/errors.ts'
import type { Publication } from '../../network/firewall.ts'
import { liveIds } from '../state/containers.ts'
import type { EnginePaths } from '../paths.ts'

/** In a container's run directory, from before its start to its end: which ports lead to it. */
const FILE = 'ports.json'

/** Of all containers that run or are about to. */
export function publications(paths: EnginePaths): Publication[] {
  return liveIds(paths).flatMap((id) => {
    try {
      return JSON.parse(readFileSync(join(paths.runRoot, id, FILE), 'utf8')) as Publication[]
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return []
      throw error
    }
  })
}

export function notePublications(paths: EnginePaths, id: string, ports: readonly Publication[]): void {
  writeFileSync(join(paths.runRoot, id, FILE), JSON.stringify(ports), { mode: 0o600 })
}
