import { parseIp } from '../../model/ip.ts'
import type { PublishedPort } from '../../model/launch.ts'
import type { NetworkRequest } from '../../model/network.ts'
import { formatExposed, parseExposed } from '../../model/port.ts'
import type { NetworkOption } from '../../model/run-options.ts'
import type { FlagValues } from '../command.ts'
import { badFlag } from '../errors.ts'
import { parseNetworkRate } from './network-rate.ts'
import { parseInteger } from './numbers.ts'
import { joined } from './namespaces.ts'

/** docker's and podman's words for the default network. */
const DEFAULT = 'bridge'
const DEFAULT_WORDS = ['default', 'bridge', 'private']

/**
 * `--network` and what goes with it; undefined where nothing is said of networks. Throws USAGE.
 *
 * @param publishes ports are: then there must be a network
 */
export function parseNetwork(flags: FlagValues, publishes: boolean): NetworkOption | undefined {
  const words = flags.list('network').filter((word) => word !== '')
  const [only, other] = words
  const joins = only === undefined ? undefined : only === 'none' || only === 'host' ? only : joined('network', only)
  if (joins !== undefined) {
    if (other !== undefined) throw badFlag('network', other, `it does not go together with ${only}`)
    const flag = OF_NETWORKS.find((name) => flags.has(name))
    if (flag !== undefined)
      throw badFlag(flag, flags.text(flag) ?? '', `--network ${only} gives it no network of its own`)
    return joins
  }
  if (words.some((word) => word.startsWith('cni:'))) return { cni: requests(flags, words.map(cniName)) }
  const wanted = OF_NETWORKS.some((name) => name !== 'publish' && flags.has(name))
  if (only === undefined && !publishes && !wanted) return undefined
  const names = words.length === 0 ? [DEFAULT] : words.map((word) => (DEFAULT_WORDS.includes(word) ? DEFAULT : word))
  return { networks: requests(flags, names) }
}

/** The plugins of one network may be told anything; of the two kinds together only one could be eth0. */
function cniName(word: string): string {
  const name = /^cni:(.+)$/.exec(word)?.[1]
  if (name !== undefined) return name
  throw badFlag('network', word, 'not together with cni:NAME', 'join one kind of network')
}

const OF_NETWORKS = ['publish', 'ip', 'ip6', 'mac-address', 'network-alias', 'network-rate'] as const

function requests(flags: FlagValues, names: readonly string[]): NetworkRequest[] {
  const [ip, ip6, mac] = [flags.text('ip'), flags.text('ip6'), flags.text('mac-address')]
  const aliases = flags.list('network-alias')
  const rateText = flags.text('network-rate')
  const rate = rateText === undefined ? undefined : parseNetworkRate(rateText)
  const given = [ip, ip6, mac].some((value) => value !== undefined)
  if (given && names.length > 1) throw badFlag('network', names.join(','), 'an address is for one network')
  if (mac !== undefined && !/^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$/.test(mac)) {
    throw badFlag('mac-address', mac, 'not a unicast MAC address', 'e.g. 0a:1b:2c:3d:4e:5f')
  }
  return [...new Set(names)].map((name) => ({
    name,
    ...(ip === undefined ? {} : { ip }),
    ...(ip6 === undefined ? {} : { ip6 }),
    ...(mac === undefined ? {} : { mac: mac.toLowerCase() }),
    ...(aliases.length === 0 ? {} : { aliases }),
    ...(rate === undefined ? {} : { rate }),
  }))
}

const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const
const EXAMPLES = 'e.g. 8080:80, 127.0.0.1:8080:80/tcp, 8000-8010:8000-8010, or 80 for any free port'

/** docker's `[[ip:][host]:]container[/protocol]` with ranges; IPv6 in brackets. Throws USAGE. */
export function parsePublish(text: string): PublishedPort[] {
  const match = /^(?:(\[[^\]]*\]|[^:[\]]*):)?(?:([^:]*):)?([^:/]+)(?:\/(.*))?$/.exec(text)
  if (match === null) throw badFlag('publish', text, 'not a port', EXAMPLES)
  // With one colon the first part is the host's port.
  const [, first, second, container = '', protocolText = 'tcp'] = match
  const [address, host] = second === undefined ? [undefined, first] : [first, second]
  const protocol = PROTOCOLS.find((name) => name === protocolText.toLowerCase())
  if (protocol === undefined)
    throw badFlag('publish', text, `${JSON.stringify(protocolText)} is no protocol`, 'tcp, udp or sctp')
  const [from, to] = range(text, container)
  const [hostFrom, hostTo] = host === undefined || host === '' ? [0, 0] : range(text, host)
  const count = to - from
  if (hostFrom !== 0 && hostTo - hostFrom !== count)
    throw badFlag('publish', text, 'the two ranges differ in length', EXAMPLES)
  const hostIp = address === undefined || address === '' ? undefined : hostAddress(text, address)
  return Array.from({ length: count + 1 }, (_, index) => ({
    protocol,
    ...(hostIp === undefined ? {} : { hostIp }),
    hostPort: hostFrom === 0 ? 0 : hostFrom + index,
    containerPort: from + index,
  }))
}

/** `80`, `80/udp`, `8000-8010`. Throws USAGE. */
export function parseExpose(text: string): string {
  const exposed = parseExposed(text)
  if (exposed !== undefined) return formatExposed(exposed)
  throw badFlag('expose', text, 'not a port', 'e.g. 80, 53/udp, or 8000-8010/tcp')
}

function range(text: string, part: string): [from: number, to: number] {
  const [from = '', to = from] = part.split('-')
  const ports = [from, to].map((port) => parseInteger('publish', port, { min: 1, max: 65535, within: text }))
  const [first = 0, last = 0] = ports
  if (last < first) throw badFlag('publish', text, 'the range ends before it begins', EXAMPLES)
  return [first, last]
}

/** Undefined for all addresses. */
function hostAddress(text: string, part: string): string | undefined {
  const address = part.replace(/^\[|\]$/g, '')
  if (parseIp(address) === undefined)
    throw badFlag('publish', text, `${JSON.stringify(address)} is no address of the host`, EXAMPLES)
  return address === '0.0.0.0' || address === '::' ? undefined : address
}
