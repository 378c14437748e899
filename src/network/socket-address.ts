import { formatIp, ipBytes, type IpAddress } from '../model/ip.ts'

/** `10.0.0.1:80`, `[::1]:80` of one that `socketAddress` has made. */
export function describeSocketAddress(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const family = bytes.length === 16 ? 4 : 6
  const octets = [...(family === 4 ? bytes.subarray(4, 8) : bytes.subarray(8, 24))]
  const text = formatIp({ family, value: octets.reduce<bigint>((sum, byte) => (sum << 8n) | BigInt(byte), 0n) })
  return `${family === 4 ? text : `[${text}]`}:${view.getUint16(2)}`
}

/** struct sockaddr_in (ip(7)) or sockaddr_in6 (ipv6(7)). */
export function socketAddress(address: IpAddress, port: number): Uint8Array {
  const bytes = new Uint8Array(address.family === 4 ? 16 : 28)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, address.family === 4 ? 2 : 10, true)
  view.setUint16(2, port)
  bytes.set(ipBytes(address), address.family === 4 ? 4 : 8)
  return bytes
}
