import { contains, formatIp, parseIp, parseSubnet } from '../../model/ip.ts'
import type { NetworkConnection } from '../../model/network.ts'
import type { Identity } from '../../plan/template.ts'
import { DEFAULT_NETWORK, definitionFile } from '../networks/definitions.ts'
import { upFile } from '../networks/host.ts'
import { networkOf } from '../networks/launch.ts'
import { leasesDirectory } from '../networks/lease-links.ts'
import { imagineAddress, usableAddresses } from '../networks/leases.ts'
import type { EnginePaths } from '../paths.ts'
import type { PreparedNetwork, PreparedSubnet } from './file.ts'
import type { Subject } from './witnesses.ts'

/** Where the launcher takes addresses like those of a connection from. */
export function preparedNetwork(
  paths: EnginePaths,
  [connection]: readonly NetworkConnection[],
): PreparedNetwork | undefined {
  if (connection === undefined) return undefined
  const network = networkOf(paths, connection)
  const of = (address: string | undefined): PreparedSubnet | undefined => {
    const parsed = parseIp(address ?? '')
    if (address === undefined || parsed === undefined) return undefined
    for (const { subnet: text, gateway } of network.subnets) {
      const subnet = parseSubnet(text)
      if (subnet === undefined || !contains(subnet, parsed)) continue
      const { first } = subnet
      const offset = Number((parseIp(gateway ?? '') ?? first).value - first.value)
      return { first, prefix: subnet.prefix, count: usableAddresses(subnet), gateway: offset, width: address.length }
    }
    return undefined
  }
  const [ip4, ip6] = [of(connection.ip), of(connection.ip6)]
  return {
    leases: leasesDirectory(paths, network),
    ...(ip4 === undefined ? {} : { ip4 }),
    ...(ip6 === undefined ? {} : { ip6 }),
  }
}

/** As another container might have them; undefined where there is no other of as many letters. */
export function otherAddresses(
  { ip4, ip6 }: PreparedNetwork,
  id: string,
  own: Pick<Identity, 'ip' | 'ip6'>,
): Pick<Identity, 'ip' | 'ip6'> | undefined {
  const other = (subnet: PreparedSubnet | undefined, not: string | undefined): string | undefined => {
    if (subnet === undefined || not === undefined) return undefined
    const gateway = formatIp({ ...subnet.first, value: subnet.first.value + BigInt(subnet.gateway) })
    return imagineAddress(subnet, id, [not, gateway], subnet.width)
  }
  const [ip, theirs6] = [other(ip4, own.ip), other(ip6, own.ip6)]
  if ((ip4 !== undefined && ip === undefined) || (ip6 !== undefined && theirs6 === undefined)) return undefined
  return { ...(ip === undefined ? {} : { ip }), ...(theirs6 === undefined ? {} : { ip6: theirs6 }) }
}

/** What a start with the default network looks at. A bridge that is gone is found out by the start itself. */
export function networkSubjects(paths: EnginePaths): Subject[] {
  return [
    { kind: 'file', path: definitionFile(paths, DEFAULT_NETWORK) },
    { kind: 'file', path: upFile(paths) },
    { kind: 'link', path: '/proc/self/ns/net' },
  ]
}
