import { TscrunError } from '../../model/errors.ts'

/** A time with whole nanoseconds; `nanoseconds` is 0 to 999,999,999 also before 1970. */
export interface TarTime {
  readonly seconds: number
  readonly nanoseconds: number
}

export function badTar(reason: string): TscrunError {
  return new TscrunError('INVALID_IMAGE', `layer archive: ${reason}`)
}

/** A header field: octal text, or base 256 where the first byte has its high bit set (GNU tar, star). */
export function fieldNumber(block: Buffer, start: number, length: number, what: string): number {
  const first = block[start] ?? 0
  if ((first & 0x80) !== 0) return base256(block, start, length, what)
  let i = start
  const end = start + length
  while (i < end && block[i] === 0x20) i++
  let value = 0
  for (; i < end; i++) {
    const byte = block[i] ?? 0
    if (byte === 0 || byte === 0x20) break
    if (byte < 0x30 || byte > 0x37) throw badTar(`${what} is not an octal number`)
    value = value * 8 + (byte - 0x30)
  }
  for (; i < end; i++) if (block[i] !== 0 && block[i] !== 0x20) throw badTar(`${what} is not an octal number`)
  return value
}

/** Two's complement, big endian, without the marker bit. */
function base256(block: Buffer, start: number, length: number, what: string): number {
  const negative = ((block[start] ?? 0) & 0x40) !== 0
  let value = BigInt((block[start] ?? 0) & 0x7f)
  for (let i = start + 1; i < start + length; i++) value = value * 256n + BigInt(block[i] ?? 0)
  if (negative) value -= 1n << BigInt(length * 8 - 1)
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw badTar(`${what} is out of range`)
  return number
}

/** A decimal of a PAX record, without sign. */
export function paxNumber(value: Buffer, what: string): number {
  const text = value.toString('latin1')
  if (!/^\d{1,16}$/.test(text)) throw badTar(`${what} ${JSON.stringify(text.slice(0, 40))} is not a number`)
  const number = Number(text)
  if (!Number.isSafeInteger(number)) throw badTar(`${what} is out of range`)
  return number
}

/** A PAX time: decimal seconds with any number of digits after the point. */
export function paxTime(value: Buffer, what: string): TarTime {
  const match = /^(-?)(\d{1,12})(?:\.(\d*))?$/.exec(value.toString('latin1'))
  if (match === null) throw badTar(`${what} is not a time`)
  const whole = Number(match[2])
  const fraction = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'))
  if (match[1] !== '-') return { seconds: whole, nanoseconds: fraction }
  return fraction === 0
    ? { seconds: whole === 0 ? 0 : -whole, nanoseconds: 0 }
    : { seconds: -whole - 1, nanoseconds: 1_000_000_000 - fraction }
}

/** The sum of a header's bytes with its checksum field taken as spaces; some old tars summed signed bytes. */
export function checksumFits(block: Buffer): boolean {
  let unsigned = 0
  let signed = 0
  for (let i = 0; i < 512; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0)
    unsigned += byte
    signed += byte > 127 ? byte - 256 : byte
  }
  const stated = fieldNumber(block, 148, 8, 'the header checksum')
  return stated === unsigned || stated === signed
}

/** Bytes of a field up to its first NUL. */
export function fieldBytes(block: Buffer, start: number, length: number): Buffer {
  const end = block.indexOf(0, start)
  return block.subarray(start, end >= start && end < start + length ? end : start + length)
}
