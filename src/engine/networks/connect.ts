import { parseIp } from '../../model/ip.ts'
import type { NetworkLaunch, PublishedPort } from '../../model/launch.ts'
import { TscrunError } from '../../model/errors.ts'
import type { NetworkConnection, NetworkDefinition, NetworkRate, NetworkRequest } from '../../model/network.ts'
import { freePort } from '../../network/free-port.ts'
import type { Called } from '../../network/names.ts'
import type { EnginePaths } from '../paths.ts'
import type { Look } from '../start/look.ts'
import { defaultNetwork } from './default.ts'
import { DEFAULT_NETWORK, findNetwork, readNetwork } from './definitions.ts'
import { bringUp, macOf } from './host.ts'
import { type Connected, launchIn, networkOf } from './launch.ts'
import { releaseConnections } from './lease-links.ts'
import { releaseAddress, takeAddress, type Taker } from './leases.ts'

export interface ConnectOptions {
  readonly networks: readonly NetworkRequest[]
  readonly ports: readonly PublishedPort[]
  readonly resolvers?: readonly string[]
}

/**
 * Gives a new container its addresses, until it is removed. Nothing of the host is touched.
 * Throws NO_SUCH_NETWORK, ADDRESS_IN_USE, USAGE; then nothing is taken.
 */
export async function takeConnections(paths: EnginePaths, id: string, options: ConnectOptions): Promise<Connected> {
  const connections: NetworkConnection[] = []
  try {
    for (const [index, request] of options.networks.entries()) {
      const network = await definitionOf(paths, request.name)
      if (network.driver === 'none') checkLinkless(network, request, options)
      connections.push(takeConnection(paths, { id }, index, request, network))
    }
    const { resolvers } = options
    return {
      connections,
      ports: withHostPorts(options.ports),
      ...(resolvers === undefined ? {} : { resolvers }),
    }
  } catch (error) {
    releaseConnections(paths, id, connections)
    throw error
  }
}

/** What it cannot have is an error and not passed over. */
function checkLinkless(
  { name }: NetworkDefinition,
  request: NetworkRequest,
  { networks, ports }: ConnectOptions,
): void {
  const { name: _name, ...asked } = request
  if (networks.length === 1 && ports.length === 0 && Object.keys(asked).length === 0) return
  throw new TscrunError('USAGE', `network ${name} (none): it has no links, addresses or ports`, {
    subject: name,
    hint: 'name it alone, or join a network of another driver',
  })
}

/** The default network is made when it is first asked for. */
export async function definitionOf(paths: EnginePaths, name: string): Promise<NetworkDefinition> {
  return name === DEFAULT_NETWORK ? defaultNetwork(paths) : findNetwork(paths, name)
}

/** @param index the link's number: 0 is eth0 */
export function takeConnection(
  paths: EnginePaths,
  taker: Taker,
  index: number,
  request: NetworkRequest,
  network: NetworkDefinition,
): NetworkConnection {
  const ip = takeAddress(paths, network, 4, taker, request.ip)
  try {
    const ip6 = takeAddress(paths, network, 6, taker, request.ip6)
    return {
      network: network.name,
      networkId: network.id,
      link: `eth${index}`,
      mac: request.mac ?? macOf(taker.id, index),
      ...(ip === undefined ? {} : { ip }),
      ...(ip6 === undefined ? {} : { ip6 }),
      ...gatewayOf(network),
      aliases: request.aliases ?? [],
      ...(request.rate === undefined ? {} : { rate: heldRate(request, network) }),
    }
  } catch (error) {
    if (ip !== undefined) releaseAddress(paths, network.id, ip, taker.id)
    throw error
  }
}

/**
 * A connection for another container of the same request, with addresses of as many letters; undefined where there is
 * none, or the network has gone. Then nothing is taken.
 */
export function takeLike(
  paths: EnginePaths,
  id: string,
  [like]: readonly NetworkConnection[],
): readonly NetworkConnection[] | undefined {
  if (like === undefined) return []
  const { aliases, rate } = like
  const network = readNetwork(paths, like.network)
  if (network?.id !== like.networkId) return undefined
  try {
    const request = { name: network.name, aliases, ...(rate === undefined ? {} : { rate }) }
    const taken = takeConnection(paths, { id, begun: true }, 0, request, network)
    if (taken.ip?.length === like.ip?.length && taken.ip6?.length === like.ip6?.length) return [taken]
    releaseConnections(paths, id, [taken])
  } catch (error) {
    if (!(error instanceof TscrunError) || error.code !== 'ADDRESS_IN_USE') throw error
  }
  return undefined
}

/** Whether the networks are still those that these were taken in. */
export function areThere(paths: EnginePaths, connections: readonly NetworkConnection[]): boolean {
  return connections.every(({ network, networkId }) => readNetwork(paths, network)?.id === networkId)
}

/** The host has it in the networks that are its bridges; of macvlan and ipvlan it is somebody else's. */
export function gatewayOf({ driver, subnets }: NetworkDefinition): Pick<NetworkConnection, 'gateway'> {
  const [gateway] = subnets.flatMap((subnet) => subnet.gateway ?? [])
  return driver !== 'bridge' || gateway === undefined ? {} : { gateway }
}

/** What comes in is held at the host's end of a pair, which only bridges have. */
function heldRate({ rate = {} }: NetworkRequest, { name, driver }: NetworkDefinition): NetworkRate {
  if (driver === 'bridge' || rate.in === undefined) return rate
  throw new TscrunError('USAGE', `--network-rate: what comes in from network ${name} (${driver}) cannot be held`, {
    subject: name,
    hint: 'hold what goes out alone, e.g. --network-rate /10M',
  })
}

interface BringUpOptions {
  readonly tell: (line: string) => void
  /** Notes what the start is decided from. */
  readonly look: Look
}

/**
 * Brings up the networks a container has: what its start needs of them. Throws NO_SUCH_NETWORK for one removed since, and
 * as `launchIn`.
 */
export async function bringUpFor(
  paths: EnginePaths,
  called: Called,
  has: Connected,
  { tell, look }: BringUpOptions,
): Promise<NetworkLaunch> {
  const networks = has.connections.map((connection) => networkOf(paths, connection, look))
  const up = await bringUp(paths, networks, tell, look)
  return launchIn(paths, { networks, up, look }, called, has)
}

/** Ports of the host for those that shall have any: free ones of the kernel's choice, each another one. */
function withHostPorts(ports: readonly PublishedPort[]): PublishedPort[] {
  const result: PublishedPort[] = []
  for (const port of ports)
    result.push(port.hostPort === 0 ? { ...port, hostPort: otherPort(port, ports, result) } : port)
  return result
}

function otherPort(
  { protocol, hostIp }: PublishedPort,
  asked: readonly PublishedPort[],
  taken: readonly PublishedPort[],
): number {
  const address = parseIp(hostIp ?? '::') ?? { family: 6, value: 0n }
  for (;;) {
    const found = freePort(protocol, address)
    const isTaken = [...asked, ...taken].some((port) => port.protocol === protocol && port.hostPort === found)
    if (!isTaken) return found
  }
}
