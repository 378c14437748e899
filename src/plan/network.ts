import type { ContainerLink, LaunchSpec, NetworkLaunch } from '../model/launch.ts'
import { parseIp, type IpAddress } from '../model/ip.ts'
import { O } from '../model/linux.ts'
import type { FdSlot, Step } from '../model/step.ts'
import {
  deleteLink,
  linkUp,
  newAddress,
  newDefaultRoute,
  newVeth,
  newVlan,
  parseMac,
  plugIn,
  renameLink,
  type GuestLink,
} from '../network/netlink/links.ts'
import { newTokenBucket } from '../network/netlink/rate.ts'
import type { Message } from '../network/netlink/message.ts'
import { socketAddress } from '../network/socket-address.ts'
import { cniSteps } from './cni.ts'

export interface NetworkSteps {
  /** Stage, when the child has its ids: the links are made, and the child's ends are with it. */
  readonly make: readonly Step[]
  /** Child, behind that: addresses and routes. */
  readonly setUp: readonly Step[]
  /** Stage, beside the child: ports of the host lead here. */
  readonly publish: readonly Step[]
  /** Teardown, when nobody is left in there. */
  readonly unpublish: readonly Step[]
}

/**
 * Connects a container: links by rtnetlink(7), ports by nft(8).
 *
 * @param proc the container's own procfs; absent where it has none
 */
export function networkSteps({ id, network, detach, held }: LaunchSpec, proc: FdSlot | undefined): NetworkSteps {
  if (network === undefined) return { make: [], setUp: [], publish: [], unpublish: [] }
  if (network.cni !== undefined) {
    const cni = cniSteps(id, network.cni)
    return { make: cni.add, setUp: [], publish: [], unpublish: cni.delete }
  }
  const { links } = network
  const firewall = firewallSteps(network)
  return {
    make: [
      { op: 'open_proc', fd: 'fd:netns', file: 'ns/net' },
      { op: 'open_netlink', fd: 'fd:netlink' },
      ...(detach === undefined ? [] : links.flatMap(putAway)),
      ...linkSteps(links).make,
      { op: 'close', fd: 'fd:netlink' },
      { op: 'close', fd: 'fd:netns' },
    ],
    setUp: [
      { op: 'open_netlink', fd: 'fd:own-netlink' },
      ...linkSteps(links, proc).setUp,
      { op: 'close', fd: 'fd:own-netlink' },
    ],
    publish: [...nameSteps(network), ...listenSteps(network), ...firewall.publish],
    unpublish: [
      ...(network.names === undefined ? [] : [{ op: 'names_end' } as const]),
      ...(network.forwards === undefined ? [] : [{ op: 'forward_end' } as const]),
      ...firewall.unpublish,
      ...(held === true ? leaseSteps(network) : []),
    ],
  }
}

/** Addresses of one that was begun and never wanted are given back by whoever has begun it. */
function leaseSteps({ leases }: NetworkLaunch): Step[] {
  if (leases === undefined) return []
  const because = 'its network may have been removed since'
  return leases.paths.flatMap((path, index): Step[] => {
    const slash = path.lastIndexOf('/')
    const dir: FdSlot = `fd:leases${index}`
    const directory = path.slice(0, slash)
    const flags = O.PATH | O.DIRECTORY
    return [
      { op: 'open', fd: dir, dir: 'cwd', path: directory, flags, mode: 0, resolve: 0, tolerate: ['ENOENT'], because },
      { op: 'release_link', dir, path: path.slice(slash + 1), text: leases.text, tolerate: ['EBADF'], because },
    ]
  })
}

/** Through `fd:netlink` of the host, and `fd:own-netlink` in the container's namespace, which is `fd:netns`. */
export function linkSteps(links: readonly ContainerLink[], proc?: FdSlot): Pick<NetworkSteps, 'make' | 'setUp'> {
  return { make: links.flatMap(makeLink), setUp: links.flatMap((link) => setUpLink(link, proc)) }
}

/** What a life before has left goes when the kernel finds the time; until then its name is taken. */
function putAway({ hostName }: ContainerLink): Step[] {
  if (hostName === undefined) return []
  const remove = netlinkStep('fd:netlink', deleteLink(hostName), '', `put away ${hostName} of a life before`)
  return [{ ...remove, tolerate: ['ENODEV'], because: 'it is there only at a restart, and for a moment' }]
}

function makeLink(link: ContainerLink): Step[] {
  const guest: GuestLink = { ...link, mac: parseMac(link.mac) }
  const about = `make ${link.name} on ${link.on}`
  const hint = `is the link ${link.on} there? \`tscrun network reload\` makes it anew`
  if (link.driver !== 'bridge') {
    return [
      netlinkStep(
        'fd:netlink',
        newVlan(link.driver, link.firstName ?? '', guest),
        link.on,
        about,
        `is there a link ${link.on}?`,
      ),
    ]
  }
  const hostName = link.hostName ?? ''
  return [
    netlinkStep('fd:netlink', newVeth(hostName, guest), link.on, about, hint),
    {
      op: 'write_file',
      dir: 'cwd',
      path: `/proc/sys/net/ipv6/conf/${hostName}/disable_ipv6`,
      bytes: '1',
      tolerate: ['ENOENT', 'EROFS'],
      because: 'a host without IPv6 has no such setting, and a privileged container may not change it',
      about: `keep ${hostName} from having an address`,
    },
    ...(link.rate?.in === undefined
      ? []
      : [
          rateStep(
            'fd:netlink',
            newTokenBucket(undefined, link.rate.in),
            hostName,
            `${link.rate.in} bit/s to ${link.name}`,
          ),
        ]),
    netlinkStep('fd:netlink', plugIn(hostName), '', `bring up ${hostName}`),
  ]
}

const NO_TBF = 'is sch_tbf in the kernel? `modprobe sch_tbf`'

function rateStep(socket: FdSlot, message: Message, link: string, about: string): Step {
  return netlinkStep(socket, message, link, `hold it to ${about}`, NO_TBF)
}

function setUpLink(link: ContainerLink, proc: FdSlot | undefined): Step[] {
  const { name, index, addresses, rate, firstName } = link
  return [
    ...(firstName === undefined ? [] : [renameStep(firstName, name)]),
    deafToRouters(name, proc),
    ...(rate?.out === undefined
      ? []
      : [rateStep('fd:own-netlink', newTokenBucket(index, rate.out), '', `${rate.out} bit/s from ${name}`)]),
    ...addresses.map(({ address, prefix }) =>
      netlinkStep('fd:own-netlink', newAddress(index, ip(address), prefix), '', `give ${name} ${address}/${prefix}`),
    ),
    netlinkStep('fd:own-netlink', linkUp(index), '', `bring up ${name}`),
    ...routeSteps(link),
  ]
}

/** Behind struct nlmsghdr and the first word of ifinfomsg. */
const NUMBER_AT = 20

function renameStep(from: string, to: string): Step {
  const { bytes } = renameLink(0, to)
  return {
    op: 'netlink',
    socket: 'fd:own-netlink',
    message: bytes,
    netns: 'none',
    netnsAt: 0,
    link: from,
    linkAt: NUMBER_AT,
    about: `call ${from} ${to}`,
  }
}

/** Another container must not tell this one where its packets go (CVE-2020-13401). */
function deafToRouters(name: string, proc: FdSlot | undefined): Step {
  const path = `sys/net/ipv6/conf/${name}/accept_ra`
  const words = {
    tolerate: ['ENOENT'],
    because: 'a host without IPv6 has no such setting',
    about: `keep ${name} from listening to routers`,
  } as const
  // Any procfs shows the settings of who looks.
  if (proc === undefined) return { op: 'write_file', dir: 'cwd', path: `/proc/${path}`, bytes: '0', ...words }
  return { op: 'sysctl', proc, path, value: '0', ...words }
}

/** The way out, where it is this link. */
export function routeSteps({ index, gateways }: ContainerLink): Step[] {
  return gateways.map((gateway) =>
    netlinkStep('fd:own-netlink', newDefaultRoute(index, ip(gateway)), '', `make ${gateway} the default route`),
  )
}

function ip(text: string): IpAddress {
  const address = parseIp(text)
  if (address === undefined) throw new RangeError(`plan: not an IP address: ${text}`)
  return address
}

export function netlinkStep(
  socket: FdSlot,
  { bytes, marks }: Message,
  link: string,
  about: string,
  hint?: string,
): Step {
  return {
    op: 'netlink',
    socket,
    message: bytes,
    netns: marks.has('netns') ? 'fd:netns' : 'none',
    netnsAt: marks.get('netns') ?? 0,
    link,
    linkAt: marks.get('master') ?? 0,
    about,
    ...(hint === undefined ? {} : { hint }),
  }
}

/** Before the command runs it can find others by their names, and they it. */
function nameSteps({ names }: NetworkLaunch): Step[] {
  if (names === undefined) return []
  const open = (fd: FdSlot, path: string, flags: number): Step => {
    return { op: 'open', fd, dir: 'cwd', path, flags, mode: 0, resolve: 0, about: `find ${path}` }
  }
  const { cgroup } = names
  return [
    open('fd:names-directory', names.directory, O.PATH | O.DIRECTORY),
    open('fd:names-program', names.program, O.PATH),
    ...(cgroup === undefined ? [] : [open('fd:names-cgroup', cgroup, O.PATH | O.DIRECTORY)]),
    {
      op: 'names',
      dir: 'fd:names-directory',
      program: 'fd:names-program',
      cgroup: cgroup === undefined ? 'none' : 'fd:names-cgroup',
      bytes: names.text,
      about: 'tell the name service of the container',
    },
  ]
}

const IPPROTO = { tcp: 6, udp: 17 } as const

/** Ports that others have are found here, before the command runs. */
function listenSteps({ forwards = [] }: NetworkLaunch): Step[] {
  if (forwards.length === 0) return []
  return [
    ...forwards.map(
      ({ protocol, address, port, target, targetPort }): Step => ({
        op: 'listen_port',
        protocol: IPPROTO[protocol],
        address: socketAddress(ip(address), port),
        target: socketAddress(ip(target), targetPort),
        about: `publish port ${port}/${protocol}${address === '0.0.0.0' ? '' : ` of ${address}`}`,
        hint: '`ss -lntu` tells who listens where; publish another port',
        ...(address === '::' ? { tolerate: ['EAFNOSUPPORT'], because: 'a host may be without IPv6' } : {}),
      }),
    ),
    { op: 'forward', about: 'serve the ports on the loopback addresses' },
  ]
}

const NFT_TIMEOUT_MS = 30_000

function firewallSteps({ firewall }: NetworkLaunch): Pick<NetworkSteps, 'publish' | 'unpublish'> {
  if (firewall === undefined) return { publish: [], unpublish: [] }
  const { program, add, remove, note } = firewall
  const common = {
    op: 'run_hook',
    path: program,
    args: ['nft', '-f', '-'],
    env: [],
    timeoutMs: NFT_TIMEOUT_MS,
  } as const
  const hint = 'has the firewall been flushed? `tscrun network reload` makes the rules anew'
  return {
    publish: [
      { op: 'create_file', dir: 'cwd', path: note.path, mode: 0o600, bytes: note.text, about: 'note the ports' },
      { ...common, input: add, about: 'publish the ports', hint },
    ],
    unpublish: [
      { op: 'create_file', dir: 'cwd', path: note.takenBack, mode: 0o600, bytes: note.text, about: 'note the ports' },
      { op: 'unlink', dir: 'cwd', path: note.path },
      { ...common, input: remove, about: 'take back the ports' },
      { op: 'unlink', dir: 'cwd', path: note.takenBack },
    ],
  }
}
