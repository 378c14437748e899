/** An IP address as a number of 32 or 128 bits. */
export interface IpAddress {
  readonly family: 4 | 6
  readonly value: bigint
}

/** The addresses that share the first `prefix` bits; those behind them are 0 in `first`. */
export interface Subnet {
  readonly first: IpAddress
  readonly prefix: number
}

const BITS = { 4: 32, 6: 128 } as const

/** `10.88.0.1`, or the text forms of RFC 4291 section 2.2 without a zone; undefined for anything else. */
export function parseIp(text: string): IpAddress | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

function parseIpv4(text: string): IpAddress | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  let value = 0n
  for (const part of match.slice(1)) {
    // inet_aton(3) takes 010 for 8, others for 10: neither is meant here.
    if (Number(part) > 255 || (part.length > 1 && part.startsWith('0'))) return undefined
    value = (value << 8n) | BigInt(part)
  }
  return { family: 4, value }
}

function parseIpv6(text: string): IpAddress | undefined {
  const gap = text.indexOf('::')
  if (gap >= 0 && text.indexOf('::', gap + 1) >= 0) return undefined
  const left = groups(gap < 0 ? text : text.slice(0, gap), gap < 0)
  const right = gap < 0 ? [] : groups(text.slice(gap + 2), true)
  if (left === undefined || right === undefined) return undefined
  const missing = 8 - left.length - right.length
  if (gap < 0 ? missing !== 0 : missing < 1) return undefined
  const all = [...left, ...Array.from({ length: missing }, () => 0n), ...right]
  return { family: 6, value: all.reduce((value, group) => (value << 16n) | group, 0n) }
}

/** The 16 bit groups between colons; the last one may be an IPv4 address. Undefined where one is none. */
function groups(text: string, last: boolean): bigint[] | undefined {
  if (text === '') return []
  const result: bigint[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (last && index === parts.length - 1 && part.includes('.')) {
      const tail = parseIpv4(part)
      if (tail === undefined) return undefined
      result.push(tail.value >> 16n, tail.value & 0xffffn)
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      result.push(BigInt(`0x${part}`))
    } else {
      return undefined
    }
  }
  return result
}

/** The form of RFC 5952: lower case, the longest run of zeros left out. */
export function formatIp({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.')
  const parts = Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(112 - 16 * index)) & 0xffffn))
  const { start, length } = longestZeros(parts)
  const hex = (list: number[]): string => list.map((part) => part.toString(16)).join(':')
  return length < 2 ? hex(parts) : `${hex(parts.slice(0, start))}::${hex(parts.slice(start + length))}`
}

function longestZeros(parts: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  for (let start = 0; start < parts.length; start++) {
    let length = 0
    while (parts[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  return best
}

/** `10.88.0.0/16`; undefined where it is none, or has bits behind the prefix. */
export function parseSubnet(text: string): Subnet | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text)
  const first = parseIp(match?.[1] ?? '')
  const prefix = Number(match?.[2])
  if (first === undefined || prefix > BITS[first.family]) return undefined
  return (first.value & (hosts({ first, prefix }) - 1n)) === 0n ? { first, prefix } : undefined
}

export function formatSubnet({ first, prefix }: Subnet): string {
  return `${formatIp(first)}/${prefix}`
}

/** How many addresses a subnet has. */
export function hosts({ first, prefix }: Subnet): bigint {
  return 1n << BigInt(BITS[first.family] - prefix)
}

export function contains(subnet: Subnet, address: IpAddress): boolean {
  const offset = address.value - subnet.first.value
  return address.family === subnet.first.family && offset >= 0n && offset < hosts(subnet)
}

export function overlap(a: Subnet, b: Subnet): boolean {
  return contains(a, b.first) || contains(b, a.first)
}

/** The address that lies so far behind the first. */
export function addressAt({ first }: Subnet, offset: bigint): IpAddress {
  return { family: first.family, value: first.value + offset }
}

/** Network byte order. */
export function ipBytes({ family, value }: IpAddress): Uint8Array {
  const bytes = new Uint8Array(BITS[family] / 8)
  for (let index = bytes.length - 1, rest = value; index >= 0; index--, rest >>= 8n) bytes[index] = Number(rest & 255n)
  return bytes
}
