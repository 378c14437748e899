import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/spec/read-config.ts'
import { type Json, parseJson } from '../../src/spec/read/json.ts'
import { FULL, messageOf, withValue } from './spec-full-config.ts'

const parse = (text: string): Json => parseJson(text, { key: 'config.json' })
const complaint = (text: string): string => messageOf(() => parse(text))

/** Maps as objects and bigints as numbers, so that it can be compared with what JSON.parse makes. */
function plain(value: Json): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, member]) => [key, plain(member)]))
  if (Array.isArray(value)) return value.map(plain)
  return typeof value === 'bigint' ? Number(value) : value
}

describe('a text in JSON', () => {
  it('means what it means to JSON.parse', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), fc.constantFrom(0, 1, '\t'), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        expect(plain(parse(text))).toEqual(JSON.parse(text))
      }),
    )
  })

  it('is one exactly where it is one to JSON.parse', () => {
    const piece = fc.oneof(
      fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', '\n', ' ', '\u00a0', '\u2028', 'null', 'true', '"a":'),
      fc.constantFrom('0', '-', '01', '1.5', '1e5', '.5', '+1', '1.', '"\\u00e9"', '"\\x"', '"\n"', 'NaN', "'a'", '//'),
    )
    const document = fc.oneof(
      fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
      fc.tuple(piece, piece).map(([one, other]) => `{"a": [${one}], "b": ${other}}`),
      piece.map((one) => `[${one}]`),
    )
    fc.assert(
      fc.property(document, (text) => {
        expect(complaint(text) === 'taken', text).toBe(isJson(text))
      }),
      { numRuns: 3000 },
    )
  })

  it.each([
    ['', 'not JSON, line 1, column 1: it ends too early'],
    ['{', 'not JSON, line 1, column 2: a name in double quotes is expected'],
    ['{"a": 1,}', 'not JSON, line 1, column 9: a name in double quotes is expected'],
    ['{"a" 1}', 'not JSON, line 1, column 6: a colon is expected'],
    ['{\n  "a": 1\n  "b": 2\n}', 'not JSON, line 3, column 3: a comma or the end of the object is expected'],
    ['[1 2]', 'not JSON, line 1, column 4: a comma or the end of the list is expected'],
    ['[1,\r\n 02]', 'not JSON, line 2, column 2: 02 is no value'],
    ['{"a": undefined}', 'not JSON, line 1, column 7: undefined is no value'],
    ['{"a": }', 'not JSON, line 1, column 7: a value is expected'],
    ['{"a": "b', 'not JSON, line 1, column 7: this text has no end'],
    ['["\\"]', 'not JSON, line 1, column 2: this text has no end'],
    [
      '["\n"]',
      'not JSON, line 1, column 2: this text holds a line break, another control character, or an unknown escape',
    ],
    ['{} {}', 'not JSON, line 1, column 4: something follows after the end'],
    ['\ufeff{}', 'not JSON, line 1, column 1: "\\ufeff" is no value'],
    ['{"a": 1, "a": 2}', 'line 1, column 10: the name a is there twice'],
    ['{"__proto__": 1, "\\u005f_proto__": 2}', 'line 1, column 18: the name __proto__ is there twice'],
    [`[${'9'.repeat(41)}]`, 'line 1, column 2: a number of 41 characters'],
    ['['.repeat(66), 'line 1, column 66: nested deeper than 64 levels'],
    [' '.repeat(2 ** 24 + 1), '16777217 characters, more than the 16777216 that are read'],
    [`[${'0,'.repeat(1_000_000)}0]`, 'line 1, column 2000000: more than 1000000 values'],
  ])('%j is refused with its place', (text, message) => {
    expect(complaint(text)).toBe(`config.json: ${message}`)
  })

  it.each([
    ['[]', 'an object is expected, not a list'],
    ['"\u2028"', 'an object is expected, not a text'],
    ['{"ociVersion": "1.\u2028"}', 'ociVersion: "1.\\u2028" is not a version such as 1.2.0'],
    [`{"ociVersion": "${'x'.repeat(200)}"}`, `ociVersion: "${'x'.repeat(80)}..." is not a version such as 1.2.0`],
    [`{"annotations": {"a": ${'[0'.repeat(30)}`, /^config.json: not JSON/],
  ])('%j makes one short line', (text, message) => {
    const line = messageOf(() => readConfig(text))
    if (typeof message === 'string') expect(line).toBe(`config.json: ${message}`)
    else expect(line).toMatch(message)
  })

  it('has lists of a hundred thousand items at most', () => {
    expect(messageOf(() => readConfig(withValue('process.env', Array(100_001).fill('A=b'))))).toBe(
      'config.json: process.env: 100001 items, more than the 100000 that are read',
    )
  })
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return false
  }
}

/** FULL with the digits of a number that JavaScript cannot write. */
function withDigits(path: string, digits: string): ReturnType<typeof readConfig> {
  const mark = 987_654_321
  return readConfig(withValue(path, mark).replace(String(mark), digits))
}

describe('numbers of 64 bits', () => {
  it.each([
    ['18446744073709551615', -1],
    ['18446744073709551614', 2 ** 64 - 2048],
    ['9223372036854775807', 2 ** 63 - 1024],
    ['9223372036854775808', 2 ** 63],
    ['9007199254740993', 2 ** 53],
    ['9007199254740991', 2 ** 53 - 1],
  ])('as a resource limit: %s is unlimited if it says so, else never more than it says', (digits, expected) => {
    const [limit] = withDigits('process.rlimits[0].hard', digits).process?.rlimits ?? []
    expect(limit?.hard).toBe(expected)
  })

  it('a soft limit that is unlimited needs a hard one that is', () => {
    expect(messageOf(() => withDigits('process.rlimits[0].soft', '18446744073709551615'))).toBe(
      'config.json: process.rlimits[0].soft: unlimited is above the hard limit 2048',
    )
    expect(messageOf(() => withDigits('process.rlimits[0].hard', '18446744073709551616'))).toBe(
      'config.json: process.rlimits[0].hard: 18446744073709551616 is not a whole number from 0 to 2^64-1',
    )
  })

  it.each([
    ['18446744073709551615', '18446744073709551615'],
    ['9007199254740993', '9007199254740993'],
    ['9007199254740991', 2 ** 53 - 1],
  ])('as an argument of a system call stay what they are: %s', (digits, expected) => {
    for (const key of ['value', 'valueTwo'] as const) {
      const { seccomp } = withDigits(`linux.seccomp.syscalls[1].args[0].${key}`, digits).linux ?? {}
      expect(seccomp?.syscalls?.[1]?.args?.[0]?.[key]).toBe(expected)
    }
  })

  it.each([
    // How cgroup v1 spells unlimited, and the largest number there is.
    ['memory.swap', '9223372036854771712', -1],
    ['memory.swap', '9223372036854775807', -1],
    ['memory.swap', '9007199254740991', 2 ** 53 - 1],
    ['pids.limit', '9223372036854775807', -1],
    ['cpu.shares', '18446744073709551615', 2 ** 53 - 1],
    ['hugepageLimits[0].limit', '18446744073709551615', 2 ** 53 - 1],
    ['blockIO.throttleReadBpsDevice[0].rate', '18446744073709551615', 0],
  ])('as limit %s: %s', (path, digits, expected) => {
    const resources = withDigits(`linux.resources.${path}`, digits).linux?.resources
    const value = path.match(/\w+/g)?.reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], resources)
    expect(value).toBe(expected)
  })

  it('beyond 64 bits are refused', () => {
    expect(messageOf(() => withDigits('linux.resources.memory.swap', '9223372036854775808'))).toBe(
      'config.json: linux.resources.memory.swap: 9223372036854775808 is not a number of 64 bits',
    )
    expect(messageOf(() => withDigits('linux.resources.cpu.shares', '1e400'))).toBe(
      'config.json: linux.resources.cpu.shares: Infinity is not a whole number',
    )
    expect(FULL.linux.resources.cpu.shares).toBe(1024)
  })
})
