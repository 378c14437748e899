import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import {
  addressAt,
  contains,
  formatIp,
  hosts,
  parseIp,
  parseSubnet,
  type IpAddress,
  type Subnet,
} from '../../model/ip.ts'
import type { NetworkDefinition } from '../../model/network.ts'
import { claimLink, releaseLink } from '../state/owner-link.ts'
import type { EnginePaths } from '../paths.ts'
import { storeFailure } from '../state/store-failure.ts'
import { leasesDirectory } from './lease-links.ts'

/**
 * Takes an address of a family for a container; undefined where the network has no such subnet. Throws ADDRESS_IN_USE:
 * the one that was asked for is another one's, or all are.
 */
export function takeAddress(
  paths: EnginePaths,
  network: NetworkDefinition,
  family: 4 | 6,
  id: string,
  asked: string | undefined,
): string | undefined {
  const found = network.subnets.find(({ subnet }) => parseSubnet(subnet)?.first.family === family)
  const subnet = parseSubnet(found?.subnet ?? '')
  if (asked !== undefined) return takeAsked(paths, network, subnet, family, id, asked, found?.gateway)
  if (subnet === undefined) return undefined
  for (const address of candidates(subnet, id)) {
    const text = formatIp(address)
    if (text !== found?.gateway && claim(paths, network, text, id)) return text
  }
  throw new TscrunError('ADDRESS_IN_USE', `network ${network.name}: all addresses of ${found?.subnet} are in use`, {
    subject: network.name,
    hint: 'remove containers that have stopped (`tscrun rm`), or make a network with a larger --subnet',
  })
}

function takeAsked(
  paths: EnginePaths,
  network: NetworkDefinition,
  subnet: Subnet | undefined,
  family: 4 | 6,
  id: string,
  asked: string,
  gateway: string | undefined,
): string {
  const flag = family === 4 ? '--ip' : '--ip6'
  const address = parseIp(asked)
  const failure = (code: 'USAGE' | 'ADDRESS_IN_USE', reason: string, hint: string): TscrunError =>
    new TscrunError(code, `${flag} ${asked}: ${reason}`, { subject: asked, hint })
  if (address?.family !== family)
    throw failure('USAGE', `it is no IPv${family} address`, `e.g. ${flag} ${EXAMPLES[family]}`)
  if (subnet === undefined || !contains(subnet, address)) {
    const has = network.subnets.map((one) => one.subnet).join(', ')
    throw failure('USAGE', `it is not in network ${network.name} (${has})`, 'choose one in its subnet')
  }
  const text = formatIp(address)
  const offset = address.value - subnet.first.value
  if (text === gateway || offset === 0n || (family === 4 && subnet.prefix < 31 && offset === hosts(subnet) - 1n)) {
    throw failure(
      'ADDRESS_IN_USE',
      `it is the gateway or broadcast address of network ${network.name}`,
      'choose another one',
    )
  }
  if (claim(paths, network, text, id)) return text
  throw failure(
    'ADDRESS_IN_USE',
    `a container of network ${network.name} has it`,
    `\`tscrun network inspect ${network.name}\` tells which; choose another one`,
  )
}

const EXAMPLES = { 4: '10.111.0.10', 6: 'fd00::10' } as const

/**
 * Begins where the container's id says, so that an address is not given out again while others still remember who had
 * it; then all in turn. Of an IPv6 subnet, that is as large as anybody could want, a part.
 */
function* candidates(subnet: Subnet, id: string): Generator<IpAddress> {
  const size = hosts(subnet)
  // The first is the subnet itself, the last of IPv4 is the broadcast address.
  const usable = subnet.first.family === 4 ? size - 2n : size - 1n
  const count = usable > MOST ? MOST : usable
  if (count <= 0n) return
  const start = BigInt(`0x${id.slice(16, 24)}`) % count
  for (let step = 0n; step < count; step++) yield addressAt(subnet, 1n + ((start + step) % count))
}

const MOST = 1n << 20n

function claim(paths: EnginePaths, network: NetworkDefinition, address: string, id: string): boolean {
  const directory = leasesDirectory(paths, network)
  try {
    return claimLink(join(directory, address), id)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
    } catch (second) {
      throw storeFailure(second, directory)
    }
    return claimLink(join(directory, address), id)
  }
}

export function releaseAddress(paths: EnginePaths, networkId: string, address: string, id: string): void {
  releaseLink(join(leasesDirectory(paths, { id: networkId }), address), id)
}
