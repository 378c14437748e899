import { TscrunError } from '../model/errors.ts'
import { formatIp, type IpAddress } from '../model/ip.ts'
import { syscall, trySyscall } from '../syscall/call.ts'
import { errnoName } from '../syscall/errno.ts'
import { closeFd } from '../syscall/process.ts'
import { socketAddress } from './socket-address.ts'

const AF = { 4: 2, 6: 10 } as const
const SOCK = { stream: 1, datagram: 2, cloexec: 0o2000000 } as const
const [EADDRNOTAVAIL, EAFNOSUPPORT] = [99, 97]

/**
 * A port of this host that nobody has at the moment, as the kernel picks it. Throws USAGE for an address that is not the
 * host's.
 */
export function freePort(protocol: 'tcp' | 'udp' | 'sctp', address: IpAddress): number {
  const type = (protocol === 'udp' ? SOCK.datagram : SOCK.stream) | SOCK.cloexec
  const fd = trySyscall('socket', [AF[address.family], type, 0])
  // A host without IPv6 has the port for IPv4 alone.
  if (fd === -EAFNOSUPPORT && address.family === 6) return freePort(protocol, { family: 4, value: 0n })
  if (fd < 0) throw noPort(address, -fd)
  try {
    const name = socketAddress(address, 0)
    const bound = trySyscall('bind', [fd, name, name.length])
    if (bound < 0) throw noPort(address, -bound)
    const found = Buffer.alloc(28)
    syscall('getsockname', [fd, found, Buffer.from(Uint32Array.of(found.length).buffer)])
    return found.readUInt16BE(2)
  } finally {
    closeFd(fd)
  }
}

function noPort(address: IpAddress, errno: number): TscrunError {
  const text = formatIp(address)
  const reason = errno === EADDRNOTAVAIL ? 'this host has no such address' : 'it has no free port'
  return new TscrunError('USAGE', `publish a port of ${text}: ${reason} (${errnoName(errno)})`, {
    errno: errnoName(errno),
    subject: text,
    hint: '`ip addr` shows the addresses of this host',
  })
}
