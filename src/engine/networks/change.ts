import { join } from 'node:path'
import { TscrunError } from '../../model/errors.ts'
import type { ContainerLink } from '../../model/launch.ts'
import type { NetworkConnection, NetworkDefinition, NetworkRequest } from '../../model/network.ts'
import { CHANGED, plugSteps, unplugSteps } from '../../plan/network-change.ts'
import { makeByStage } from '../../runtime/run-steps.ts'
import { closeFd } from '../../syscall/process.ts'
import { hasMonitor, tellMonitor } from '../live/changed.ts'
import { networkEvent, writeEvents } from '../events/log.ts'
import type { EnginePaths } from '../paths.ts'
import { changeRecord } from '../state/containers.ts'
import { type ContainerView, findContainer, noSuchContainer } from '../state/containers-view.ts'
import type { ContainerRecord } from '../state/record.ts'
import { changeFiles, withChangedFiles } from './changed-files.ts'
import { definitionOf, takeConnection } from './connect.ts'
import { bringUp, lockNetworks } from './host.ts'
import { networkOf } from './launch.ts'
import { releaseConnections } from './lease-links.ts'
import { networkOfRecord } from './of-record.ts'

/**
 * Connects a container that is there to one more network: now, if it runs, and for its further lives. Throws
 * CONTAINER_STATE where it has no network of its own or has that one, NO_SUCH_NETWORK, ADDRESS_IN_USE, USAGE; then nothing
 * has changed.
 */
export async function connectContainer(
  paths: EnginePaths,
  idOrName: string,
  request: NetworkRequest,
  tell: (line: string) => void,
): Promise<void> {
  const definition = await definitionOf(paths, request.name)
  const seen = findContainer(paths, idOrName)
  checkChangeable(paths, seen, `network connect ${definition.name} ${idOrName}`)
  checkLinks(`network connect ${definition.name} ${idOrName}`, [
    definition,
    ...(seen.record.connections ?? []).map((connection) => networkOf(paths, connection)),
  ])
  await bringUp(paths, [definition], tell)
  using _lock = await lockNetworks(paths)
  const { record, live } = findContainer(paths, idOrName)
  const { connections = [] } = record
  if (connections.some(({ networkId }) => networkId === definition.id)) {
    throw new TscrunError(
      'CONTAINER_STATE',
      `network connect ${definition.name} ${idOrName}: it is connected already`,
      {
        subject: idOrName,
        hint: `\`tscrun network disconnect ${definition.name} ${idOrName}\` takes it from there`,
      },
    )
  }
  const connection = takeConnection(paths, record, freeNumber(connections), request, definition)
  try {
    const next = withConnections(record, [...connections, connection])
    if (live !== undefined) {
      const link = linksOf(paths, next).find(({ name }) => name === connection.link)
      if (link !== undefined) runSteps(record, plugSteps(running(paths, record), link))
    }
    await settle(paths, record, { come: [connection], gone: [] }, live !== undefined)
    tellEvent(paths, 'connect', record, connection)
  } catch (error) {
    releaseConnections(paths, record.id, [connection])
    throw error
  }
}

function checkLinks(what: string, networks: readonly NetworkDefinition[]): void {
  const linkless = networks.find(({ driver }) => driver === 'none')
  if (linkless === undefined) return
  throw new TscrunError('USAGE', `${what}: network ${linkless.name} has no links`, {
    subject: linkless.name,
    hint: 'its driver is none: make the container with the networks it shall have',
  })
}

/** The other way. Throws CONTAINER_STATE where it is not connected, or published ports lead there. */
export async function disconnectContainer(paths: EnginePaths, idOrName: string, network: string): Promise<void> {
  const what = `network disconnect ${network} ${idOrName}`
  checkChangeable(paths, findContainer(paths, idOrName), what)
  using _lock = await lockNetworks(paths)
  const { record, live } = findContainer(paths, idOrName)
  const { connections = [], ports = [] } = record
  const connection = connections.find((one) => one.network === network || one.networkId.startsWith(network))
  if (connection === undefined) {
    throw new TscrunError('CONTAINER_STATE', `${what}: it is not connected to it`, {
      subject: idOrName,
      hint: `\`tscrun inspect ${idOrName}\` tells its networks`,
    })
  }
  if (ports.length > 0 && connection === connections[0]) {
    throw new TscrunError('CONTAINER_STATE', `${what}: its published ports lead there`, {
      subject: idOrName,
      hint: 'make it anew without the network, or without the ports',
    })
  }
  const rest = connections.filter((one) => one !== connection)
  if (live !== undefined) {
    const wasWayOut = linksOf(paths, record).some(
      ({ name, gateways }) => name === connection.link && gateways.length > 0,
    )
    const next = wasWayOut ? linksOf(paths, withConnections(record, rest)).find(isWayOut) : undefined
    runSteps(record, unplugSteps(running(paths, record), connection.link, next))
  }
  await settle(paths, record, { come: [], gone: [connection] }, live !== undefined)
  releaseConnections(paths, record.id, [connection])
  tellEvent(paths, 'disconnect', record, connection)
}

function tellEvent(
  paths: EnginePaths,
  action: 'connect' | 'disconnect',
  { id }: ContainerRecord,
  { network, networkId }: NetworkConnection,
): void {
  writeEvents(paths, [networkEvent(action, networkId, { container: id, name: network })])
}

const isWayOut = ({ gateways }: ContainerLink): boolean => gateways.length > 0

/** What comes and what goes of a container's connections. */
export interface ConnectionChange {
  readonly come: readonly NetworkConnection[]
  readonly gone: readonly NetworkConnection[]
}

/** Record, files and names follow. */
async function settle(
  paths: EnginePaths,
  { id, name }: ContainerRecord,
  change: ConnectionChange,
  runs: boolean,
): Promise<void> {
  const gone = new Set(change.gone.map(({ networkId }) => networkId))
  const changed = changeRecord(paths, id, (now) => {
    const kept = (now.connections ?? []).filter(({ networkId }) => !gone.has(networkId))
    return withChangedFiles(withConnections(now, [...kept, ...change.come]), change)
  })
  if (changed === undefined) throw noSuchContainer(name)
  if (!runs) return
  await tellMonitor(paths, changed)
  changeFiles(running(paths, changed), changed, change)
}

function withConnections(record: ContainerRecord, connections: readonly NetworkConnection[]): ContainerRecord {
  const network = connections.length === 0 ? record.network : connections.map((one) => one.network).join(',')
  return { ...record, network, connections }
}

function linksOf(paths: EnginePaths, record: ContainerRecord): readonly ContainerLink[] {
  return networkOfRecord(paths, record)?.links ?? []
}

function running(paths: EnginePaths, { id, name }: ContainerRecord): { readonly name: string; readonly state: string } {
  return { name, state: join(paths.runRoot, id, 'state.json') }
}

function runSteps({ name }: ContainerRecord, steps: Parameters<typeof makeByStage>[0]): void {
  closeFd(makeByStage(steps, CHANGED, `tscrun: ${name}`))
}

/** The least that no link of it has. */
function freeNumber(connections: readonly NetworkConnection[]): number {
  const taken = new Set(connections.map(({ link }) => link))
  for (let number = 0; ; number++) if (!taken.has(`eth${number}`)) return number
}

/** Throws CONTAINER_STATE for one whose networks cannot be changed. */
function checkChangeable(paths: EnginePaths, { record, status, live }: ContainerView, what: string): void {
  const failure = (reason: string, hint: string): TscrunError =>
    new TscrunError('CONTAINER_STATE', `${what}: ${reason}`, { subject: record.name, hint })
  if (record.cni !== undefined) throw failure('plugins made its networks (cni:)', 'make it anew')
  if (record.connections === undefined) {
    throw failure(`it has no network of its own (--network ${record.network})`, 'make it anew with --network NAME')
  }
  const runs = status === 'running' || status === 'paused'
  if (runs && (live === undefined || !hasMonitor(paths, record.id))) {
    throw failure('it runs in the foreground', 'name all its networks at its start, or run it with -d')
  }
}
