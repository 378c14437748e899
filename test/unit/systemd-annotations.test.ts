import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { annotationProperties } from '../../src/cgroups/systemd/annotations.ts'
import { parseGVariant } from '../../src/cgroups/systemd/gvariant.ts'
import { encodeValues } from '../../src/cgroups/systemd/wire.ts'
import { TscrunError } from '../../src/model/errors.ts'

describe('values in the text format of GVariant', () => {
  it.each([
    ['true', 'b', true],
    [' false ', 'b', false],
    ['42', 'i', 42],
    ['-0x10', 'i', -16],
    ['010', 'i', 8],
    ['uint64 18446744073709551615', 't', 2n ** 64n - 1n],
    ['int64 -5', 'x', -5n],
    ['byte 255', 'y', 255],
    ['uint32 1', 'u', 1],
    ['1.5', 'd', 1.5],
    ['1e3', 'd', 1000],
    ['double 2', 'd', 2],
    ['-inf', 'd', -Infinity],
    ["'inactive-or-failed'", 's', 'inactive-or-failed'],
    ['"it\'s"', 's', "it's"],
    ["'a\\n\\'\\u00e4\\U0001f600\\\\'", 's', "a\n'ä😀\\"],
    ["objectpath '/a/b'", 'o', '/a/b'],
    ["@o '/a'", 'o', '/a'],
    ["['a', 'b']", 'as', ['a', 'b']],
    ['@as []', 'as', []],
    ['[1, 2,]', 'ai', [1, 2]],
    ['[uint64 1, 2]', 'at', [1n, 2n]],
    ['[1, uint64 2]', 'at', [1n, 2n]],
    ['@at [1]', 'at', [1n]],
    ['@ay [1, 2]', 'ay', [1, 2]],
    ["('x', uint64 5)", '(st)', ['x', 5n]],
    ["[('/dev/sda', uint64 5)]", 'a(st)', [['/dev/sda', 5n]]],
    ['(1,)', '(i)', [1]],
    ["<'v'>", 'v', { signature: 's', value: 'v' }],
  ])('%s is a value of type %s', (text, signature, value) => {
    expect(parseGVariant(text, 'x')).toEqual({ signature, value })
    expect(() => encodeValues(signature, [parseGVariant(text, 'x').value])).not.toThrow()
  })

  it.each([
    '',
    'yes',
    "'a",
    '[',
    '[]',
    '(1',
    "[1, 'a']",
    'uint64',
    'uint64 -1',
    'byte 256',
    '2147483648',
    '08',
    '1x',
    "uint32 'a'",
    'true false',
    'handle 1',
    '@ 1',
    '@(s 1',
    '@uu 1',
    "{'a': 1}",
    'just 1',
    'uint64 int64 1',
    "objectpath 'a'",
    "'\\u0000'",
    '<1',
    'constructor 1',
    `${'['.repeat(99)}1`,
  ])('%j is none', (text) => {
    expect(attempt(() => parseGVariant(text, 'annotations["x"]'))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(/^config\.json: annotations\["x"\]: .*$/) as string,
    })
  })

  it('of any text end in a value or an error of ours', () => {
    const piece = fc.constantFrom(
      '[',
      ']',
      '(',
      ')',
      '<',
      '>',
      ',',
      "'",
      '"',
      '\\',
      '@as',
      'uint64 ',
      'true',
      '-',
      '1',
      '.',
      'e',
      'inf',
      ' ',
      'ä',
      '\\u12',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const value = attempt(() => parseGVariant(pieces.join(''), 'x'))
        if (value instanceof TscrunError) return
        const { signature, value: own } = value as ReturnType<typeof parseGVariant>
        expect(attempt(() => encodeValues(signature, [own]))).not.toBeInstanceOf(TypeError)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('annotations org.systemd.property.*', () => {
  it('are properties; seconds become microseconds', () => {
    const properties = annotationProperties({
      other: 'x',
      'org.systemd.property.TimeoutStopUSec': 'uint64 123456789',
      'org.systemd.property.RuntimeMaxSec': '2',
      'org.systemd.property.JobTimeoutSec': 'uint64 3',
      'org.systemd.property.WatchdogSec': '0.5',
      'org.systemd.property.CollectMode': "'inactive'",
      'org.systemd.property.After': "['a.service', 'b.service']",
    })
    expect(Object.fromEntries(properties.map(({ name, value }) => [name, value.value]))).toEqual({
      TimeoutStopUSec: 123_456_789n,
      RuntimeMaxUSec: 2_000_000n,
      JobTimeoutUSec: 3_000_000n,
      WatchdogUSec: 500_000n,
      CollectMode: 'inactive',
      After: ['a.service', 'b.service'],
    })
  })

  it.each([
    ['Ab', '1', /no name/],
    ['A=b', '1', /no name/],
    ['', '1', /no name/],
    ['PIDs', '[uint32 1]', /set by the runtime/],
    ['Slice', "'a.slice'", /set by the runtime/],
    ['RuntimeMaxSec', "'2'", /seconds/],
    ['RuntimeMaxSec', '-2', /seconds/],
    ['RuntimeMaxSec', 'uint64 18446744073709551615', /seconds/],
    ['RuntimeMaxSec', 'nan', /seconds/],
    ['CollectMode', 'inactive', /begins no value/],
  ])('%s=%s is refused by name', (name, value, message) => {
    expect(attempt(() => annotationProperties({ [`org.systemd.property.${name}`]: value }))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(message) as string,
      subject: `annotations["org.systemd.property.${name}"]`,
    })
  })
})

function attempt(action: () => unknown): unknown {
  try {
    return action()
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    return error
  }
}
