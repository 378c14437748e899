/** What of the host's resolver configuration a container with its own network can use. */
const LOOPBACK = /^(?:127\.|::1$|localhost$)/

export interface ResolverOptions {
  readonly servers?: readonly string[]
  readonly search?: readonly string[]
  readonly options?: readonly string[]
}

/** Public resolvers, for a host that has none but its own loopback one (as docker does it). */
const FALLBACK_SERVERS = ['8.8.8.8', '8.8.4.4']

/**
 * /etc/resolv.conf of a container (resolv.conf(5)). A loopback resolver of the host is out of reach in a network
 * namespace of its own: it is replaced.
 *
 * @param host the host's file; with systemd-resolved the one that names the real servers
 * @param named the server knows names without a dot, which are to be asked for before any domain is put behind them
 */
export function resolvConf(host: string, options: ResolverOptions, ownNetwork: boolean, named = false): string {
  const lines = host.split('\n').map((line) => line.trim())
  const valuesOf = (key: string): string[] =>
    lines
      .filter((line) => line.startsWith(`${key} `) || line.startsWith(`${key}\t`))
      .map((line) => line.slice(key.length).trim())
  const hostServers = valuesOf('nameserver').filter((server) => !ownNetwork || !LOOPBACK.test(server))
  const servers = given(options.servers) ?? (hostServers.length > 0 ? hostServers : FALLBACK_SERVERS)
  const search =
    given(options.search) ?? [...valuesOf('search'), ...valuesOf('domain')].flatMap((value) => value.split(/\s+/))
  const settings = [...(given(options.options) ?? valuesOf('options').flatMap((value) => value.split(/\s+/)))]
  const result = servers.map((server) => `nameserver ${server}`)
  if (search.length > 0 && !search.includes('.')) result.push(`search ${search.join(' ')}`)
  if (named && !settings.some((setting) => setting.startsWith('ndots:'))) settings.push('ndots:0')
  if (settings.length > 0) result.push(`options ${settings.join(' ')}`)
  return `${result.join('\n')}\n`
}

function given(list: readonly string[] | undefined): readonly string[] | undefined {
  return list === undefined || list.length === 0 ? undefined : list
}

export interface HostsChange {
  readonly gone: readonly string[]
  readonly come: readonly string[]
  /** Addresses of the host, where another one takes the place of the first. */
  readonly moved?: readonly [from: string, to: string]
}

/** The same file with the lines of some addresses taken out, and those of others put in. */
export function changedHosts(hosts: string, names: readonly string[], { gone, come, moved }: HostsChange): string {
  const kept = hosts.split('\n').flatMap((line) => {
    const [, address = '', rest = ''] = /^\s*(\S+)(.*)$/.exec(line) ?? []
    if (line === '' || gone.includes(address)) return []
    return moved?.[0] === address ? [`${moved[1]}${rest}`] : [line]
  })
  return `${[...kept, ...come.map((address) => `${address} ${names.join(' ')}`)].join('\n')}\n`
}

/** /etc/hosts of a container (hosts(5)): itself by its names, then what the user adds as `host:ip`. */
export function hostsFile(
  { names, addresses }: { readonly names: readonly string[]; readonly addresses: readonly string[] },
  extra: readonly string[],
  ownNetwork: boolean,
  host: string,
): string {
  const own = names.length === 0 ? [] : addresses.length === 0 ? ['127.0.1.1'] : addresses
  const base = ownNetwork
    ? [
        '127.0.0.1 localhost',
        '::1 localhost ip6-localhost ip6-loopback',
        ...own.map((address) => `${address} ${names.join(' ')}`),
      ]
    : [host.trimEnd()]
  const added = extra.map((entry) => {
    const colon = entry.indexOf(':')
    return `${entry.slice(colon + 1)} ${entry.slice(0, colon)}`
  })
  return `${[...base, ...added].join('\n')}\n`
}
