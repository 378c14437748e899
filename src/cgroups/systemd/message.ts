import { malformed } from './error.ts'
import { type DbusValue, type DbusVariant, parseSignature } from './signature.ts'
import { decodeValues, encodeValues } from './wire.ts'

/** Bytes of a whole message; the specification's limit. */
const MAX_MESSAGE = 2 ** 27
const MAX_FIELDS = 2 ** 26
/** The fixed part: byte order, type, flags, version, body length, serial, length of the fields. */
const FIXED = 16

const TYPES = ['call', 'return', 'error', 'signal'] as const
export type MessageType = (typeof TYPES)[number]

/** NO_REPLY_EXPECTED. */
const NO_REPLY = 1

/** Codes and types of the header's fields (D-Bus Specification, Header Fields). */
const FIELDS = {
  path: [1, 'o'],
  interface: [2, 's'],
  member: [3, 's'],
  errorName: [4, 's'],
  replySerial: [5, 'u'],
  destination: [6, 's'],
  sender: [7, 's'],
  signature: [8, 'g'],
} as const
type FieldName = keyof typeof FIELDS

const REQUIRED: Readonly<Record<MessageType, readonly FieldName[]>> = {
  call: ['path', 'member'],
  return: ['replySerial'],
  error: ['errorName', 'replySerial'],
  signal: ['path', 'interface', 'member'],
}

export interface Message {
  readonly type: MessageType
  /** Not 0; replies name it. */
  readonly serial: number
  readonly noReply?: boolean
  readonly path?: string
  readonly interface?: string
  readonly member?: string
  readonly errorName?: string
  readonly replySerial?: number
  readonly destination?: string
  readonly sender?: string
  /** Types of the body; empty without one. */
  readonly signature?: string
}

/** A message from a peer: its body stays bytes until somebody wants it. */
export interface Received extends Message {
  readonly body: Uint8Array
  readonly littleEndian: boolean
}

/** The bytes of `message` with `values` as its body. */
export function encodeMessage(message: Message, values: readonly DbusValue[] = []): Buffer {
  const body = encodeValues(message.signature ?? '', values)
  const fields = (Object.keys(FIELDS) as FieldName[]).flatMap((name) => {
    const value = message[name]
    if (value === undefined || value === '') return []
    const [code, signature] = FIELDS[name]
    return [[code, { signature, value }]] as const
  })
  const head = encodeValues('yyyyuua(yv)', [
    'l'.charCodeAt(0),
    TYPES.indexOf(message.type) + 1,
    message.noReply === true ? NO_REPLY : 0,
    1,
    body.length,
    message.serial,
    fields,
  ])
  const bytes = Buffer.concat([head, Buffer.alloc(padding(head.length)), body])
  if (bytes.length > MAX_MESSAGE) throw malformed(`a message of ${bytes.length} bytes`)
  return bytes
}

/**
 * Bytes of the message that `bytes` begin with; undefined while fewer than 16 are there to tell.
 * Throws SYSTEMD where no message begins.
 */
export function messageSize(bytes: Uint8Array): number | undefined {
  if (bytes.length < FIXED) return undefined
  const littleEndian = byteOrder(bytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, FIXED)
  if (view.getUint8(3) !== 1) throw malformed(`version ${view.getUint8(3)} of the protocol`)
  const body = view.getUint32(4, littleEndian)
  const fields = view.getUint32(12, littleEndian)
  const size = FIXED + fields + padding(fields) + body
  if (fields > MAX_FIELDS || size > MAX_MESSAGE) throw malformed(`a message of ${size} bytes`)
  return size
}

/** The message that exactly `bytes` are; undefined for one of a type unknown here, which is to be passed over. */
export function decodeMessage(bytes: Uint8Array): Received | undefined {
  const size = messageSize(bytes)
  if (size !== bytes.length) throw malformed(`a message of ${size ?? 'no'} bytes in ${bytes.length}`)
  const littleEndian = byteOrder(bytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const bodyStart = bytes.length - view.getUint32(4, littleEndian)
  const headEnd = FIXED + view.getUint32(12, littleEndian)
  if (bytes.subarray(headEnd, bodyStart).some((byte) => byte !== 0)) throw malformed('padding that is not zero')
  const [, code, flags, , , serial, fields] = decodeValues('yyyyuua(yv)', bytes.subarray(0, headEnd), littleEndian)
  if (code === 0 || serial === 0) throw malformed(code === 0 ? 'a message of type 0' : 'a message without a serial')
  const type = TYPES[(code as number) - 1]
  if (type === undefined) return undefined
  const known = readFields(fields as readonly (readonly [number, DbusVariant])[])
  for (const name of REQUIRED[type]) if (known[name] === undefined) throw malformed(`a ${type} without ${name}`)
  const body = bytes.subarray(bodyStart)
  if (body.length > 0 && known.signature === undefined) throw malformed('a body without a signature')
  const noReply = ((flags as number) & NO_REPLY) !== 0
  return { type, serial: serial as number, noReply, ...known, body, littleEndian }
}

/** The values of a received message's body. */
export function bodyOf(message: Received): DbusValue[] {
  return decodeValues(message.signature ?? '', message.body, message.littleEndian)
}

/** Fields that nobody knows are passed over, as the specification wants it. */
function readFields(fields: readonly (readonly [number, DbusVariant])[]): Partial<Message> {
  const found: Record<string, DbusValue> = {}
  for (const [code, { signature, value }] of fields) {
    if (code === 0) throw malformed('a header field 0')
    const field = (Object.entries(FIELDS) as [FieldName, readonly [number, string]][]).find(([, [own]]) => own === code)
    if (field === undefined) continue
    const [name, [, wanted]] = field
    if (signature !== wanted) throw malformed(`a header field ${name} of type ${signature}`)
    if (name in found) throw malformed(`two header fields ${name}`)
    found[name] = value
  }
  if (found['replySerial'] === 0) throw malformed('a reply to serial 0')
  if (typeof found['signature'] === 'string') parseSignature(found['signature'])
  return found
}

function byteOrder(bytes: Uint8Array): boolean {
  if (bytes[0] === 0x6c) return true
  if (bytes[0] === 0x42) return false
  throw malformed(`byte order ${bytes[0] ?? 0}`)
}

function padding(length: number): number {
  return (8 - (length % 8)) % 8
}
