import { formatIp } from '../../model/ip.ts'
import { AF, IFA, IFF_UP, IFLA, IFLA_BRPORT_MODE, INFO, RTA, RTM, VETH_INFO_PEER } from './constants.ts'

/** An attribute of a message as it lies there. */
interface Found {
  readonly type: number
  readonly bytes: DataView
}

const HEADER_BYTES = 16
const LINK_BYTES = 16
const TYPE = 0x3fff

/** A message that src/network/netlink/links.ts has encoded, by the names of its fields; numbers that are put in later are left out. */
export function describeMessage(message: Uint8Array): string {
  const view = new DataView(message.buffer, message.byteOffset, message.length)
  const body = part(view, HEADER_BYTES)
  switch (view.getUint16(4, true)) {
    case RTM.NEWLINK:
      return ['newlink', ...describeLink(body)].join(' ')
    case RTM.NEWADDR:
      return describeAddress(body)
    case RTM.NEWROUTE:
      return describeRoute(body)
    default:
      return `<${message.length} bytes>`
  }
}

function part(view: DataView, from: number, length = view.byteLength - from): DataView {
  return new DataView(view.buffer, view.byteOffset + from, length)
}

function attributes(view: DataView): Found[] {
  const found: Found[] = []
  for (let at = 0; at + 4 <= view.byteLength; ) {
    const size = view.getUint16(at, true)
    if (size < 4 || at + size > view.byteLength) break
    found.push({ type: view.getUint16(at + 2, true) & TYPE, bytes: part(view, at + 4, size - 4) })
    at += (size + 3) & ~3
  }
  return found
}

const octets = ({ buffer, byteOffset, byteLength }: DataView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)
const textOf = (view: DataView): string => new TextDecoder().decode(octets(view)).replace(/\0$/, '')

/** struct ifinfomsg and its attributes. */
function describeLink(view: DataView): string[] {
  const index = view.getInt32(4, true)
  const up = (view.getUint32(8, true) & IFF_UP) !== 0
  return [
    ...(index === 0 ? [] : [`index=${index}`]),
    ...(up ? ['up'] : []),
    ...attributes(part(view, LINK_BYTES)).flatMap(describeLinkAttribute),
  ]
}

function describeLinkAttribute({ type, bytes }: Found): string[] {
  switch (type) {
    case IFLA.IFNAME:
      return [`name=${textOf(bytes)}`]
    case IFLA.ADDRESS:
      return [`address=${[...octets(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`]
    case IFLA.MTU:
      return [`mtu=${bytes.getUint32(0, true)}`]
    case IFLA.LINKINFO:
      return attributes(bytes).flatMap(describeInfo)
    default:
      return []
  }
}

function describeInfo({ type, bytes }: Found): string[] {
  if (type === INFO.KIND) return [`kind=${textOf(bytes)}`]
  if (type === INFO.SLAVE_DATA) {
    return attributes(bytes).some((found) => found.type === IFLA_BRPORT_MODE) ? ['hairpin'] : []
  }
  if (type !== INFO.DATA) return []
  return attributes(bytes).flatMap((found) =>
    found.type === VETH_INFO_PEER && found.bytes.byteLength > LINK_BYTES
      ? [`peer=(${describeLink(found.bytes).join(' ')})`]
      : [],
  )
}

/** struct ifaddrmsg. */
function describeAddress(view: DataView): string {
  const local = attributes(part(view, 8)).find(({ type }) => type === IFA.LOCAL)
  return `newaddr ${addressOf(view.getUint8(0), local)}/${view.getUint8(1)} index=${view.getUint32(4, true)}`
}

/** struct rtmsg. */
function describeRoute(view: DataView): string {
  const found = attributes(part(view, 12))
  const gateway = found.find(({ type }) => type === RTA.GATEWAY)
  const out = found.find(({ type }) => type === RTA.OIF)
  return `newroute default via=${addressOf(view.getUint8(0), gateway)} index=${out?.bytes.getUint32(0, true) ?? 0}`
}

function addressOf(family: number, found: Found | undefined): string {
  const value = [...(found === undefined ? [] : octets(found.bytes))].reduce(
    (sum, byte) => (sum << 8n) | BigInt(byte),
    0n,
  )
  return formatIp({ family: family === AF[6] ? 6 : 4, value })
}
