import { describe, expect, it } from 'vitest'
import { checkName, defaultName } from '../../src/engine/start/name.ts'

describe('a name', () => {
  it.each(['a', 'A1', 'web.1', 'a_b-c', 'x'.repeat(255)])('%s is one', (name) => {
    expect(checkName(name)).toBe(name)
  })

  // It becomes a file name.
  it.each(['', '.', '..', '-a', '_a', '.a', 'a/b', '../a', 'a b', 'a\n', 'a\0', 'ä', 'x'.repeat(256)])(
    '%j is none',
    (name) => {
      expect(() => checkName(name)).toThrow(expect.objectContaining({ code: 'USAGE' }))
    },
  )

  it('made from an id is a name, the same every time, and tells ids apart', () => {
    const ids = Array.from({ length: 2000 }, (_, index) =>
      (index * 0x9e3779b1).toString(16).padStart(16, '0').padEnd(64, '0'),
    )
    const names = ids.map(defaultName)
    for (const name of names) expect(checkName(name)).toMatch(/^[a-z]+_[a-z]+_[0-9a-f]{4}$/)
    expect(ids.map(defaultName)).toEqual(names)
    expect(new Set(names).size).toBeGreaterThan(1990)
  })
})
