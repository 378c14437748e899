import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TscrunError } from '../../src/model/errors.ts'
import { bodyOf, decodeMessage, encodeMessage, messageSize } from '../../src/cgroups/systemd/message.ts'
import { type DbusType, type DbusValue, parseSignature } from '../../src/cgroups/systemd/signature.ts'
import { decodeValues, encodeValues } from '../../src/cgroups/systemd/wire.ts'

/** Hexadecimal bytes; spaces and what stands behind a # are for the reader. */
function bytes(...lines: string[]): Buffer {
  return Buffer.from(lines.map((line) => line.replace(/#.*/, '').replaceAll(/\s/g, '')).join(''), 'hex')
}

/** Written by hand from the specification, section Marshaling. */
const VECTORS: readonly [string, readonly DbusValue[], Buffer][] = [
  ['y', [255], bytes('ff')],
  ['yn', [1, -2], bytes('01 00 feff')],
  ['bq', [true, 65535], bytes('01000000 ffff')],
  ['yu', [7, 0xdead_beef], bytes('07 000000 efbeadde')],
  ['i', [-1], bytes('ffffffff')],
  ['yx', [1, -2n], bytes('01 00000000000000 feffffffffffffff')],
  ['t', [2n ** 64n - 1n], bytes('ffffffffffffffff')],
  ['d', [1.5], bytes('000000000000f83f')],
  ['s', ['foo'], bytes('03000000 666f6f 00')],
  // The specification's own example: "foo", "+" and "bar" behind one another.
  ['sss', ['foo', '+', 'bar'], bytes('03000000 666f6f00', '01000000 2b00 0000', '03000000 626172 00')],
  ['s', [''], bytes('00000000 00')],
  ['s', ['ä'], bytes('02000000 c3a4 00')],
  ['yo', [1, '/a'], bytes('01 000000 02000000 2f61 00')],
  ['g', ['a{sv}'], bytes('05 617b73767d 00')],
  ['v', [{ signature: 'b', value: true }], bytes('01 62 00 00 01000000')],
  ['v', [{ signature: 'x', value: 5n }], bytes('01 78 00', '0000000000', '0500000000000000')],
  // The example of an array of 64-bit integers: the padding behind the length does not count.
  ['ax', [[5n]], bytes('08000000 00000000 0500000000000000')],
  ['ax', [[]], bytes('00000000 00000000')],
  ['ay', [Uint8Array.of(1, 2, 3)], bytes('03000000 010203')],
  ['as', [['a', 'bc']], bytes('0f000000', '01000000 6100 0000', '02000000 6263 00')],
  ['(yu)', [[1, 2]], bytes('01000000 02000000')],
  [
    'a(yy)',
    [
      [
        [1, 2],
        [3, 4],
      ],
    ],
    bytes('0a000000 00000000', '0102 000000000000', '0304'),
  ],
  [
    'a{sv}',
    [[['k', { signature: 'u', value: 9 }]]],
    bytes('10000000 00000000', '01000000 6b00', '01 75 00 000000', '09000000'),
  ],
]

describe('values', () => {
  it.each(VECTORS)('%s %o are the bytes that the specification says', (signature, values, wire) => {
    expect(encodeValues(signature, values).toString('hex')).toBe(wire.toString('hex'))
    expect(decodeValues(signature, wire)).toEqual(values)
  })

  it('of the other byte order are read', () => {
    expect(decodeValues('sux', bytes('00000003 666f6f00 00000007 00000000 0000000000000005'), false)).toEqual([
      'foo',
      7,
      5n,
    ])
  })

  it.each([
    ['b', bytes('02000000'), /no boolean/],
    ['yu', bytes('01 000001 02000000'), /padding/],
    ['s', bytes('03000000 666f6f 01'), /zero byte/],
    ['s', bytes('03000000 660066 00'), /zero byte in it/],
    ['s', bytes('02000000 c328 00'), /UTF-8/],
    ['s', bytes('03000000 eda080 00'), /UTF-8/],
    ['s', bytes('ffffffff 00'), /beyond/],
    ['o', bytes('02000000 2f2f 00'), /object path/],
    ['o', bytes('03000000 2f612f 00'), /object path/],
    ['o', bytes('00000000 00'), /object path/],
    ['g', bytes('01 61 00'), /ends too early/],
    ['v', bytes('00 00'), /not one type/],
    ['v', bytes('02 7575 00 01000000'), /not one type/],
    ['ay', bytes('04000000 010203'), /beyond/],
    ['ay', bytes('01000004'), /array of 67108865/],
    ['as', bytes('05000000 01000000 6100'), /beyond/],
    ['u', bytes('01000000 00'), /1 bytes behind/],
    ['u', bytes('0100'), /beyond/],
  ])('%s of malformed bytes %o are refused', (signature, wire, message) => {
    expect(() => decodeValues(signature, wire)).toThrow(message)
  })

  it.each([
    ['y', 256],
    ['n', 32768],
    ['u', -1],
    ['u', 1.5],
    ['x', 1],
    ['t', -1n],
    ['t', 2n ** 64n],
    ['b', 1],
    ['s', 'a\0b'],
    ['s', '\ud800'],
    ['o', 'a'],
    ['as', 'a'],
    ['(uu)', [1]],
    ['v', 1],
  ] satisfies [string, DbusValue][])('%s is not made of %o', (signature, value) => {
    expect(() => encodeValues(signature, [value])).toThrow(TscrunError)
  })

  it('of variants in variants end at 64 levels', () => {
    const nested = (levels: number): DbusValue =>
      levels === 0 ? { signature: 'y', value: 1 } : { signature: 'v', value: nested(levels - 1) }
    const wire = encodeValues('v', [nested(63)])
    expect(decodeValues('v', wire)).toEqual([nested(63)])
    expect(() => encodeValues('v', [nested(64)])).toThrow(/too deep/)
    expect(() => decodeValues('v', Buffer.concat([bytes('01 76 00'), wire]))).toThrow(/too deep/)
  })
})

describe('signatures', () => {
  it.each([
    'a',
    '(',
    ')',
    '()',
    '{sv}',
    'a{vs}',
    'a{s}',
    'a{sss}',
    'a{sv',
    'z',
    'h',
    'r',
    'e',
    'u ',
    `${'a'.repeat(33)}u`,
    `${'('.repeat(33)}u${')'.repeat(33)}`,
    'u'.repeat(256),
  ])('%j is none', (text) => {
    expect(() => parseSignature(text)).toThrow(TscrunError)
  })

  it.each([
    '',
    'u',
    'a{oa{sv}}',
    'a(ss)',
    '(a{s(vv)})',
    `${'a'.repeat(32)}u`,
    `${'('.repeat(32)}u${')'.repeat(32)}`,
    'u'.repeat(255),
  ])('%j is one', (text) => {
    expect(() => parseSignature(text)).not.toThrow()
  })
})

// ---- generated ---------------------------------------------------------------------------------------------------

const text = fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0'))
const path = fc.array(fc.stringMatching(/^[A-Za-z0-9_]{1,5}$/), { maxLength: 4 }).map((parts) => `/${parts.join('/')}`)

const BASIC: Readonly<Record<string, fc.Arbitrary<DbusValue>>> = {
  y: fc.integer({ min: 0, max: 255 }),
  b: fc.boolean(),
  n: fc.integer({ min: -32768, max: 32767 }),
  q: fc.integer({ min: 0, max: 65535 }),
  i: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  u: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  x: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  t: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  d: fc.double(),
  s: text,
  o: path,
  g: fc.constantFrom('', 'a{sv}', 'uu(ss)'),
}

const signature: fc.Arbitrary<string> = fc.letrec<{
  type: string
  basic: string
  array: string
  struct: string
  dict: string
}>((tie) => ({
  basic: fc.constantFrom(...Object.keys(BASIC)),
  array: tie('type').map((element) => `a${element}`),
  struct: fc.array(tie('type'), { minLength: 1, maxLength: 3 }).map((fields) => `(${fields.join('')})`),
  dict: fc.tuple(tie('basic'), tie('type')).map(([key, value]) => `a{${key}${value}}`),
  type: fc.oneof({ maxDepth: 4 }, tie('basic'), fc.constant('v'), tie('array'), tie('struct'), tie('dict')),
})).type

function valueOf(type: DbusType, depth = 0): fc.Arbitrary<DbusValue> {
  switch (type.kind) {
    case 'basic':
      return BASIC[type.code]!
    case 'variant': {
      const inner = depth > 2 ? fc.constantFrom('u', 's', 'ay') : signature
      return inner.chain((own) =>
        valueOf(parseSignature(own)[0]!, depth + 1).map((value) => ({ signature: own, value })),
      )
    }
    case 'array': {
      if (type.element.kind === 'basic' && type.element.code === 'y') return fc.uint8Array({ maxLength: 9 })
      return fc.array(valueOf(type.element, depth + 1), { maxLength: 3 })
    }
    case 'struct':
      return fc.tuple(...type.fields.map((field) => valueOf(field, depth + 1)))
    case 'entry':
      return fc.tuple(valueOf(type.key, depth + 1), valueOf(type.value, depth + 1))
    default:
      return type satisfies never
  }
}

const typed = fc.array(signature, { maxLength: 4 }).chain((parts) => {
  const types = parts.map((part) => parseSignature(part)[0]!)
  return fc.tuple(fc.constant(parts.join('')), fc.tuple(...types.map((type) => valueOf(type))))
})

describe('generated values', () => {
  it('come back as they were sent', () => {
    fc.assert(
      fc.property(typed, ([signature, values]) => {
        expect(decodeValues(signature, encodeValues(signature, values))).toEqual(values)
      }),
    )
  })

  it('with one byte changed, or cut, are refused by an error of ours or read as something that is written the same', () => {
    fc.assert(
      fc.property(
        typed,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        ([signature, values], at, bits, cut) => {
          const wire = Buffer.from(encodeValues(signature, values))
          fc.pre(wire.length > 0)
          const place = at % wire.length
          wire[place] = wire[place]! ^ bits
          const input = cut ? wire.subarray(0, place) : wire
          const read = attempt(() => decodeValues(signature, input))
          // Not a number has many spellings.
          if (
            read &&
            !JSON.stringify(read, (_, value: unknown) => (typeof value === 'bigint' ? 0 : value)).includes('null')
          ) {
            expect(encodeValues(signature, read)).toEqual(input)
          }
        },
      ),
    )
  })

  it('of random bytes never run beyond them', () => {
    fc.assert(
      fc.property(signature, fc.uint8Array({ maxLength: 64 }), fc.boolean(), (signature, wire, littleEndian) => {
        // In the middle of a larger buffer, so that reading on would find something.
        const around = new Uint8Array(wire.length + 64).fill(1)
        around.set(wire, 32)
        const alone = attempt(() => decodeValues(signature, wire, littleEndian))
        const inside = attempt(() => decodeValues(signature, around.subarray(32, 32 + wire.length), littleEndian))
        expect(inside).toEqual(alone)
      }),
      { numRuns: 1000 },
    )
  })
})

/** Undefined where an error for users was thrown; any other error is a bug. */
function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    expect(error).toBeInstanceOf(TscrunError)
    return undefined
  }
}

// ---- messages ----------------------------------------------------------------------------------------------------

/** Hello, the first message of every connection to a bus. */
const HELLO = bytes(
  '6c 01 00 01 00000000 01000000 6d000000 # little endian, call, no flags, version 1, no body, serial 1, 109 bytes',
  '01 01 6f 00 15000000 2f6f72672f667265656465736b746f702f44427573 00 0000 # PATH, o, 21 bytes',
  '02 01 73 00 14000000 6f72672e667265656465736b746f702e44427573 00 000000 # INTERFACE',
  '03 01 73 00 05000000 48656c6c6f 00 0000 # MEMBER',
  '06 01 73 00 14000000 6f72672e667265656465736b746f702e44427573 00 # DESTINATION',
  '000000 # up to a multiple of 8',
)

describe('messages', () => {
  const hello = {
    type: 'call',
    serial: 1,
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
    member: 'Hello',
    destination: 'org.freedesktop.DBus',
  } as const

  it('are the bytes that the specification says', () => {
    expect(encodeMessage(hello).toString('hex')).toBe(HELLO.toString('hex'))
    expect(decodeMessage(HELLO)).toMatchObject({ ...hello, noReply: false, body: Buffer.alloc(0) })
  })

  it('tell their size from the first 16 bytes', () => {
    expect(messageSize(HELLO.subarray(0, 15))).toBeUndefined()
    expect(messageSize(HELLO.subarray(0, 16))).toBe(HELLO.length)
  })

  it('with a body come back as they were sent', () => {
    const signal = {
      type: 'signal',
      serial: 0xffff_ffff,
      path: '/a',
      interface: 'b.c',
      member: 'D',
      signature: 'uoss',
    } as const
    const received = decodeMessage(encodeMessage(signal, [1, '/o', 'unit', 'done']))!
    expect(received).toMatchObject(signal)
    expect(bodyOf(received)).toEqual([1, '/o', 'unit', 'done'])
  })

  it('of a type, or with a header field, that nobody knows are passed over', () => {
    const other = Buffer.from(HELLO)
    other[1] = 77
    expect(decodeMessage(other)).toBeUndefined()
    const field = Buffer.from(HELLO)
    field[16 + 32] = 99 // INTERFACE, which a call need not have
    expect(decodeMessage(field)).not.toHaveProperty('interface')
  })

  it.each([
    ['another byte order', 0, 0x78, /byte order/],
    ['type 0', 1, 0, /type 0/],
    ['version 2', 3, 2, /version 2/],
    ['serial 0', 8, 0, /serial/],
    ['a body larger than a message may be', 7, 0xff, /message of/],
    ['more fields than there are bytes', 12, 0xf0, /message of/],
    ['field 0', 16, 0, /field 0/],
    ['a field of another type', 18, 0x73, /field path of type s/],
    ['no member', 16 + 32 + 32, 99, /without member/],
    ['two destinations', 16 + 32, 6, /two header fields/],
    ['padding that is not zero', 127, 1, /padding/],
  ])('with %s are refused', (_, at, byte, message) => {
    const wire = Buffer.from(HELLO)
    wire[at] = byte
    expect(() => decodeMessage(wire)).toThrow(message)
  })

  it('of random bytes, and with random bytes in them, are refused by an error of ours', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(HELLO.length - 1), (noise, at) => {
        attempt(() => decodeMessage(noise))
        const wire = Buffer.from(HELLO)
        wire.set(noise.subarray(0, wire.length - at), at)
        const message = attempt(() => decodeMessage(wire))
        const body = message === undefined ? [] : attempt(() => bodyOf(message))
        expect(body ?? []).toBeInstanceOf(Array)
      }),
      { numRuns: 1000 },
    )
  })
})
