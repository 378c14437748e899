import type { NetworkConnection } from '../model/network.ts'

/** Where a container finds the name service: on its own loopback (native/names/names.h). */
export const NAME_SERVER = '127.0.0.11'

/** What a container is called in all its networks. */
export interface Called {
  readonly id: string
  readonly name: string
  readonly hostname?: string
}

/** A network that has names, as one of its containers sees it. */
export interface NamedNetwork {
  readonly connection: NetworkConnection
  /** Length of its subnets' prefixes. */
  readonly prefixes: { readonly 4?: number; readonly 6?: number }
}

/** Of the service's own: it serves nothing that cannot be asked for. */
const NAME = /^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$/
const ID = 12

/**
 * What the name service is told of a container (native/names/names.h).
 *
 * @param resolvers whom it asks for other names: addresses, `host` for those of the host, undefined for nobody
 */
export function membershipText(
  called: Called,
  networks: readonly NamedNetwork[],
  resolvers: readonly string[] | 'host' | undefined,
): string {
  const own = [called.name, called.id.slice(0, ID), called.hostname ?? '']
  const lines = resolvers === 'host' ? ['D'] : (resolvers ?? []).map((address) => `d ${address}`)
  for (const { connection, prefixes } of networks) {
    const { network, networkId, ip, ip6, aliases } = connection
    const names = [...own, ...aliases].map((name) => name.toLowerCase()).filter((name) => NAME.test(name))
    lines.push(
      `n ${networkId.slice(0, 2 * ID)} ${network.toLowerCase()}`,
      ...(ip === undefined ? [] : [`a ${ip}/${prefixes[4]}`]),
      ...(ip6 === undefined ? [] : [`a ${ip6}/${prefixes[6]}`]),
      ...[...new Set(names)].map((name) => `h ${name}`),
    )
  }
  return `${lines.join('\n')}\n`
}
