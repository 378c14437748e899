import type { NetworkConnection } from '../../model/network.ts'

/** The default network has none, as with docker and podman: whoever is in it was not asked whom it wants to know. */
export function hasNames({ network }: Pick<NetworkConnection, 'network'>): boolean {
  return network !== 'bridge'
}
