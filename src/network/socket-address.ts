import { ipBytes, type IpAddress } from '../model/ip.ts'

/** struct sockaddr_in (ip(7)) or sockaddr_in6 (ipv6(7)). */
export function socketAddress(address: IpAddress, port: number): Uint8Array {
  const bytes = new Uint8Array(address.family === 4 ? 16 : 28)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, address.family === 4 ? 2 : 10, true)
  view.setUint16(2, port)
  bytes.set(ipBytes(address), address.family === 4 ? 4 : 8)
  return bytes
}
