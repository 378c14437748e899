import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { addressAt, contains, formatIp, hosts, parseIp, parseSubnet, type Subnet } from '../../model/ip.ts'
import type { NetworkDefinition } from '../../model/network.ts'
import { claimLink, linkOwner, releaseLink } from '../state/owner-link.ts'
import type { EnginePaths } from '../paths.ts'
import { storeFailure } from '../state/store-failure.ts'
import { leasesDirectory } from './lease-links.ts'

/** Who takes an address. */
export interface Taker {
  readonly id: string
  /** Before it is wanted. */
  readonly begun?: boolean
}

/**
 * Takes an address of a family for a container; undefined where the network has no such subnet. Throws ADDRESS_IN_USE:
 * the one that was asked for is another one's, or all are.
 */
export function takeAddress(
  paths: EnginePaths,
  network: NetworkDefinition,
  family: 4 | 6,
  taker: Taker,
  asked: string | undefined,
): string | undefined {
  const found = network.subnets.find(({ subnet }) => parseSubnet(subnet)?.first.family === family)
  const subnet = parseSubnet(found?.subnet ?? '')
  if (asked !== undefined) return takeAsked(paths, network, subnet, family, taker, asked, found?.gateway)
  if (subnet === undefined) return undefined
  const width = fullWidth(subnet)
  // Those of full width first: in what a prepared start has kept there is room for as many letters as its own had.
  for (const full of [true, false]) {
    for (const text of candidates(subnet, taker.id)) {
      if ((text.length === width) !== full || text === found?.gateway) continue
      if (claim(paths, network, text, taker)) return text
    }
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
  taker: Taker,
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
  if (claim(paths, network, text, taker)) return text
  throw failure(
    'ADDRESS_IN_USE',
    `a container of network ${network.name} has it`,
    `\`tscrun network inspect ${network.name}\` tells which; choose another one`,
  )
}

const EXAMPLES = { 4: '10.111.0.10', 6: 'fd00::10' } as const

/** How many addresses behind the first one of a subnet are given out; of IPv6, that has more than anybody could want, a part. */
export function usableAddresses(subnet: Subnet): number {
  const size = hosts(subnet)
  // The first is the subnet itself, the last of IPv4 is the broadcast address.
  const usable = subnet.first.family === 4 ? size - 2n : size - 1n
  return Number(usable > MOST ? MOST : usable)
}

/** Letters of the longest of them. */
function fullWidth(subnet: Subnet): number {
  return formatIp(addressAt(subnet, BigInt(Math.max(1, usableAddresses(subnet) - 1)))).length
}

/**
 * Begins where the container's id says, so that an address is not given out again while others still remember who had
 * it; then all, far from one another: where one is not taken the next is as good as drawn anew. The launcher does the
 * same (native/replay/claim.c).
 */
function* candidates(subnet: Subnet, id: string): Generator<string> {
  const count = usableAddresses(subnet)
  const start = Number.parseInt(id.slice(16, 24), 16)
  for (let step = 0; step < count; step++)
    yield formatIp(addressAt(subnet, BigInt(1 + ((start + step * STRIDE) % count))))
}

/** One that such a container might get, other than those in `not`; none is taken. */
export function imagineAddress(
  subnet: Subnet,
  id: string,
  not: readonly string[],
  width = fullWidth(subnet),
): string | undefined {
  for (const text of candidates(subnet, id)) if (text.length === width && !not.includes(text)) return text
  return undefined
}

const MOST = 1n << 20n
/** A prime that is larger than any count, so that all are met. */
const STRIDE = 2_654_435_761

/** Also one that was taken for this very container before it was wanted. */
function claim(paths: EnginePaths, network: NetworkDefinition, address: string, { id, begun }: Taker): boolean {
  const directory = leasesDirectory(paths, network)
  const link = join(directory, address)
  try {
    return claimLink(link, id, begun) || linkOwner(link, [id]) === id
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
    } catch (second) {
      throw storeFailure(second, directory)
    }
    return claimLink(link, id, begun)
  }
}

export function releaseAddress(paths: EnginePaths, networkId: string, address: string, id: string): void {
  releaseLink(join(leasesDirectory(paths, { id: networkId }), address), id)
}
