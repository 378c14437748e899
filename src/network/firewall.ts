import type { NetworkDefinition } from '../model/network.ts'
import type { PublishedPort } from '../model/launch.ts'

/** A port of the host, and the addresses of the container that it leads to. */
export interface Publication extends PublishedPort {
  readonly ip?: string
  readonly ip6?: string
}

/**
 * All of our rules are in one table, which is replaced as a whole (nft(8)): whatever somebody has flushed or a crash has
 * left is right again after it. The text is one transaction for `nft -f -`.
 */
export function firewallRules(networks: readonly NetworkDefinition[], ports: readonly Publication[]): string {
  const bridges = networks.filter(({ driver }) => driver === 'bridge')
  const open = bridges.filter(({ internal }) => !internal)
  const table = [
    'table inet tscrun {',
    ...MAPS.flatMap(({ name, type }) => [`  map ${name} {`, `    type ${type}`, '  }']),
    ...chain('publish', [
      'dnat ip to meta l4proto . ip daddr . th dport map @address4',
      'dnat ip6 to meta l4proto . ip6 daddr . th dport map @address6',
      'dnat ip to meta l4proto . th dport map @any4',
      'dnat ip6 to meta l4proto . th dport map @any6',
    ]),
    ...chain('prerouting', [
      'type nat hook prerouting priority dstnat; policy accept;',
      'fib daddr type local jump publish',
    ]),
    // What is sent to 127.0.0.1 cannot be led out of lo without opening it to others (route_localnet).
    ...chain('output', [
      'type nat hook output priority -100; policy accept;',
      'ip daddr 127.0.0.0/8 return',
      'ip6 daddr ::1 return',
      'fib daddr type local jump publish',
    ]),
    ...chain('postrouting', [
      'type nat hook postrouting priority srcnat; policy accept;',
      ...open.flatMap(({ link, subnets }) =>
        subnets.flatMap(({ subnet }) => [
          `${family(subnet)} saddr ${subnet} oifname != "${link}" masquerade`,
          // To a published port of the same network: the answer must come back this way.
          `${family(subnet)} saddr ${subnet} ${family(subnet)} daddr ${subnet} ct status dnat masquerade`,
        ]),
      ),
    ]),
    ...chain('forward', [
      'type filter hook forward priority filter; policy accept;',
      ...bridges.map(({ link }) => `iifname "${link}" oifname "${link}" accept`),
      ...bridges
        .filter(({ internal }) => internal)
        .flatMap(({ link }) => [`iifname "${link}" drop`, `oifname "${link}" drop`]),
      ...open.flatMap(({ link }) => [
        `oifname "${link}" ct state established,related accept`,
        `oifname "${link}" ct status dnat accept`,
        `oifname "${link}" drop`,
      ]),
    ]),
    '}',
  ]
  return `${NO_RULES}${table.join('\n')}\n${addPorts(ports)}`
}

/** Takes the table away; one that is not there is no error. */
export const NO_RULES = 'table inet tscrun\ndelete table inet tscrun\n'

const MAPS = [
  { name: 'any4', type: 'inet_proto . inet_service : ipv4_addr . inet_service' },
  { name: 'any6', type: 'inet_proto . inet_service : ipv6_addr . inet_service' },
  { name: 'address4', type: 'inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service' },
  { name: 'address6', type: 'inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service' },
] as const

function chain(name: string, lines: readonly string[]): string[] {
  return [`  chain ${name} {`, ...lines.map((line) => `    ${line}`), '  }']
}

function family(address: string): 'ip' | 'ip6' {
  return address.includes(':') ? 'ip6' : 'ip'
}

/** For `nft -f -`, where the table is there. Adding the same port for the same container again is no error. */
export function addPorts(ports: readonly Publication[]): string {
  return ports
    .flatMap(elements)
    .map(({ map, key, to }) => `add element inet tscrun ${map} { ${key} : ${to} }\n`)
    .join('')
}

/** The other way. One that is not there would make nft(8) refuse all, so each is put there first. */
export function removePorts(ports: readonly Publication[]): string {
  const removed = ports
    .flatMap(elements)
    .map(({ map, key, to }) => `delete element inet tscrun ${map} { ${key} : ${to} }\n`)
  return addPorts(ports) + removed.join('')
}

interface Element {
  readonly map: (typeof MAPS)[number]['name']
  readonly key: string
  readonly to: string
}

function elements({ protocol, hostIp, hostPort, containerPort, ip, ip6 }: Publication): Element[] {
  const result: Element[] = []
  for (const [version, to] of [
    [4, ip],
    [6, ip6],
  ] as const) {
    if (to === undefined || (hostIp !== undefined && hostIp.includes(':') !== (version === 6))) continue
    // That is led on by a process of the container's monitor.
    if (hostIp !== undefined && /^127\.|^::1$/.test(hostIp)) continue
    const target = `${to} . ${containerPort}`
    if (hostIp === undefined) result.push({ map: `any${version}`, key: `${protocol} . ${hostPort}`, to: target })
    else result.push({ map: `address${version}`, key: `${protocol} . ${hostIp} . ${hostPort}`, to: target })
  }
  return result
}
