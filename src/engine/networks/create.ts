import { TscrunError } from '../../model/errors.ts'
import {
  addressAt,
  contains,
  formatIp,
  formatSubnet,
  parseIp,
  parseSubnet,
  type IpAddress,
  type Subnet,
} from '../../model/ip.ts'
import type { NetworkDefinition, NetworkDriver, NetworkSubnet } from '../../model/network.ts'
import { randomId } from '../../syscall/random.ts'
import { networkEvent, writeEvents } from '../events/log.ts'
import type { EnginePaths } from '../paths.ts'
import { checkNetworkName, DEFAULT_NETWORK, listNetworks, readNetwork, writeNetwork } from './definitions.ts'
import { lockNetworks } from './host.ts'
import { checkFree, freeSubnet, hostRoutes, takenSubnets, uniqueLocalSubnet } from './subnets.ts'

export interface CreateNetworkOptions {
  readonly name: string
  readonly driver?: NetworkDriver
  /** `10.88.0.0/16`; at most one of each family. */
  readonly subnets?: readonly string[]
  /** In those subnets, in the same order. */
  readonly gateways?: readonly string[]
  readonly internal?: boolean
  /** With a subnet of unique local addresses, where none is named. */
  readonly ipv6?: boolean
  readonly labels?: Readonly<Record<string, string>>
  readonly mtu?: number
  /** The host's link for macvlan and ipvlan. */
  readonly parent?: string
  /** One of this name is no error. */
  readonly ignore?: boolean
}

/** Defines a network. Nothing of the host changes until a container uses it. Throws USAGE, NETWORK_IN_USE. */
export async function createNetwork(paths: EnginePaths, options: CreateNetworkOptions): Promise<NetworkDefinition> {
  const name = checkNetworkName(options.name)
  // One at a time, or two would find the same subnet free.
  using _lock = await lockNetworks(paths)
  const there = readNetwork(paths, name)
  if (there !== undefined && (options.ignore === true || name === DEFAULT_NETWORK)) return there
  const definition = define(paths, name, options)
  if (there === undefined && writeNetwork(paths, definition)) {
    writeEvents(paths, [networkEvent('create', definition.id, { name, type: definition.driver })])
    return definition
  }
  throw new TscrunError('NETWORK_IN_USE', `network ${name}: there is one of this name`, {
    subject: name,
    hint: `choose another name, or remove that one (tscrun network rm ${name})`,
  })
}

/** What would be made; nothing is. Throws USAGE, NETWORK_IN_USE. */
export function define(paths: EnginePaths, name: string, options: CreateNetworkOptions): NetworkDefinition {
  const id = randomId()
  const driver = options.driver ?? 'bridge'
  if (driver === 'none') return { ...linkless(options), name, id }
  if (driver !== 'bridge' && options.parent === undefined) {
    throw new TscrunError('USAGE', `network ${name}: ${driver} needs a link of the host`, {
      subject: name,
      hint: 'name it with -o parent=eth0',
    })
  }
  return {
    version: 1,
    name,
    id,
    driver,
    link: options.parent ?? (name === DEFAULT_NETWORK ? 'tscrun0' : `ts-${id.slice(0, 11)}`),
    subnets: subnetsOf(paths, id, options),
    internal: options.internal === true,
    labels: options.labels ?? {},
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
    createdMs: Date.now(),
  }
}

/** Nothing of it is on the host, nor in a container. Throws USAGE for what would be passed over. */
function linkless(options: CreateNetworkOptions): Omit<NetworkDefinition, 'name' | 'id'> {
  const { name, subnets = [], gateways = [], ipv6, mtu, parent } = options
  if (subnets.length > 0 || gateways.length > 0 || ipv6 === true || mtu !== undefined || parent !== undefined) {
    throw new TscrunError('USAGE', `network ${name}: none has no addresses and no links`, {
      subject: name,
      hint: 'leave out what is said of them, or choose another --driver',
    })
  }
  const labels = options.labels ?? {}
  return { version: 1, driver: 'none', link: '', subnets: [], internal: true, labels, createdMs: Date.now() }
}

function subnetsOf(paths: EnginePaths, id: string, options: CreateNetworkOptions): NetworkSubnet[] {
  const { name } = options
  const networks = listNetworks(paths)
  const routes = hostRoutes()
  const asked = (options.subnets ?? []).map(parseAsked)
  if (new Set(asked.map(({ first }) => first.family)).size < asked.length) {
    throw new TscrunError('USAGE', `network ${name}: more than one subnet of a family`, {
      subject: name,
      hint: 'give at most one IPv4 and one IPv6 --subnet',
    })
  }
  // macvlan and ipvlan live in a subnet of the host's own link.
  const shares = options.driver === 'macvlan' || options.driver === 'ipvlan'
  for (const subnet of asked) checkFree(subnet, shares ? [] : networks, shares ? [] : routes)
  const subnets = [...asked]
  if (!asked.some(({ first }) => first.family === 4) && !(shares && asked.length > 0)) {
    subnets.unshift(freeSubnet(takenSubnets(networks, routes), name === DEFAULT_NETWORK))
  }
  if (options.ipv6 === true && !asked.some(({ first }) => first.family === 6)) subnets.push(uniqueLocalSubnet(id))
  const gateways = (options.gateways ?? []).map((gateway) => checkGateway(gateway, subnets))
  return subnets.map((subnet) => {
    const gateway = gateways.find((one) => contains(subnet, one))
    return { subnet: formatSubnet(subnet), gateway: formatIp(gateway ?? addressAt(subnet, 1n)) }
  })
}

function parseAsked(text: string): Subnet {
  const subnet = parseSubnet(text)
  const least = subnet?.first.family === 6 ? 126 : 30
  if (subnet !== undefined && subnet.prefix <= least && subnet.prefix >= 8) return subnet
  throw new TscrunError('USAGE', `--subnet ${text}: it is no subnet that containers could share`, {
    subject: text,
    hint: 'e.g. 10.89.0.0/24 or fd00:1234::/64, with no bits behind the prefix',
  })
}

function checkGateway(text: string, subnets: readonly Subnet[]): IpAddress {
  const gateway = parseIp(text)
  if (gateway !== undefined && subnets.some((subnet) => contains(subnet, gateway))) return gateway
  throw new TscrunError('USAGE', `--gateway ${text}: it is not in a subnet of the network`, {
    subject: text,
    hint: 'give an address of its --subnet, or leave it out',
  })
}
