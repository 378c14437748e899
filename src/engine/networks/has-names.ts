import type { NetworkConnection } from '../../model/network.ts'

/**
 * The default network has none, as with docker and podman: whoever is in it was not asked whom it wants to know. Nor has one
 * without addresses.
 */
export function hasNames({ network, ip, ip6 }: Pick<NetworkConnection, 'network' | 'ip' | 'ip6'>): boolean {
  return network !== 'bridge' && (ip !== undefined || ip6 !== undefined)
}
