import { parseSubnet } from '../../model/ip.ts'
import type { NetworkLaunch, PublishedPort } from '../../model/launch.ts'
import type { NetworkConnection, NetworkDefinition, NetworkRequest } from '../../model/network.ts'
import type { Called } from '../../network/names.ts'
import type { EnginePaths } from '../paths.ts'
import { gatewayOf } from './connect.ts'
import { define } from './create.ts'
import { DEFAULT_NETWORK, findNetwork, readNetwork } from './definitions.ts'
import { macOf, readUp } from './host.ts'
import { launchIn } from './launch.ts'
import { imagineAddress } from './leases.ts'

/** What a container might get of its networks, for a plan that is only shown: nothing is made, no address is taken. */
export function imagineNetworks(
  paths: EnginePaths,
  called: Called,
  requests: readonly NetworkRequest[],
  ports: readonly PublishedPort[],
): { readonly connections: readonly NetworkConnection[]; readonly network: NetworkLaunch } {
  const networks = requests.map(({ name }) => definitionOf(paths, name))
  const connections = requests.map((request, index) =>
    imagineConnection(called.id, index, request, networks[index] as NetworkDefinition),
  )
  return {
    connections,
    network: launchIn(paths, { networks, up: readUp(paths), dryRun: true }, called, { connections, ports }),
  }
}

function definitionOf(paths: EnginePaths, name: string): NetworkDefinition {
  if (name !== DEFAULT_NETWORK) return findNetwork(paths, name)
  return readNetwork(paths, name) ?? define(paths, name, { name, ipv6: true })
}

function imagineConnection(
  id: string,
  index: number,
  request: NetworkRequest,
  network: NetworkDefinition,
): NetworkConnection {
  const { name, id: networkId, subnets } = network
  const address = (family: 4 | 6): string | undefined => {
    for (const { subnet: text, gateway } of subnets) {
      const subnet = parseSubnet(text)
      if (subnet?.first.family === family) return imagineAddress(subnet, id, gateway === undefined ? [] : [gateway])
    }
    return undefined
  }
  const [ip, ip6] = [request.ip ?? address(4), request.ip6 ?? address(6)]
  return {
    network: name,
    networkId,
    link: `eth${index}`,
    mac: request.mac ?? macOf(id, index),
    ...(ip === undefined ? {} : { ip }),
    ...(ip6 === undefined ? {} : { ip6 }),
    ...gatewayOf(network),
    aliases: request.aliases ?? [],
    ...(request.rate === undefined ? {} : { rate: request.rate }),
  }
}
