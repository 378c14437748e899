import { ipBytes, type IpAddress } from '../../model/ip.ts'
import {
  AF,
  IFA,
  IFA_F_NODAD,
  IFA_F_PERMANENT,
  IFF_UP,
  IFLA,
  IFLA_BRPORT_MODE,
  INFO,
  IPVLAN_MODE,
  MACVLAN_MODE,
  RT,
  RTA,
  RTM,
  VETH_INFO_PEER,
} from './constants.ts'
import { encodeMessage, NLM_F, text, u32, type Attribute, type Message } from './message.ts'

const NEW = NLM_F.CREATE | NLM_F.EXCL

/** struct ifinfomsg. */
function linkHeader(index: number, up?: boolean): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setInt32(4, index, true)
  if (up !== undefined) {
    view.setUint32(8, up ? IFF_UP : 0, true)
    view.setUint32(12, IFF_UP, true)
  }
  return bytes
}

function info(kind: string, data?: readonly Attribute[]): Attribute {
  const attributes: Attribute[] = [[INFO.KIND, text(kind)]]
  if (data !== undefined) attributes.push([INFO.DATA, { attributes: data }])
  return [IFLA.LINKINFO, { attributes }]
}

/** A bridge that is down. `mac` keeps it from taking the least of its ports', which changes as they come and go. */
export function newBridge(name: string, mac: Uint8Array, mtu: number): Message {
  return encodeMessage(RTM.NEWLINK, NEW, {
    header: linkHeader(0),
    attributes: [[IFLA.IFNAME, text(name)], [IFLA.ADDRESS, mac], [IFLA.MTU, u32(mtu)], info('bridge')],
  })
}

/** What of a pair is the container's. */
export interface GuestLink {
  readonly name: string
  /** Its number in the container's namespace. */
  readonly index: number
  readonly mac: Uint8Array
  readonly mtu: number
}

/** One message makes both ends: ours, on its bridge, and the container's in its namespace (marks: master, netns). */
export function newVeth(name: string, guest: GuestLink): Message {
  const peer: Attribute[] = [
    [IFLA.IFNAME, text(guest.name)],
    [IFLA.ADDRESS, guest.mac],
    [IFLA.MTU, u32(guest.mtu)],
    [IFLA.NET_NS_FD, 'netns'],
  ]
  return encodeMessage(RTM.NEWLINK, NEW, {
    header: linkHeader(0),
    attributes: [
      [IFLA.IFNAME, text(name)],
      [IFLA.MTU, u32(guest.mtu)],
      [IFLA.MASTER, 'master'],
      info('veth', [[VETH_INFO_PEER, { header: linkHeader(guest.index), attributes: peer }]]),
    ],
  })
}

/** linux/if_link.h: bridge, of both. */
const MODES = { macvlan: [MACVLAN_MODE, u32(4)], ipvlan: [IPVLAN_MODE, Uint8Array.of(0, 0)] } as const

/**
 * A link of the container's on one of the host's (marks: master is the host's link, netns). Before Linux 6.13 name and
 * number are looked for among the links of whoever asks, and there is an eth0 and a 2 as a rule: so it has a name that
 * nobody else has at first, and the number that comes next.
 */
export function newVlan(driver: 'macvlan' | 'ipvlan', name: string, guest: GuestLink): Message {
  const own: Attribute[] = driver === 'macvlan' ? [[IFLA.ADDRESS, guest.mac]] : []
  return encodeMessage(RTM.NEWLINK, NEW, {
    header: linkHeader(0),
    attributes: [
      [IFLA.IFNAME, text(name)],
      ...own,
      [IFLA.LINK, 'master'],
      [IFLA.NET_NS_FD, 'netns'],
      info(driver, [MODES[driver]]),
    ],
  })
}

/** Of a link that is down. */
export function renameLink(index: number, name: string): Message {
  return encodeMessage(RTM.NEWLINK, 0, { header: linkHeader(index), attributes: [[IFLA.IFNAME, text(name)]] })
}

export function linkUp(index: number): Message {
  return encodeMessage(RTM.NEWLINK, 0, { header: linkHeader(index, true), attributes: [] })
}

export function linkMtu(index: number, mtu: number): Message {
  return encodeMessage(RTM.NEWLINK, 0, { header: linkHeader(index), attributes: [[IFLA.MTU, u32(mtu)]] })
}

/** Brings up our end of a veth on its bridge, which may send back there what came from there: a container to itself. */
export function plugIn(name: string): Message {
  const data: Attribute[] = [[IFLA_BRPORT_MODE, Uint8Array.of(1)]]
  const slave: Attribute[] = [
    [INFO.SLAVE_KIND, text('bridge')],
    [INFO.SLAVE_DATA, { attributes: data }],
  ]
  return encodeMessage(RTM.NEWLINK, 0, {
    header: linkHeader(0, true),
    attributes: [
      [IFLA.IFNAME, text(name)],
      [IFLA.LINKINFO, { attributes: slave }],
    ],
  })
}

/** Makes a link a port of the bridge with this number, if it is not. */
export function linkMaster(name: string, bridge: number): Message {
  return encodeMessage(RTM.NEWLINK, 0, {
    header: linkHeader(0),
    attributes: [
      [IFLA.IFNAME, text(name)],
      [IFLA.MASTER, u32(bridge)],
    ],
  })
}

export function getLink(name: string): Message {
  return encodeMessage(RTM.GETLINK, 0, { header: linkHeader(0), attributes: [[IFLA.IFNAME, text(name)]] })
}

/** By name, since the number may have been given to another link. */
export function deleteLink(name: string): Message {
  return encodeMessage(RTM.DELLINK, 0, { header: linkHeader(0), attributes: [[IFLA.IFNAME, text(name)]] })
}

/** An address of a link, with the route to its subnet. */
export function newAddress(index: number, address: IpAddress, prefix: number): Message {
  const header = new Uint8Array(8)
  const flags = address.family === 6 ? IFA_F_PERMANENT | IFA_F_NODAD : IFA_F_PERMANENT
  header.set([AF[address.family], prefix, flags, RT.SCOPE_UNIVERSE])
  new DataView(header.buffer).setUint32(4, index, true)
  const bytes = ipBytes(address)
  return encodeMessage(RTM.NEWADDR, NEW, {
    header,
    attributes: [
      [IFA.LOCAL, bytes],
      [IFA.ADDRESS, bytes],
      [IFA.FLAGS, u32(flags)],
    ],
  })
}

/** The default route of a family, over a gateway that the link's subnet has. */
export function newDefaultRoute(index: number, gateway: IpAddress): Message {
  // struct rtmsg.
  const header = new Uint8Array(12)
  header.set([AF[gateway.family], 0, 0, 0, RT.TABLE_MAIN, RT.PROT_STATIC, RT.SCOPE_UNIVERSE, RT.UNICAST])
  return encodeMessage(RTM.NEWROUTE, NEW, {
    header,
    attributes: [
      [RTA.GATEWAY, ipBytes(gateway)],
      [RTA.OIF, u32(index)],
    ],
  })
}

/** `0a:1b:2c:3d:4e:5f`. Throws RangeError for anything else. */
export function parseMac(mac: string): Uint8Array {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(mac)) throw new RangeError(`not a MAC address: ${mac}`)
  return Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16))
}
