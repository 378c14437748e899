import { readFileSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import type { PublishedPort } from '../../model/launch.ts'
import type { Publication } from '../../network/firewall.ts'
import { liveIds, readRecord } from '../state/containers.ts'
import type { EnginePaths } from '../paths.ts'
import { publicationPath, takenBackPath } from './publication-path.ts'

/** Of all containers that run or are about to. */
export function publications(paths: EnginePaths): Publication[] {
  return liveIds(paths).flatMap((id) => readPublications(publicationPath(paths, id)))
}

export function readPublications(path: string): Publication[] {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Publication[]
  } catch (error) {
    // One that is being written: its ports are added behind it.
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return []
    throw error
  }
}

/**
 * The file that a container's monitor makes before it adds its ports to the firewall, and deletes before it removes them: so
 * whoever has made the rules anew sees by another look what has come or gone meanwhile.
 */
export function publicationNote(
  paths: EnginePaths,
  id: string,
  ports: readonly Publication[],
): { readonly path: string; readonly takenBack: string; readonly text: string } {
  return { path: publicationPath(paths, id), takenBack: takenBackPath(paths, id), text: JSON.stringify(ports) }
}

/** Those of one list that another one has not. */
export function publicationsBut(list: readonly Publication[], other: readonly Publication[]): Publication[] {
  const known = new Set(other.map((port) => JSON.stringify(port)))
  return list.filter((port) => !known.has(JSON.stringify(port)))
}

/** Throws ADDRESS_IN_USE where another container has one of these ports of the host. */
export function checkPorts(paths: EnginePaths, id: string, ports: readonly PublishedPort[]): void {
  for (const other of liveIds(paths)) {
    const taken = other === id ? [] : readPublications(publicationPath(paths, other))
    const port = ports.find((wanted) => taken.some((has) => isSame(wanted, has)))
    if (port === undefined) continue
    const name = readRecord(paths, other)?.name ?? other.slice(0, 12)
    throw new TscrunError(
      'ADDRESS_IN_USE',
      `publish port ${port.hostPort}/${port.protocol}: container ${name} has it`,
      {
        subject: String(port.hostPort),
        hint: `publish another port, or stop that one (tscrun stop ${name})`,
      },
    )
  }
}

function isSame(one: PublishedPort, other: PublishedPort): boolean {
  const meet = one.hostIp === undefined || other.hostIp === undefined || one.hostIp === other.hostIp
  return meet && one.protocol === other.protocol && one.hostPort === other.hostPort
}
