import { type Flag, HELP_FLAG } from './flag.ts'
import { FORMAT } from './store.ts'

export const NETWORK_CREATE_FLAGS: readonly Flag[] = [
  {
    name: 'driver',
    short: 'd',
    kind: 'string',
    value: 'driver',
    help: 'bridge, macvlan, ipvlan or none (default bridge)',
  },
  { name: 'gateway', kind: 'list', value: 'ip', help: "Address of the way out (default the subnet's first)" },
  HELP_FLAG,
  { name: 'ignore', kind: 'bool', help: 'One of this name that is there already is no error' },
  { name: 'internal', kind: 'bool', help: 'Without a way out' },
  { name: 'ipv6', kind: 'bool', help: 'With a subnet of unique local addresses, if none is named' },
  { name: 'label', short: 'l', kind: 'list', value: 'key=value', help: 'Set a label' },
  { name: 'opt', short: 'o', kind: 'list', value: 'key=value', help: 'mtu=BYTES; parent=LINK for macvlan and ipvlan' },
  { name: 'subnet', kind: 'list', value: 'cidr', help: 'Subnet, one a family (default a free one)' },
]

const FILTER: Flag = {
  name: 'filter',
  kind: 'list',
  value: 'key=value',
  help: 'Only those: name, id, driver, label, label!, internal, dangling, until',
}

export const NETWORK_LS_FLAGS: readonly Flag[] = [
  { ...FILTER, short: 'f' },
  FORMAT,
  HELP_FLAG,
  { name: 'no-trunc', kind: 'bool', help: 'Do not shorten ids' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Only print ids' },
]

export const NETWORK_INSPECT_FLAGS: readonly Flag[] = [
  { ...FORMAT, short: 'f', help: "'json' or a Go template" },
  HELP_FLAG,
]

export const NETWORK_RM_FLAGS: readonly Flag[] = [
  { name: 'force', short: 'f', kind: 'bool', help: 'One that is not there is no error' },
  HELP_FLAG,
]

export const NETWORK_CONNECT_FLAGS: readonly Flag[] = [
  { name: 'alias', kind: 'list', value: 'name', help: 'Another name of it in the network' },
  HELP_FLAG,
  { name: 'ip', kind: 'string', value: 'address', help: 'IPv4 address in the network' },
  { name: 'ip6', kind: 'string', value: 'address', help: 'IPv6 address in the network' },
  { name: 'mac-address', kind: 'string', value: 'address', help: 'MAC address in the network' },
]

export const NETWORK_DISCONNECT_FLAGS: readonly Flag[] = [
  { name: 'force', short: 'f', kind: 'bool', help: 'One that is not connected, or not there, is no error' },
  HELP_FLAG,
]

export const NETWORK_PRUNE_FLAGS: readonly Flag[] = [
  FILTER,
  { name: 'force', short: 'f', kind: 'bool', help: 'Do not ask' },
  HELP_FLAG,
]
