import type { CniAttachment } from '../../model/cni.ts'
import { TscrunError } from '../../model/errors.ts'
import { parseSubnet } from '../../model/ip.ts'
import type { ContainerLink, Forward, NetworkLaunch, PublishedPort } from '../../model/launch.ts'
import type { NetworkConnection, NetworkDefinition } from '../../model/network.ts'
import { addPorts, type Publication, removePorts } from '../../network/firewall.ts'
import type { Called } from '../../network/names.ts'
import type { EnginePaths } from '../paths.ts'
import { justLook, type Look } from '../start/look.ts'
import { begunTag } from '../state/owner-link.ts'
import { readNetwork } from './definitions.ts'
import { DEFAULT_MTU, type Up } from './host.ts'
import { leaseLinks } from './lease-links.ts'
import { namesLaunch } from './names.ts'
import { publicationNote } from './publications.ts'
import { findNft } from './nft.ts'

/** What a container has of its networks, to be kept with it. */
export interface Connected {
  readonly connections: readonly NetworkConnection[]
  readonly ports: readonly PublishedPort[]
  /** Networks that plugins make, instead of any of tscrun's own. */
  readonly cni?: readonly CniAttachment[]
  /** Whom its names are asked of, where those of its networks are not meant; the host's without. */
  readonly resolvers?: readonly string[]
}

/** What a start of a container needs of its networks, which are up. Throws NO_SUCH_NETWORK, HOST_UNSUPPORTED. */
export function networkLaunch(
  paths: EnginePaths,
  called: Called,
  has: Connected,
  up: Pick<Up, 'bridges'> | undefined,
): NetworkLaunch {
  const networks = has.connections.map((connection) => networkOf(paths, connection))
  return launchIn(paths, { networks, up }, called, has)
}

/** What is known of a container's networks. */
interface Known {
  /** In the order of the connections. */
  readonly networks: readonly NetworkDefinition[]
  readonly up: Pick<Up, 'bridges'> | undefined
  readonly dryRun?: boolean
  readonly look?: Look
}

/** The same in networks that are known. */
export function launchIn(
  paths: EnginePaths,
  { networks, up, dryRun = false, look = justLook }: Known,
  called: Called,
  { connections, ports, cni, resolvers }: Connected,
): NetworkLaunch {
  if (cni !== undefined) return { links: [], cni }
  if (!networks.every(hasLinks)) return { links: [] }
  const links = connections.map((connection, index) => {
    const network = networks[index] as Linked
    const bridge = up?.bridges[network.id]
    const mtu = bridge?.mtu ?? network.mtu ?? DEFAULT_MTU
    const link = linkOf(called.id, index, connection, network, mtu, networks)
    return bridge === undefined ? link : { ...link, onIndex: bridge.index }
  })
  const pairs = connections.map((connection, index) => ({ connection, network: networks[index] as NetworkDefinition }))
  const names = namesLaunch(paths, called, pairs, { resolvers, dryRun, look })
  const leases = { paths: leaseLinks(paths, connections), text: begunTag(called.id) }
  const base = { links, leases, ...(names === undefined ? {} : { names }) }
  if (ports.length === 0) return base
  const published = publicationsOf(connections, ports)
  const forwards = published.flatMap(forwardsOf)
  const firewall = {
    program: findNft(),
    add: addPorts(published),
    remove: removePorts(published),
    note: publicationNote(paths, called.id, published),
  }
  return { ...base, forwards, ...(firewall.add === '' ? {} : { firewall }) }
}

/** Ports lead to the addresses of the first network. */
export function publicationsOf([first]: readonly NetworkConnection[], ports: readonly PublishedPort[]): Publication[] {
  return ports.map((port) => ({
    ...port,
    ...(first?.ip === undefined ? {} : { ip: first.ip }),
    ...(first?.ip6 === undefined ? {} : { ip6: first.ip6 }),
  }))
}

/** A port of all addresses is listened at in both families. */
function forwardsOf({ protocol, hostIp, hostPort, containerPort, ip, ip6 }: Publication): Forward[] {
  const target = hostIp?.includes(':') === true ? (ip6 ?? ip) : (ip ?? ip6)
  if (protocol === 'sctp' || target === undefined) return []
  const forward = (address: string, to: string): Forward => ({
    protocol,
    address,
    port: hostPort,
    target: to,
    targetPort: containerPort,
  })
  if (hostIp !== undefined) return [forward(hostIp, target)]
  return [forward('0.0.0.0', target), forward('::', ip6 ?? target)]
}

/** Its network by the id: another one may have got the name. Throws NO_SUCH_NETWORK. */
export function networkOf(
  paths: EnginePaths,
  { network, networkId }: NetworkConnection,
  look = justLook,
): NetworkDefinition {
  const found = readNetwork(paths, network, look)
  if (found?.id === networkId) return found
  throw new TscrunError('NO_SUCH_NETWORK', `network ${network}: it was removed since the container was made`, {
    subject: network,
    hint: 'make the container anew',
  })
}

/** A network that containers have links in. */
type Linked = NetworkDefinition & { readonly driver: ContainerLink['driver'] }

function hasLinks(network: NetworkDefinition): network is Linked {
  return network.driver !== 'none'
}

/** A link's name among those of the host. */
export function hostEnd(id: string, number: number): string {
  return `tv${number}${id.slice(0, 11)}`
}

function linkOf(
  id: string,
  index: number,
  { link, mac, ip, ip6, rate }: NetworkConnection,
  network: Linked,
  mtu: number,
  all: readonly NetworkDefinition[],
): ContainerLink {
  // Not its place among them where networks have been left since.
  const number = Number(link.slice('eth'.length))
  const subnets = network.subnets.flatMap(({ subnet, gateway }) => {
    const prefix = parseSubnet(subnet)?.prefix
    const address = subnet.includes(':') ? ip6 : ip
    return prefix === undefined || address === undefined ? [] : [{ address, prefix, gateway }]
  })
  // The way out is that of the first network which has one.
  const isWayOut = all.findIndex(({ internal }) => !internal) === index
  return {
    driver: network.driver,
    on: network.link,
    ...(network.driver === 'bridge' ? { hostName: hostEnd(id, number) } : { firstName: hostEnd(id, number) }),
    name: link,
    // Where the kernel counts to, whatever is asked for.
    index: 2 + index,
    mac,
    mtu,
    ...(rate === undefined ? {} : { rate }),
    addresses: subnets.map(({ address, prefix }) => ({ address, prefix })),
    gateways: isWayOut ? subnets.flatMap(({ gateway }) => gateway ?? []) : [],
  }
}
