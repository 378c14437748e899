import type { Flag } from './flag.ts'

const NETWORK = 'Network'

/** What `run` and `create` say of the network. */
export const RUN_NETWORK_FLAGS: readonly Flag[] = [
  { name: 'add-host', kind: 'list', value: 'host:ip', help: 'Add a line to /etc/hosts', group: NETWORK },
  { name: 'dns', kind: 'list', value: 'ip', help: 'Name server', group: NETWORK, split: true },
  {
    name: 'dns-option',
    kind: 'list',
    value: 'option',
    help: 'Option for /etc/resolv.conf',
    group: NETWORK,
    split: true,
    aliases: ['dns-opt'],
  },
  { name: 'dns-search', kind: 'list', value: 'domain', help: 'Domain to search names in', group: NETWORK, split: true },
  { name: 'hostname', short: 'h', kind: 'string', value: 'name', help: 'Host name of the container', group: NETWORK },
  {
    name: 'network',
    kind: 'list',
    value: 'mode',
    help: 'Networks to connect to, or none, host, container:NAME, ns:PATH, cni:NAME (default bridge)',
    group: NETWORK,
    aliases: ['net'],
    split: true,
  },
  { name: 'network-alias', kind: 'list', value: 'name', help: 'Another name of it in its networks', group: NETWORK },
  {
    name: 'network-rate',
    kind: 'string',
    value: 'in[/out]',
    help: 'Bits a second in its networks, e.g. 10M/2M',
    group: NETWORK,
  },
  { name: 'ip', kind: 'string', value: 'address', help: 'IPv4 address in its network', group: NETWORK },
  { name: 'ip6', kind: 'string', value: 'address', help: 'IPv6 address in its network', group: NETWORK },
  { name: 'mac-address', kind: 'string', value: 'address', help: 'MAC address in its network', group: NETWORK },
  { name: 'expose', kind: 'list', value: 'port[/proto]', help: 'What it serves, for --publish-all', group: NETWORK },
  {
    name: 'publish',
    short: 'p',
    kind: 'list',
    value: '[[ip:]host:]port[/proto]',
    help: 'Lead a port of the host, or a range, to the container',
    group: NETWORK,
  },
  {
    name: 'publish-all',
    short: 'P',
    kind: 'bool',
    help: 'Lead a free port of the host to each that is exposed',
    group: NETWORK,
  },
]
