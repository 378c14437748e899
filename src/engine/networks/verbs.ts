import { rmSync } from 'node:fs'
import { TscrunError } from '../../model/errors.ts'
import type { PublishedPort } from '../../model/launch.ts'
import type { NetworkRequest, NetworkDefinition } from '../../model/network.ts'
import { containerIds, readRecord } from '../state/containers.ts'
import { findContainer } from '../state/containers-view.ts'
import { networkEvent, writeEvents } from '../events/log.ts'
import type { EnginePaths } from '../paths.ts'
import type { ContainerRecord } from '../state/record.ts'
import { connectContainer, disconnectContainer } from './change.ts'
import { createNetwork, type CreateNetworkOptions } from './create.ts'
import { DEFAULT_NETWORK, findNetwork, listNetworks, removeDefinition } from './definitions.ts'
import { matchesNetwork, type NetworkFilter } from './filter.ts'
import { deleteBridge, lockNetworks, reload } from './host.ts'
import { leasesDirectory } from './lease-links.ts'

/** A network, and who is connected to it. */
export interface NetworkView extends NetworkDefinition {
  readonly containers: readonly ConnectedContainer[]
}

export interface ConnectedContainer {
  readonly id: string
  readonly name: string
  readonly mac: string
  readonly ip?: string
  readonly ip6?: string
}

/** What can be done with networks. */
export interface NetworkVerbs {
  /** Defines one; what of it is the host's is made for its first container. Rejects with NETWORK_IN_USE, USAGE. */
  create(options: CreateNetworkOptions): Promise<NetworkDefinition>
  list(filter?: NetworkFilter): Promise<readonly NetworkView[]>
  /** By its name, or a beginning of its id. Rejects with NO_SUCH_NETWORK. */
  get(nameOrId: string): Promise<NetworkView>
  /** With its bridge; containers that are connected keep it. Rejects with NETWORK_IN_USE. */
  remove(nameOrId: string): Promise<string>
  /** Removes those that no container has; resolves to their names. */
  prune(filter?: NetworkFilter): Promise<readonly string[]>
  /** One more network for a container, running or not. Rejects with CONTAINER_STATE, NO_SUCH_NETWORK, ADDRESS_IN_USE. */
  connect(idOrName: string, request: NetworkRequest, tell?: (line: string) => void): Promise<void>
  /** The other way. Rejects with CONTAINER_STATE. */
  disconnect(idOrName: string, network: string): Promise<void>
  /** Makes bridges and rules anew, as after somebody has flushed the firewall. */
  reload(tell?: (line: string) => void): Promise<void>
  /** Ports of the host that lead to a container. Rejects with NO_SUCH_CONTAINER. */
  ports(idOrName: string): Promise<readonly PublishedPort[]>
}

export function networkVerbs(paths: EnginePaths): NetworkVerbs {
  return {
    create: (options) => createNetwork(paths, options),
    list: async (filter = {}) =>
      Promise.resolve(views(paths, listNetworks(paths)).filter((network) => matchesNetwork(network, filter))),
    get: async (nameOrId) => Promise.resolve(viewOf(paths, findNetwork(paths, nameOrId))),
    remove: (nameOrId) => removeNetwork(paths, nameOrId),
    prune: (filter = {}) => pruneNetworks(paths, filter),
    connect: (idOrName, request, tell = () => undefined) => connectContainer(paths, idOrName, request, tell),
    disconnect: (idOrName, network) => disconnectContainer(paths, idOrName, network),
    reload: async (tell = () => undefined) => void (await reload(paths, tell)),
    ports: async (idOrName) => Promise.resolve(findContainer(paths, idOrName).record.ports ?? []),
  }
}

function viewOf(paths: EnginePaths, definition: NetworkDefinition): NetworkView {
  const [view] = views(paths, [definition])
  return view ?? { ...definition, containers: [] }
}

function views(paths: EnginePaths, definitions: readonly NetworkDefinition[]): NetworkView[] {
  const records = containerIds(paths).flatMap((id) => readRecord(paths, id) ?? [])
  return definitions.map((definition) => ({
    ...definition,
    containers: records.flatMap((record) => connectionOf(record, definition.id)),
  }))
}

function connectionOf({ id, name, connections = [] }: ContainerRecord, networkId: string): ConnectedContainer[] {
  return connections
    .filter((connection) => connection.networkId === networkId)
    .map(({ mac, ip, ip6 }) => ({
      id,
      name,
      mac,
      ...(ip === undefined ? {} : { ip }),
      ...(ip6 === undefined ? {} : { ip6 }),
    }))
}

async function removeNetwork(paths: EnginePaths, nameOrId: string): Promise<string> {
  using _lock = await lockNetworks(paths)
  const { containers, ...definition } = viewOf(paths, findNetwork(paths, nameOrId))
  if (containers.length > 0) {
    const names = containers.map(({ name }) => name).join(', ')
    throw new TscrunError('NETWORK_IN_USE', `network ${definition.name}: containers have it: ${names}`, {
      subject: definition.name,
      hint: 'remove them first (tscrun rm)',
    })
  }
  remove(paths, definition)
  return definition.name
}

/** The definition goes first: a bridge without one is nothing that a start would trust. */
function remove(paths: EnginePaths, network: NetworkDefinition): void {
  const { name, id, driver, link } = network
  removeDefinition(paths, name)
  if (driver === 'bridge') deleteBridge(link)
  rmSync(leasesDirectory(paths, { id }), { recursive: true, force: true })
  writeEvents(paths, [networkEvent('destroy', id, { name, type: driver })])
}

async function pruneNetworks(paths: EnginePaths, filter: NetworkFilter): Promise<string[]> {
  using _lock = await lockNetworks(paths)
  const unused = views(paths, listNetworks(paths)).filter(
    (network) => network.name !== DEFAULT_NETWORK && network.containers.length === 0 && matchesNetwork(network, filter),
  )
  for (const network of unused) remove(paths, network)
  return unused.map(({ name }) => name)
}
