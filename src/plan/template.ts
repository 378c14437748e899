import { ipBytes, parseIp } from '../model/ip.ts'

/** What makes one container differ from another one of the same request. */
export interface Identity {
  /** 64 hex digits. */
  readonly id: string
  readonly name: string
  /** First host id of its range. */
  readonly firstId: number
  /** Milliseconds since 1970. */
  readonly nowMs: number
  /** Its addresses in its network; others of the same templates must have as many letters. */
  readonly ip?: string
  readonly ip6?: string
}

/** Numbers of native/replay/prepared.h. */
export const MARK = {
  id: 1,
  name: 2,
  decimal: 3,
  word: 4,
  half: 5,
  now: 6,
  pairs: 7,
  octets: 8,
  ip4: 9,
  octets4: 10,
  ip6: 11,
  octets6: 12,
} as const

/** A place that holds something of an identity: so many digits of the id, or the first host id plus a number. */
export interface Mark {
  readonly offset: number
  readonly kind: (typeof MARK)[keyof typeof MARK]
  readonly number: number
}

/** Bytes with the values of one identity, and where they stand. */
export interface Template {
  readonly bytes: Uint8Array
  readonly marks: readonly Mark[]
}

/** The same bytes made for two identities. */
export interface Sample {
  readonly bytes: Uint8Array
  readonly identity: Identity
}

/** The digits of an id that MAC addresses are made of (engine/networks/host.ts), in pairs. */
const macPairs = ({ id }: Identity): readonly string[] => id.slice(24, 32).match(/../g) ?? []

/** Those digits as MAC addresses have them. */
export const macDigits = (identity: Identity): string => macPairs(identity).join(':')

const latin1 = (bytes: Iterable<number>): string => String.fromCharCode(...bytes)

const octetsOf = (address: string | undefined): string => {
  const parsed = parseIp(address ?? '')
  return parsed === undefined ? '' : latin1(ipBytes(parsed))
}

/** Marks whose number says how many letters they stand for. */
const HAS_LENGTH: ReadonlySet<Mark['kind']> = new Set([MARK.ip4, MARK.ip6])

/** How an identity stands in the bytes, a byte a letter; what contains another one comes first. */
const TEXTS: readonly (readonly [kind: Mark['kind'], number: number, of: (identity: Identity) => string])[] = [
  [MARK.id, 64, ({ id }) => id],
  // What links tell (engine/state/owner-link.ts), a host name, a link of the host.
  [MARK.id, 32, ({ id }) => id.slice(0, 32)],
  [MARK.id, 12, ({ id }) => id.slice(0, 12)],
  [MARK.id, 11, ({ id }) => id.slice(0, 11)],
  [MARK.pairs, 0, macDigits],
  [MARK.octets, 0, (identity) => latin1(macPairs(identity).map((pair) => Number.parseInt(pair, 16)))],
  [MARK.ip6, 0, ({ ip6 = '' }) => ip6],
  [MARK.octets6, 0, ({ ip6 }) => octetsOf(ip6)],
  [MARK.ip4, 0, ({ ip = '' }) => ip],
  [MARK.octets4, 0, ({ ip }) => octetsOf(ip)],
  [MARK.name, 0, ({ name }) => name],
  [MARK.now, 0, ({ nowMs }) => String(nowMs)],
  [MARK.decimal, 0, ({ firstId }) => String(firstId)],
]

/**
 * Finds out what in some bytes depends on the identity, from two samples that differ in nothing else. Undefined where
 * they differ in something that is no id, name, number of the range, or time: such bytes have to be made anew each time.
 */
export function makeTemplate(one: Sample, other: Sample): Template | undefined {
  if (one.bytes.length !== other.bytes.length) return undefined
  const [theirs, filled] = [Buffer.from(other.bytes), Buffer.from(one.bytes)]
  const marks = TEXTS.flatMap((text) => textMarks(text, filled, theirs, [one.identity, other.identity]))
  for (let at = firstDifference(filled, theirs, 0); at >= 0; at = firstDifference(filled, theirs, at)) {
    const mark = decimalAt(one, other, at) ?? numberAt(one, other, at, 8) ?? numberAt(one, other, at, 4)
    if (mark === undefined) return undefined
    marks.push(mark)
    fillIn({ bytes: filled, marks: [mark] }, other.identity, filled)
    // One that does not end the difference would be found for ever.
    if (filled[at] !== theirs[at]) return undefined
  }
  return { bytes: one.bytes, marks }
}

/** Every place where both have their own text; there the other one's is put in, so that it is found no more. */
function textMarks(
  [kind, number, of]: (typeof TEXTS)[number],
  filled: Buffer,
  theirs: Buffer,
  [ours, others]: readonly [Identity, Identity],
): Mark[] {
  const [text, otherText] = [of(ours), of(others)]
  if (text === otherText || text.length !== otherText.length) return []
  const marks: Mark[] = []
  for (let at = filled.indexOf(text, 0, 'latin1'); at >= 0; at = filled.indexOf(text, at + 1, 'latin1')) {
    if (theirs.toString('latin1', at, at + otherText.length) !== otherText) continue
    marks.push({ offset: at, kind, number: HAS_LENGTH.has(kind) ? text.length : number })
    filled.write(otherText, at, 'latin1')
  }
  return marks
}

/** -1 where they are the same from there on. */
function firstDifference(one: Buffer, other: Buffer, from: number): number {
  const [ours, theirs] = [wordsOf(one), wordsOf(other)]
  let word = from >> 2
  while (word < ours.length && ours[word] === theirs[word]) word++
  for (let at = Math.max(from, 4 * word); at < one.length; at++) if (one[at] !== other[at]) return at
  return -1
}

/** The whole ones: a byte is compared at a time only where there may be a difference. */
function wordsOf(bytes: Buffer): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39

/** A number in digits that is the first host id plus the same in both. */
function decimalAt(one: Sample, other: Sample, at: number): Mark | undefined {
  let [begin, end] = [at, at]
  while (begin > 0 && isDigit(one.bytes[begin - 1])) begin--
  while (isDigit(one.bytes[end])) end++
  const value = (sample: Sample): number => {
    const digits = sample.bytes.subarray(begin, end)
    return digits.every(isDigit) ? Number(String.fromCharCode(...digits)) - sample.identity.firstId : Number.NaN
  }
  const number = value(one)
  return number >= 0 && number === value(other) ? { offset: begin, kind: MARK.decimal, number } : undefined
}

/** A little-endian number of 8 or 4 bytes, on a border of its size, likewise. */
function numberAt(one: Sample, other: Sample, at: number, size: 4 | 8): Mark | undefined {
  const offset = at - (at % size)
  const value = (sample: Sample): number => {
    const { bytes, identity } = sample
    if (offset + size > bytes.length) return Number.NaN
    const view = new DataView(bytes.buffer, bytes.byteOffset + offset, size)
    const high = size === 8 ? view.getUint32(4, true) : 0
    return high * 2 ** 32 + view.getUint32(0, true) - identity.firstId
  }
  const number = value(one)
  if (!(number >= 0 && number < 2 ** 32 && number === value(other))) return undefined
  return { offset, kind: size === 8 ? MARK.word : MARK.half, number }
}

/**
 * The bytes for another identity, whose name and numbers must have as many characters as the template's: a copy, or
 * written into `onto`, which holds the bytes for some identity already.
 */
export function fillIn({ bytes, marks }: Template, identity: Identity, onto = Buffer.from(bytes)): Buffer {
  // Addresses are parsed for it, and stand in many places.
  const texts: string[] = []
  for (const { offset, kind, number } of marks) {
    const value = identity.firstId + number
    switch (kind) {
      case MARK.id:
        onto.write(identity.id, offset, number, 'latin1')
        break
      case MARK.name:
        onto.write(identity.name, offset, 'latin1')
        break
      case MARK.decimal:
        onto.write(String(value), offset, 'latin1')
        break
      case MARK.word:
        onto.writeUInt32LE(value % 2 ** 32, offset)
        onto.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4)
        break
      case MARK.half:
        onto.writeUInt32LE(value, offset)
        break
      case MARK.now:
        onto.write(String(identity.nowMs), offset, 'latin1')
        break
      case MARK.pairs:
      case MARK.octets:
      case MARK.ip4:
      case MARK.octets4:
      case MARK.ip6:
      case MARK.octets6:
        onto.write((texts[kind] ??= textOf(kind, identity)), offset, 'latin1')
        break
      default:
        kind satisfies never
    }
  }
  return onto
}

function textOf(kind: Mark['kind'], identity: Identity): string {
  return TEXTS.find(([known]) => known === kind)?.[2](identity) ?? ''
}

/** As long an id as another one, of a container whose name has as many letters; it differs from its first digit on. */
export function otherId(id: string, nameOf: (id: string) => string): string {
  const complement = (digits: string): string =>
    [...digits].map((digit) => (15 - Number.parseInt(digit, 16)).toString(16)).join('')
  const rest = complement(id.slice(8))
  const { length } = nameOf(id)
  const begin = Number.parseInt(complement(id.slice(0, 8)), 16)
  for (let step = 0; ; step++) {
    const other = ((begin + step * 0x00010001) >>> 0).toString(16).padStart(8, '0') + rest
    if (other[0] !== id[0] && nameOf(other).length === length) return other
  }
}
