import { syscall, trySyscall } from '../../syscall/call.ts'
import { SyscallError } from '../../syscall/errno.ts'
import { closeFd } from '../../syscall/process.ts'
import { getLink } from './links.ts'
import type { Message } from './message.ts'

const AF_NETLINK = 16
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const NLMSG_ERROR = 2
const RTM_NEWLINK = 16
const IFLA_MTU = 4
const ENODEV = 19

/** A conversation with rtnetlink(7) in the network namespace that this process is in. */
export interface Rtnetlink {
  /** Asks for something to be done; false for a failure of `tolerate` (errno). Throws SyscallError naming the subject. */
  ask(message: Message, subject: string, tolerate?: number): boolean
  /** Undefined where there is no link of this name. */
  link(name: string): { readonly index: number; readonly mtu: number } | undefined
}

export function withRtnetlink<T>(action: (rtnetlink: Rtnetlink) => T): T {
  const fd = syscall('socket', [AF_NETLINK, SOCK_RAW_CLOEXEC, 0], 'AF_NETLINK')
  const reply = Buffer.alloc(32_768)
  const answer = (message: Message, subject: string): Buffer => {
    syscall('write', [fd, message.bytes, message.bytes.length], subject)
    return reply.subarray(0, syscall('read', [fd, reply, reply.length], subject))
  }
  try {
    return action({
      ask(message, subject, tolerate) {
        const errno = errorOf(answer(message, subject))
        if (errno !== 0 && errno !== tolerate) throw new SyscallError('rtnetlink', errno ?? 0, subject)
        return errno === 0
      },
      link(name) {
        const got = answer(getLink(name), name)
        const errno = errorOf(got)
        if (errno === ENODEV) return undefined
        if (errno !== undefined) throw new SyscallError('rtnetlink', errno, name)
        // The acknowledgement of what has been answered.
        trySyscall('read', [fd, Buffer.alloc(4096), 4096])
        return { index: got.readInt32LE(20), mtu: attributeOf(got, IFLA_MTU)?.readUInt32LE() ?? 1500 }
      },
    })
  } finally {
    closeFd(fd)
  }
}

const SIOCGIFINDEX = 0x8933
/** struct ifreq (netdevice(7)): the name, then a union. */
const IFREQ = { bytes: 40, name: 16 } as const

/**
 * The numbers of links of this network namespace, in the order of the names; undefined for one that is not there. Without
 * rtnetlink, which waits while the kernel takes down anybody's network namespace.
 */
export function linkIndexes(names: readonly string[]): (number | undefined)[] {
  const fd = syscall('socket', [AF_NETLINK, SOCK_RAW_CLOEXEC, 0], 'AF_NETLINK')
  try {
    return names.map((name) => {
      const request = Buffer.alloc(IFREQ.bytes)
      request.write(name.slice(0, IFREQ.name - 1), 'latin1')
      const result = trySyscall('ioctl', [fd, SIOCGIFINDEX, request])
      if (result === -ENODEV) return undefined
      if (result < 0) throw new SyscallError('ioctl SIOCGIFINDEX', -result, name)
      return request.readInt32LE(IFREQ.name)
    })
  } finally {
    closeFd(fd)
  }
}

/** errno, 0 for done, of struct nlmsgerr; undefined for another message. */
function errorOf(message: Buffer): number | undefined {
  return message.readUInt16LE(4) === NLMSG_ERROR ? -message.readInt32LE(16) : undefined
}

/** Value of an attribute of a RTM_NEWLINK message. */
function attributeOf(message: Buffer, type: number): Buffer | undefined {
  if (message.readUInt16LE(4) !== RTM_NEWLINK) return undefined
  const end = message.readUInt32LE(0)
  for (let at = 32; at + 4 <= end; ) {
    const size = message.readUInt16LE(at)
    if (message.readUInt16LE(at + 2) === type) return message.subarray(at + 4, at + size)
    at += Math.max(4, (size + 3) & ~3)
  }
  return undefined
}
