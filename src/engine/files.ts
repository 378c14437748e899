import { TscrunError } from '../model/errors.ts'
import type { OciConfig } from '../model/config.ts'
import type { LaunchSpec } from '../model/launch.ts'
import type { NetworkConnection } from '../model/network.ts'
import type { RunOptions } from '../model/run-options.ts'
import { NAME_SERVER } from '../network/names.ts'
import { hasNames } from './networks/has-names.ts'
import { hostsFile, resolvConf } from '../spec/network-files.ts'
import { readIfThere } from '../runtime/host.ts'
import type { Look } from './start/look.ts'

/** The real servers behind systemd-resolved's loopback one. */
const RESOLVED = '/run/systemd/resolve/resolv.conf'

/** What a container is called, and where it is found. */
interface Named {
  readonly hostname: string
  readonly name: string
  readonly connections: readonly NetworkConnection[]
}

/** /etc/hosts, /etc/hostname and /etc/resolv.conf, except where a volume takes their place. */
export function networkFiles(
  options: RunOptions,
  { hostname, name, connections }: Named,
  config: OciConfig,
  look: Look,
): LaunchSpec['files'] {
  const textOf = (path: string): string | undefined => look(() => readIfThere(path))
  const ownNetwork = config.linux?.namespaces?.some((namespace) => namespace.type === 'network') === true
  const ownUts = config.linux?.namespaces?.some((namespace) => namespace.type === 'uts') === true
  const hostResolv = textOf('/etc/resolv.conf') ?? ''
  const resolv =
    ownNetwork && /^nameserver\s+127\.0\.0\.53$/m.test(hostResolv) ? (textOf(RESOLVED) ?? hostResolv) : hostResolv
  // Those of `--dns` are asked by the service then.
  const isNamed = connections.some(hasNames)
  const resolver = {
    ...(isNamed ? { servers: [NAME_SERVER] } : options.dns === undefined ? {} : { servers: options.dns }),
    ...(options.dnsSearch === undefined ? {} : { search: options.dnsSearch }),
    ...(options.dnsOption === undefined ? {} : { options: options.dnsOption }),
  }
  const addresses = connections.flatMap(({ ip, ip6 }) => [ip ?? [], ip6 ?? []].flat())
  const names = ownUts ? [...new Set([hostname, name])] : []
  const gateway = connections.flatMap((connection) => connection.gateway ?? []).at(0)
  const added = (options.addHost ?? []).map((entry) => withGateway(entry, ownNetwork, gateway))
  // podman's and docker's names for the host: programs look for them.
  const extra = gateway === undefined ? added : [...added, ...HOST_NAMES.map((known) => `${known}:${gateway}`)]
  const files = [
    {
      target: '/etc/hosts',
      name: 'hosts',
      content: hostsFile({ names, addresses }, extra, ownNetwork, textOf('/etc/hosts') ?? ''),
    },
    {
      target: '/etc/hostname',
      name: 'hostname',
      content: `${ownUts ? hostname : textOf('/proc/sys/kernel/hostname')?.trim()}\n`,
    },
    { target: '/etc/resolv.conf', name: 'resolv.conf', content: resolvConf(resolv, resolver, ownNetwork, isNamed) },
  ]
  const taken = new Set(config.mounts?.map((mount) => mount.destination))
  return files.filter((file) => !taken.has(file.target))
}

const HOST_NAMES = ['host.containers.internal', 'host.docker.internal']

/** docker's word for the host's address. */
function withGateway(entry: string, ownNetwork: boolean, gateway: string | undefined): string {
  if (!entry.endsWith(':host-gateway')) return entry
  const address = ownNetwork ? gateway : '127.0.0.1'
  if (address !== undefined) return entry.replace(/host-gateway$/, address)
  throw new TscrunError('USAGE', `--add-host ${entry}: this network has no gateway to the host`, {
    subject: entry,
    hint: 'use a network of driver bridge, or --network host, where localhost is the host',
  })
}
