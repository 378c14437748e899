import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ociRlimit, RLIMITS, rlimitNumber, rlimitValue } from '../../src/security/rlimits.ts'

describe('resource limits', () => {
  it('have the numbers of the kernel headers', () => {
    const header = readFileSync('/usr/include/asm-generic/resource.h', 'utf8')
    const defined = [...header.matchAll(/define RLIMIT_([A-Z]+)\s+(\d+)/g)].map((match) => [
      match[1]?.toLowerCase(),
      Number(match[2]),
    ])
    expect(defined).toHaveLength(16)
    expect(RLIMITS.map((name, number) => [name, number])).toEqual(defined.sort((a, b) => Number(a[1]) - Number(b[1])))
  })

  it('are found by both notations', () => {
    expect(rlimitNumber('nofile')).toBe(7)
    expect(rlimitNumber('RLIMIT_NOFILE')).toBe(7)
    expect(rlimitNumber('NoFile')).toBe(7)
  })

  it('that do not exist are refused with the nearest name', () => {
    expect(() => rlimitNumber('nofiles')).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', hint: 'did you mean nofile' }),
    )
  })

  it('keep soft below hard, -1 being the highest', () => {
    expect(ociRlimit('nofile', 1024, -1)).toEqual({ type: 'RLIMIT_NOFILE', soft: 1024, hard: -1 })
    expect(() => ociRlimit('nofile', -1, 1024)).toThrow('the soft limit -1 is above the hard limit 1024')
    expect(() => ociRlimit('nofile', 2, 1)).toThrow('above')
  })

  it('are whole numbers of 64 bits', () => {
    expect(rlimitValue('core', -1)).toBe(2n ** 64n - 1n)
    expect(rlimitValue('core', 2 ** 64)).toBe(2n ** 64n - 1n)
    expect(rlimitValue('core', 5)).toBe(5n)
    for (const value of [-2, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => rlimitValue('core', value)).toThrow('no limit')
  })
})
