import { malformed } from './error.ts'
import {
  alignmentOf,
  type BasicCode,
  type DbusType,
  type DbusValue,
  type DbusVariant,
  isObjectPath,
  parseSignature,
  parseSingleType,
} from './signature.ts'

/** Bytes of one array's elements; the specification's limit. */
const MAX_ARRAY = 2 ** 26
/** Containers inside one another, variants included: 32 arrays and 32 structs. */
const MAX_DEPTH = 64

/** `values` as a message body of `signature`, little endian. Throws SYSTEMD for a value that its type cannot hold. */
export function encodeValues(signature: string, values: readonly DbusValue[]): Buffer {
  const types = parseSignature(signature)
  if (types.length !== values.length) throw malformed(`${values.length} values for the signature ${signature}`)
  const writer: Writer = { bytes: Buffer.alloc(256), length: 0 }
  types.forEach((type, index) => encodeValue(writer, type, values[index] as DbusValue, 0))
  return writer.bytes.subarray(0, writer.length)
}

/** The values of a whole message body. Throws SYSTEMD for bytes that are none, leftover ones included. */
export function decodeValues(signature: string, bytes: Uint8Array, littleEndian = true): DbusValue[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const reader: Reader = { bytes, view, littleEndian, at: 0 }
  const values = parseSignature(signature).map((type) => decodeValue(reader, type, 0))
  if (reader.at !== bytes.length) throw malformed(`${bytes.length - reader.at} bytes behind the last value`)
  return values
}

// ---- encoding ----------------------------------------------------------------------------------------------------

interface Writer {
  bytes: Buffer
  length: number
}

/** Room for `size` bytes at a multiple of `alignment`; the padding is zero. Answers their offset. */
function reserve(writer: Writer, alignment: number, size: number): number {
  const start = Math.ceil(writer.length / alignment) * alignment
  const end = start + size
  if (end > writer.bytes.length) {
    const larger = Buffer.alloc(Math.max(end, writer.bytes.length * 2))
    writer.bytes.copy(larger, 0, 0, writer.length)
    writer.bytes = larger
  }
  writer.length = end
  return start
}

function encodeValue(writer: Writer, type: DbusType, value: DbusValue, depth: number): void {
  if (depth > MAX_DEPTH) throw malformed('values nest too deep')
  switch (type.kind) {
    case 'basic':
      return encodeBasic(writer, type.code, value)
    case 'variant': {
      if (!isVariant(value)) throw mismatch('v', value)
      encodeBasic(writer, 'g', value.signature)
      return encodeValue(writer, parseSingleType(value.signature), value.value, depth + 1)
    }
    case 'array':
      return encodeArray(writer, type.element, value, depth + 1)
    case 'struct':
      return encodeFields(writer, type.fields, value, depth + 1)
    case 'entry':
      return encodeFields(writer, [type.key, type.value], value, depth)
    default:
      return type satisfies never
  }
}

function encodeFields(writer: Writer, fields: readonly DbusType[], value: DbusValue, depth: number): void {
  if (!isList(value) || value.length !== fields.length) throw mismatch(`a struct of ${fields.length}`, value)
  reserve(writer, 8, 0)
  fields.forEach((field, index) => encodeValue(writer, field, value[index] as DbusValue, depth))
}

function encodeArray(writer: Writer, element: DbusType, value: DbusValue, depth: number): void {
  const at = reserve(writer, 4, 4)
  reserve(writer, alignmentOf(element), 0)
  const start = writer.length
  if (value instanceof Uint8Array && isByte(element)) {
    writer.bytes.set(value, reserve(writer, 1, value.length))
  } else {
    if (!isList(value)) throw mismatch('an array', value)
    for (const item of value) encodeValue(writer, element, item, depth)
  }
  const size = writer.length - start
  if (size > MAX_ARRAY) throw malformed(`an array of ${size} bytes`)
  writer.bytes.writeUInt32LE(size, at)
}

/** Bytes and bounds of the whole numbers; `b` is one of them on the wire. */
const INTEGERS = {
  y: [1, 0, 0xff],
  n: [2, -0x8000, 0x7fff],
  q: [2, 0, 0xffff],
  i: [4, -0x8000_0000, 0x7fff_ffff],
  u: [4, 0, 0xffff_ffff],
} as const satisfies Partial<Record<BasicCode, readonly [number, number, number]>>

const LONG = {
  x: [-(2n ** 63n), 2n ** 63n - 1n],
  t: [0n, 2n ** 64n - 1n],
} as const

function encodeBasic(writer: Writer, code: BasicCode, value: DbusValue): void {
  switch (code) {
    case 'b': {
      if (typeof value !== 'boolean') throw mismatch(code, value)
      const at = reserve(writer, 4, 4)
      writer.bytes.writeUInt32LE(value ? 1 : 0, at)
      return
    }
    case 'y':
    case 'n':
    case 'q':
    case 'i':
    case 'u': {
      const [size, lowest, highest] = INTEGERS[code]
      if (typeof value !== 'number' || !Number.isInteger(value) || value < lowest || value > highest) {
        throw mismatch(code, value)
      }
      const at = reserve(writer, size, size)
      if (lowest < 0) writer.bytes.writeIntLE(value, at, size)
      else writer.bytes.writeUIntLE(value, at, size)
      return
    }
    case 'x':
    case 't': {
      const [lowest, highest] = LONG[code]
      if (typeof value !== 'bigint' || value < lowest || value > highest) throw mismatch(code, value)
      const at = reserve(writer, 8, 8)
      if (code === 'x') writer.bytes.writeBigInt64LE(value, at)
      else writer.bytes.writeBigUInt64LE(value, at)
      return
    }
    case 'd': {
      if (typeof value !== 'number') throw mismatch(code, value)
      const at = reserve(writer, 8, 8)
      writer.bytes.writeDoubleLE(value, at)
      return
    }
    case 's':
    case 'o':
    case 'g':
      return encodeText(writer, code, value)
    default:
      return code satisfies never
  }
}

function encodeText(writer: Writer, code: 's' | 'o' | 'g', value: DbusValue): void {
  if (typeof value !== 'string') throw mismatch(code, value)
  checkText(code, value)
  const bytes = Buffer.from(value)
  // A half of a surrogate pair has no UTF-8.
  if (bytes.toString() !== value) throw mismatch(code, value)
  // Also the empty string ends with a zero byte.
  const head = code === 'g' ? 1 : 4
  const start = reserve(writer, head, head + bytes.length + 1)
  writer.bytes.writeUIntLE(bytes.length, start, head)
  writer.bytes.set(bytes, start + head)
}

function isByte(type: DbusType): boolean {
  return type.kind === 'basic' && type.code === 'y'
}

function isList(value: DbusValue): value is readonly DbusValue[] {
  return Array.isArray(value)
}

function isVariant(value: DbusValue): value is DbusVariant {
  return typeof value === 'object' && 'signature' in value
}

function mismatch(type: string, value: DbusValue): Error {
  const shown = typeof value === 'object' ? typeof value : JSON.stringify(String(value))
  return malformed(`${shown} is no value of type ${type}`)
}

// ---- decoding ----------------------------------------------------------------------------------------------------

interface Reader {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly littleEndian: boolean
  at: number
}

/** Offset of the next `size` bytes at a multiple of `alignment`; padding that is not zero is malformed. */
function take(reader: Reader, alignment: number, size: number): number {
  const start = Math.ceil(reader.at / alignment) * alignment
  if (start + size > reader.bytes.length) throw malformed('a value reaches beyond its message')
  for (let at = reader.at; at < start; at++) if (reader.bytes[at] !== 0) throw malformed('padding that is not zero')
  reader.at = start + size
  return start
}

function decodeValue(reader: Reader, type: DbusType, depth: number): DbusValue {
  if (depth > MAX_DEPTH) throw malformed('values nest too deep')
  switch (type.kind) {
    case 'basic':
      return decodeBasic(reader, type.code)
    case 'variant': {
      const signature = decodeText(reader, 'g')
      return { signature, value: decodeValue(reader, parseSingleType(signature), depth + 1) }
    }
    case 'array':
      return decodeArray(reader, type.element, depth + 1)
    case 'struct':
      take(reader, 8, 0)
      return type.fields.map((field) => decodeValue(reader, field, depth + 1))
    case 'entry':
      take(reader, 8, 0)
      return [decodeValue(reader, type.key, depth), decodeValue(reader, type.value, depth)]
    default:
      return type satisfies never
  }
}

function decodeArray(reader: Reader, element: DbusType, depth: number): DbusValue {
  const size = reader.view.getUint32(take(reader, 4, 4), reader.littleEndian)
  if (size > MAX_ARRAY) throw malformed(`an array of ${size} bytes`)
  // The padding before the first element is there in an empty array too, and does not count.
  const start = take(reader, alignmentOf(element), 0)
  const end = start + size
  if (end > reader.bytes.length) throw malformed('an array reaches beyond its message')
  if (isByte(element)) {
    reader.at = end
    return new Uint8Array(reader.bytes.subarray(start, end))
  }
  const items: DbusValue[] = []
  while (reader.at < end) items.push(decodeValue(reader, element, depth))
  if (reader.at !== end) throw malformed('an array whose last element reaches beyond it')
  return items
}

function decodeBasic(reader: Reader, code: BasicCode): DbusValue {
  const { view, littleEndian } = reader
  switch (code) {
    case 'y':
      return view.getUint8(take(reader, 1, 1))
    case 'b': {
      const value = view.getUint32(take(reader, 4, 4), littleEndian)
      if (value > 1) throw malformed(`${value} is no boolean`)
      return value === 1
    }
    case 'n':
      return view.getInt16(take(reader, 2, 2), littleEndian)
    case 'q':
      return view.getUint16(take(reader, 2, 2), littleEndian)
    case 'i':
      return view.getInt32(take(reader, 4, 4), littleEndian)
    case 'u':
      return view.getUint32(take(reader, 4, 4), littleEndian)
    case 'x':
      return view.getBigInt64(take(reader, 8, 8), littleEndian)
    case 't':
      return view.getBigUint64(take(reader, 8, 8), littleEndian)
    case 'd':
      return view.getFloat64(take(reader, 8, 8), littleEndian)
    case 's':
    case 'o':
    case 'g':
      return decodeText(reader, code)
    default:
      return code satisfies never
  }
}

function decodeText(reader: Reader, code: 's' | 'o' | 'g'): string {
  const { view, littleEndian } = reader
  const size = code === 'g' ? view.getUint8(take(reader, 1, 1)) : view.getUint32(take(reader, 4, 4), littleEndian)
  const start = take(reader, 1, size + 1)
  if (view.getUint8(start + size) !== 0) throw malformed('a text without its zero byte')
  const bytes = Buffer.from(reader.bytes.buffer, reader.bytes.byteOffset + start, size)
  const text = bytes.toString()
  // Broken UTF-8 becomes replacement characters, which do not lead back to the same bytes.
  if (!Buffer.from(text).equals(bytes)) throw malformed('a text that is not UTF-8')
  checkText(code, text)
  return text
}

function checkText(code: 's' | 'o' | 'g', text: string): void {
  if (text.includes('\0')) throw malformed('a text with a zero byte in it')
  if (code === 'o' && !isObjectPath(text)) throw malformed(`${JSON.stringify(text)} is no object path`)
  if (code === 'g') parseSignature(text)
}
