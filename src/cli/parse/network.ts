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
  const asked = grouped(words).map(({ name, own }) => ({ name: DEFAULT_WORDS.includes(name) ? DEFAULT : name, own }))
  const names = asked.length === 0 ? [DEFAULT] : asked.map(({ name }) => name)
  return { networks: requests(flags, names).map((request) => withOwn(request, asked)) }
}

interface Asked {
  readonly name: string
  /** `key=value` that stood behind the network's name. */
  readonly own: readonly string[]
}

/** podman's `NAME:ip=...,alias=...` and docker's `name=NAME,ip=...`, which have been parted at the commas. */
function grouped(words: readonly string[]): Asked[] {
  const asked: { name: string; own: string[] }[] = []
  for (const word of words) {
    const last = asked.at(-1)
    const [, first = '', own] = /^(?:name=)?([^:=]+)(?::(.*))?$/s.exec(word) ?? []
    if (first !== '') asked.push({ name: first, own: own === undefined ? [] : [own] })
    else if (last !== undefined) last.own.push(word)
    else throw badFlag('network', word, 'no network is named before it', 'e.g. backend:ip=10.111.0.10,alias=db')
  }
  return asked
}

const OWN_KEYS = { ip: 'ip', ip6: 'ip6', mac: 'mac', 'mac-address': 'mac', alias: 'alias' } as const

function withOwn(request: NetworkRequest, asked: readonly Asked[]): NetworkRequest {
  const result: { -readonly [Key in keyof NetworkRequest]: NetworkRequest[Key] } = { ...request }
  for (const text of asked.flatMap(({ name, own }) => (name === request.name ? own : []))) {
    const [, key = '', value = ''] = /^([^=]*)=(.+)$/s.exec(text) ?? []
    const known = Object.hasOwn(OWN_KEYS, key) ? OWN_KEYS[key as keyof typeof OWN_KEYS] : undefined
    if (known === undefined) throw badFlag('network', text, 'unknown option', Object.keys(OWN_KEYS).join(', '))
    if (known === 'alias') result.aliases = [...(result.aliases ?? []), checkAlias('network', value)]
    else result[known] = known === 'mac' ? parseMacAddress('network', value) : value
  }
  return result
}

/** What a name in a question can be. */
function checkAlias(flag: string, text: string): string {
  if (/^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?$/.test(text)) return text
  throw badFlag(flag, text, 'not a name', 'letters, digits, . _ -')
}

function parseMacAddress(flag: string, text: string): string {
  if (/^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$/.test(text)) return text.toLowerCase()
  throw badFlag(flag, text, 'not a unicast MAC address', 'e.g. 0a:1b:2c:3d:4e:5f')
}

/** `--ip`, `--ip6`, `--mac-address` and aliases by the flag of that name. Throws USAGE. */
export function addressOptions(flags: FlagValues, aliasFlag: string): Omit<NetworkRequest, 'name'> {
  const [ip, ip6, mac] = [flags.text('ip'), flags.text('ip6'), flags.text('mac-address')]
  const aliases = flags.list(aliasFlag).map((alias) => checkAlias(aliasFlag, alias))
  return {
    ...(ip === undefined ? {} : { ip }),
    ...(ip6 === undefined ? {} : { ip6 }),
    ...(mac === undefined ? {} : { mac: parseMacAddress('mac-address', mac) }),
    ...(aliases.length === 0 ? {} : { aliases }),
  }
}

/** The plugins of one network may be told anything; of the two kinds together only one could be eth0. */
function cniName(word: string): string {
  const name = /^cni:(.+)$/.exec(word)?.[1]
  if (name !== undefined) return name
  throw badFlag('network', word, 'not together with cni:NAME', 'join one kind of network')
}

const OF_NETWORKS = ['publish', 'ip', 'ip6', 'mac-address', 'network-alias', 'network-rate'] as const

function requests(flags: FlagValues, names: readonly string[]): NetworkRequest[] {
  const own = addressOptions(flags, 'network-alias')
  const rateText = flags.text('network-rate')
  const rate = rateText === undefined ? undefined : parseNetworkRate(rateText)
  const given = [own.ip, own.ip6, own.mac].some((value) => value !== undefined)
  if (given && names.length > 1) throw badFlag('network', names.join(','), 'an address is for one network')
  return [...new Set(names)].map((name) => ({
    name,
    ...own,
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
