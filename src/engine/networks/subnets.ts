import { readFileSync } from 'node:fs'
import { errnoOf, TscrunError } from '../../model/errors.ts'
import { addressAt, formatSubnet, overlap, parseIp, parseSubnet, type Subnet } from '../../model/ip.ts'
import type { NetworkDefinition } from '../../model/network.ts'

/** Where subnets are taken from when none is named: rarely used by others, and not docker's or podman's own. */
const DEFAULT_SUBNET = '10.110.0.0/16'
const POOL = { first: '10.111.0.0', prefix: 24, count: 4096 } as const

/** What is taken already: by other networks, and by routes of this host. */
export function takenSubnets(networks: readonly NetworkDefinition[], routes: readonly Subnet[]): Subnet[] {
  return [...networks.flatMap(({ subnets }) => subnets.flatMap(({ subnet }) => parseSubnet(subnet) ?? [])), ...routes]
}

/** A free IPv4 subnet; of the default network a large one. Throws NETWORK_IN_USE where all are taken. */
export function freeSubnet(taken: readonly Subnet[], large: boolean): Subnet {
  const preferred = large ? parseSubnet(DEFAULT_SUBNET) : undefined
  if (preferred !== undefined && !taken.some((other) => overlap(preferred, other))) return preferred
  const base = parseIp(POOL.first)
  for (let index = 0; base !== undefined && index < POOL.count; index++) {
    const first = addressAt({ first: base, prefix: POOL.prefix }, BigInt(index) << 8n)
    const candidate = { first, prefix: POOL.prefix }
    if (!taken.some((other) => overlap(candidate, other))) return candidate
  }
  throw new TscrunError('NETWORK_IN_USE', 'network: every subnet of 10.111.0.0/12 is in use', {
    hint: 'name one with --subnet, or remove networks (`tscrun network prune`)',
  })
}

/** A unique local one (RFC 4193), as random as the hexadecimal digits it is made of. */
export function uniqueLocalSubnet(hex: string): Subnet {
  return { first: { family: 6, value: BigInt(`0xfd${hex.slice(0, 14)}`) << 64n }, prefix: 64 }
}

/** Throws NETWORK_IN_USE naming what a subnet shares addresses with. */
export function checkFree(subnet: Subnet, networks: readonly NetworkDefinition[], routes: readonly Subnet[]): void {
  for (const network of networks) {
    for (const other of takenSubnets([network], [])) {
      if (overlap(subnet, other)) throw overlapping(subnet, `network ${network.name} has ${formatSubnet(other)}`)
    }
  }
  const route = routes.find((other) => overlap(subnet, other))
  if (route !== undefined) throw overlapping(subnet, `this host has a route to ${formatSubnet(route)}`)
}

function overlapping(subnet: Subnet, reason: string): TscrunError {
  return new TscrunError('NETWORK_IN_USE', `--subnet ${formatSubnet(subnet)}: ${reason}`, {
    subject: formatSubnet(subnet),
    hint: 'choose another one, or leave it out to get a free one',
  })
}

/** Where packets of this host go, default routes excepted: /proc/net/route and /proc/net/ipv6_route (proc(5)). */
export function hostRoutes(): Subnet[] {
  return [...ipv4Routes(readTable('/proc/net/route')), ...ipv6Routes(readTable('/proc/net/ipv6_route'))]
}

function readTable(path: string): string[][] {
  try {
    return readFileSync(path, 'latin1')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
  } catch (error) {
    // A kernel without IPv6.
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}

/** Destination and mask stand in the machine's byte order. */
function ipv4Routes(lines: readonly string[][]): Subnet[] {
  return lines.slice(1).flatMap(([, destination, , , , , , mask]) => {
    if (destination === undefined || mask === undefined || mask === '00000000') return []
    const value = swapped(destination)
    const prefix = swapped(mask).toString(2).replace(/0+$/, '').length
    return [{ first: { family: 4, value } as const, prefix }]
  })
}

function swapped(hex: string): bigint {
  return BigInt(`0x${hex.match(/../g)?.toReversed().join('') ?? '0'}`)
}

function ipv6Routes(lines: readonly string[][]): Subnet[] {
  return lines.flatMap(([destination, prefix]) => {
    if (destination?.length !== 32 || prefix === undefined || prefix === '00' || /^ff|^fe80/.test(destination))
      return []
    return [{ first: { family: 6, value: BigInt(`0x${destination}`) } as const, prefix: Number.parseInt(prefix, 16) }]
  })
}

/** The device and gateway of the default route; undefined without one. */
export function defaultRouteDevice(): string | undefined {
  return readTable('/proc/net/route').find(
    ([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000',
  )?.[0]
}
