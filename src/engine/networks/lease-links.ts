import { join } from 'node:path'
import type { NetworkConnection, NetworkDefinition } from '../../model/network.ts'
import { releaseLink } from '../state/owner-link.ts'
import type { EnginePaths } from '../paths.ts'

/**
 * An address belongs to a container from its making to its removal: `leases/<network id>/<address>` is a link with the
 * container's tag, as for names and ranges of ids.
 */
export function leasesDirectory(paths: Pick<EnginePaths, 'root'>, network: Pick<NetworkDefinition, 'id'>): string {
  return join(paths.root, 'leases', network.id)
}

/** The links that hold a container's addresses. */
export function leaseLinks(paths: EnginePaths, connections: readonly NetworkConnection[]): string[] {
  return connections.flatMap(({ networkId, ip, ip6 }) =>
    [ip, ip6].flatMap((address) =>
      address === undefined ? [] : [join(leasesDirectory(paths, { id: networkId }), address)],
    ),
  )
}

/** Gives its addresses back, where they still are this container's. */
export function releaseConnections(paths: EnginePaths, id: string, connections: readonly NetworkConnection[]): void {
  for (const link of leaseLinks(paths, connections)) releaseLink(link, id)
}
