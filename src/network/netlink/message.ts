/** What a 32 bit number in a message is put in at run time: a namespace's descriptor, the index of the bridge. */
export type Mark = 'netns' | 'master'

/** Attributes in an attribute; some have a header of their own before them. */
export interface Nested {
  readonly header?: Uint8Array
  readonly attributes: readonly Attribute[]
}

/** An attribute of a netlink message: its type, and what it holds. */
export type Attribute = readonly [type: number, value: Uint8Array | Nested | Mark]

export interface Message {
  readonly bytes: Uint8Array
  /** Where in it a number is still missing. */
  readonly marks: ReadonlyMap<Mark, number>
}

/** netlink(7). */
export const NLM_F = { REQUEST: 1, ACK: 4, DUMP: 0x300, EXCL: 0x200, CREATE: 0x400 } as const
const NLA_F_NESTED = 0x8000
const HEADER_BYTES = 16
const ATTRIBUTE_BYTES = 4

/** A netlink message: struct nlmsghdr, the family's own header, attributes, each padded to 4 bytes. */
export function encodeMessage(type: number, flags: number, content: Nested): Message {
  const size = HEADER_BYTES + nestedSize(content)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, size, true)
  view.setUint16(4, type, true)
  view.setUint16(6, flags | NLM_F.REQUEST | NLM_F.ACK, true)
  const marks = new Map<Mark, number>()
  place(view, HEADER_BYTES, content, marks)
  return { bytes, marks }
}

function padded(size: number): number {
  return (size + 3) & ~3
}

function nestedSize({ header, attributes }: Nested): number {
  const own = header === undefined ? 0 : padded(header.length)
  return attributes.reduce((sum, [, value]) => sum + ATTRIBUTE_BYTES + padded(valueSize(value)), own)
}

function valueSize(value: Attribute[1]): number {
  if (value instanceof Uint8Array) return value.length
  return typeof value === 'string' ? 4 : nestedSize(value)
}

function place(view: DataView, start: number, { header, attributes }: Nested, marks: Map<Mark, number>): void {
  const bytes = new Uint8Array(view.buffer)
  let at = start
  if (header !== undefined) {
    bytes.set(header, at)
    at += padded(header.length)
  }
  for (const [type, value] of attributes) {
    const size = ATTRIBUTE_BYTES + valueSize(value)
    // 16 bits (CVE-2021-43784 is what becomes of a length that does not fit).
    if (size > 0xffff) throw new RangeError(`netlink attribute ${type}: ${size} bytes do not fit`)
    const nested = typeof value === 'object' && !(value instanceof Uint8Array)
    view.setUint16(at, size, true)
    view.setUint16(at + 2, nested ? type | NLA_F_NESTED : type, true)
    if (nested) place(view, at + ATTRIBUTE_BYTES, value, marks)
    else if (typeof value === 'string') marks.set(value, at + ATTRIBUTE_BYTES)
    else bytes.set(value, at + ATTRIBUTE_BYTES)
    at += padded(size)
  }
}

/** A number of 32 bits in the byte order of x86-64 and arm64. */
export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

/** A text with its NUL. */
export function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`)
}
