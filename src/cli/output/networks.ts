import type { NetworkView } from '../../engine/networks/verbs.ts'

/** Headings by template field, as docker has them. */
export const NETWORK_HEADINGS = {
  ID: 'NETWORK ID',
  Name: 'NAME',
  Driver: 'DRIVER',
  Scope: 'SCOPE',
  Subnets: 'SUBNETS',
  Internal: 'INTERNAL',
  IPv6: 'IPV6',
  Labels: 'LABELS',
  CreatedAt: 'CREATED AT',
} as const

export function networkRow(
  network: NetworkView,
  noTrunc: boolean,
): Readonly<Record<keyof typeof NETWORK_HEADINGS, string>> {
  return {
    ID: noTrunc ? network.id : network.id.slice(0, 12),
    Name: network.name,
    Driver: network.driver,
    Scope: 'local',
    Subnets: network.subnets.map(({ subnet }) => subnet).join(','),
    Internal: String(network.internal),
    IPv6: String(hasIpv6(network)),
    Labels: Object.entries(network.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    CreatedAt: new Date(network.createdMs).toISOString(),
  }
}

function hasIpv6({ subnets }: NetworkView): boolean {
  return subnets.some(({ subnet }) => subnet.includes(':'))
}

/** A network under docker's key names. */
export function inspectedNetwork(network: NetworkView): Readonly<Record<string, unknown>> {
  const prefix = (family: 4 | 6): string =>
    network.subnets.find(({ subnet }) => subnet.includes(':') === (family === 6))?.subnet.replace(/^.*\//, '') ?? ''
  return {
    Name: network.name,
    Id: network.id,
    Created: new Date(network.createdMs).toISOString(),
    Scope: 'local',
    Driver: network.driver,
    EnableIPv6: hasIpv6(network),
    Interface: network.link,
    IPAM: {
      Driver: 'default',
      Config: network.subnets.map(({ subnet, gateway }) => ({
        Subnet: subnet,
        ...(gateway === undefined ? {} : { Gateway: gateway }),
      })),
    },
    Internal: network.internal,
    Containers: Object.fromEntries(
      network.containers.map(({ id, name, mac, ip, ip6 }) => [
        id,
        {
          Name: name,
          MacAddress: mac,
          IPv4Address: ip === undefined ? '' : `${ip}/${prefix(4)}`,
          IPv6Address: ip6 === undefined ? '' : `${ip6}/${prefix(6)}`,
        },
      ]),
    ),
    Options: network.mtu === undefined ? {} : { mtu: String(network.mtu) },
    Labels: network.labels,
  }
}
