import { rmSync } from 'node:fs'
import { TscrunError } from '../../model/errors.ts'
import { removePorts } from '../../network/firewall.ts'
import type { EnginePaths } from '../paths.ts'
import { applyRules } from './nft.ts'
import { publicationPath, takenBackPath } from './publication-path.ts'
import { readPublications } from './publications.ts'

/** Takes the ports of a container out of the firewall whose monitor cannot do it any more. */
export async function takeBack(paths: EnginePaths, id: string): Promise<void> {
  const places = [publicationPath(paths, id), takenBackPath(paths, id)]
  const [ports = []] = places.map(readPublications).filter((found) => found.length > 0)
  for (const path of places) rmSync(path, { force: true })
  try {
    if (ports.length > 0) await applyRules(removePorts(ports))
  } catch (error) {
    // The table was flushed, or another container has the port by now: there is nothing of this one's.
    if (!(error instanceof TscrunError)) throw error
  }
}
