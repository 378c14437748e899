import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileDeviceFilter, DEFAULT_DEVICE_RULES } from '../../src/cgroups/devices.ts'
import type { OciDeviceRule } from '../../src/model/config.ts'

interface Request {
  readonly type: 'b' | 'c'
  readonly major: number
  readonly minor: number
  readonly access: string
}

/** Runs the program as the kernel would; what its verifier refuses (falling off, uninitialised answer) is an error. */
function run(program: Buffer, { type, major, minor, access }: Request): boolean {
  const wanted = [...access].reduce((bits, letter) => bits | { m: 1, r: 2, w: 4 }[letter as 'm' | 'r' | 'w'], 0)
  const context = [((wanted << 16) | (type === 'b' ? 1 : 2)) >>> 0, major, minor]
  const registers: (number | undefined)[] = []
  const read = (register: number) => registers[register] ?? expect.fail(`register ${register} read before written`)
  for (let at = 0; ; at += 1) {
    if ((at + 1) * 8 > program.length) throw new Error('ran off the end')
    const opcode = program.readUInt8(at * 8)
    const dst = program.readUInt8(at * 8 + 1) & 15
    const src = program.readUInt8(at * 8 + 1) >> 4
    const offset = program.readInt16LE(at * 8 + 2)
    const immediate = program.readUInt32LE(at * 8 + 4)
    switch (opcode) {
      case 0x61:
        if (src !== 1) throw new Error('load from elsewhere')
        registers[dst] = context[offset / 4] ?? expect.fail(`offset ${offset}`)
        break
      case 0xbc:
        registers[dst] = read(src)
        break
      case 0xb4:
        registers[dst] = immediate
        break
      case 0x54:
        registers[dst] = (read(dst) & immediate) >>> 0
        break
      case 0x74:
        registers[dst] = read(dst) >>> immediate
        break
      case 0x56:
        if (read(dst) !== immediate) at += offset
        break
      case 0x46:
        if ((read(dst) & immediate) !== 0) at += offset
        break
      case 0x05:
        at += offset
        break
      case 0x95:
        return read(0) === 1
      default:
        throw new Error(`instruction ${opcode}`)
    }
  }
}

/** The specification word by word: each kind of access by the last rule that covers it. */
function naive(rules: readonly OciDeviceRule[], { type, major, minor, access }: Request): boolean {
  return [...access].every((kind) => {
    const rule = rules.findLast(
      (candidate) =>
        ['a', type].includes(candidate.type ?? 'a') &&
        [undefined, -1, major].includes(candidate.major) &&
        [undefined, -1, minor].includes(candidate.minor) &&
        (candidate.access ?? 'rwm').includes(kind),
    )
    return rule?.allow === true
  })
}

const numbers = fc.constantFrom(0, 1, 3, 5, 136, 4095, 0xfffff, 0xffffffff)
const access = fc.subarray(['r', 'w', 'm'], { minLength: 1 }).map((letters) => letters.join(''))
const rules: fc.Arbitrary<OciDeviceRule[]> = fc.array(
  fc.record(
    {
      allow: fc.boolean(),
      type: fc.constantFrom('a', 'b', 'c'),
      major: fc.oneof(numbers, fc.constant(-1)),
      minor: fc.oneof(numbers, fc.constant(-1)),
      access,
    },
    { requiredKeys: ['allow'] },
  ),
  { maxLength: 12 },
)
const request: fc.Arbitrary<Request> = fc.record({
  type: fc.constantFrom('b', 'c'),
  major: numbers,
  minor: numbers,
  access,
})

describe('the device filter', () => {
  it('decides each kind of access by the last rule that covers it', () => {
    fc.assert(
      fc.property(rules, fc.array(request, { minLength: 20, maxLength: 20 }), (list, requests) => {
        const program = compileDeviceFilter(list)
        for (const asked of requests) expect(run(program, asked)).toBe(naive(list, asked))
      }),
      { numRuns: 1000 },
    )
  })

  it('refuses everything without rules', () => {
    expect(run(compileDeviceFilter([]), { type: 'c', major: 1, minor: 3, access: 'r' })).toBe(false)
  })

  it('takes one kind away and leaves the others', () => {
    const program = compileDeviceFilter([
      { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
      { allow: false, type: 'c', major: 1, minor: 3, access: 'w' },
    ])
    const ask = (kinds: string) => run(program, { type: 'c', major: 1, minor: 3, access: kinds })
    expect([ask('r'), ask('m'), ask('rm'), ask('w'), ask('rw')]).toEqual([true, true, true, false, false])
  })

  it('by default opens the harmless devices, makes any node and opens no disk', () => {
    const program = compileDeviceFilter(DEFAULT_DEVICE_RULES)
    const ask = (type: 'b' | 'c', major: number, minor: number, kinds: string) =>
      run(program, { type, major, minor, access: kinds })
    for (const [major, minor] of [
      [1, 3],
      [1, 5],
      [1, 7],
      [1, 8],
      [1, 9],
      [5, 0],
      [5, 1],
      [5, 2],
      [136, 0],
      [136, 77],
      [10, 200],
    ] as const) {
      expect(ask('c', major, minor, 'rwm')).toBe(true)
    }
    expect(ask('b', 8, 0, 'm')).toBe(true)
    expect(ask('c', 1, 1, 'm')).toBe(true)
    for (const [type, major, minor] of [
      ['b', 8, 0],
      ['b', 7, 0],
      ['c', 1, 1],
      ['c', 1, 11],
      ['c', 10, 229],
      ['c', 4, 64],
    ] as const) {
      expect([ask(type, major, minor, 'r'), ask(type, major, minor, 'w'), ask(type, major, minor, 'rm')]).toEqual([
        false,
        false,
        false,
      ])
    }
  })

  it('ends at a rule that covers everything, since the verifier refuses code nothing reaches', () => {
    const everything = compileDeviceFilter([{ allow: false, type: 'b' }, { allow: true }])
    expect(everything).toEqual(compileDeviceFilter([{ allow: true }]))
  })

  it.each<[string, OciDeviceRule]>([
    ['access "rx"', { allow: true, access: 'rx' }],
    ['type "d"', { allow: true, type: 'd' as 'c' }],
    ['major -2', { allow: true, major: -2 }],
    ['minor 4294967296', { allow: true, minor: 2 ** 32 }],
  ])('refuses a rule with %s', (words, rule) => {
    expect(() => compileDeviceFilter([rule])).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }))
    expect(() => compileDeviceFilter([rule])).toThrow(`device rule: ${words}`)
  })
})
