import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { poolOf, RANGE_SIZE, rangesIn, releaseRange, takeRange } from '../../src/engine/id-range.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-ranges-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const pool = { first: 1_000_000, size: 10 * RANGE_SIZE }
const id = (number: number): string => number.toString(16).padStart(8, '0').padEnd(64, '0')

const ALL = '         0          0 4294967295\n'
const poolFor = (subuid: string, map = ALL, nested = false) => poolOf({ subuid, uidMap: map, gidMap: map, nested })

describe('the pool of ids', () => {
  it("is the containers' line of /etc/subuid", () => {
    expect(poolFor('root:100000:65536\ncontainers:200000:131072\n')).toEqual({
      first: 200_000,
      size: 131_072,
      source: 'subuid',
    })
  })

  it.each(['', 'root:1:2\n', 'containers\n', 'containers:a:b\n', 'containers:-1:5\n', '#containers:1:2\n'])(
    'is the default one without: %j',
    (text) => {
      for (const nested of [false, true]) {
        const { first, size, source } = poolFor(text, ALL, nested)
        expect(source).toBe('default')
        expect(first).toBeGreaterThan(2 ** 30)
        // Beyond it ids are negative for programs that keep them in an int.
        expect(first + size).toBeLessThan(2 ** 31)
        expect(rangesIn({ first, size })).toBeGreaterThan(1000)
      }
    },
  )

  it('is another one in a container, since the ranges of the tscrun around it cannot be seen there', () => {
    const [outer, inner] = [poolFor(''), poolFor('', ALL, true)]
    expect(inner.first).toBe(outer.first + outer.size)
  })

  it('has only ids that are mapped, as user and as group', () => {
    const lxd = '0 1000000 1000000000\n'
    expect(poolFor('', lxd, true)).toEqual({ first: 65_536, size: 1_000_000_000 - 65_536, source: 'mapped' })
    expect(poolFor('containers:100000:1000000\n', '0 5000000 500000\n')).toEqual({
      first: 100_000,
      size: 400_000,
      source: 'subuid',
    })
    const groups = { subuid: '', uidMap: lxd, gidMap: '0 1000000 65536\n', nested: true }
    expect(rangesIn(poolOf(groups))).toBe(0)
    // Of an ordinary user: himself and his sub-ids.
    for (const map of ['0 1000 1\n1 100000 65536\n', '0 100000 65536\n', '0 1000 1\n', ''])
      expect(rangesIn(poolFor('', map, true))).toBe(0)
  })

  it('is the largest piece of what is mapped', () => {
    const { first, size } = poolFor('', '0 0 100000\n200000 200000 70000\n300000 300000 300000\n')
    expect({ first, size }).toEqual({ first: 300_000, size: 300_000 })
  })
})

describe('ranges', () => {
  it('never overlap, and fill the pool to its end', () => {
    const taken = Array.from({ length: 10 }, (_, index) => takeRange(directory, id(index * 7919), pool))
    const starts = taken.map(({ hostId }) => hostId).toSorted((a, b) => a - b)
    expect(starts).toEqual(Array.from({ length: 10 }, (_, index) => 1_000_000 + index * RANGE_SIZE))
    expect(() => takeRange(directory, id(1), pool)).toThrow(
      expect.objectContaining({ code: 'USERNS_UNAVAILABLE', message: expect.stringContaining('all 10 ranges') }),
    )
  })

  it('meet nobody although all begin at the same place', () => {
    const taken = Array.from({ length: 5 }, () => takeRange(directory, id(3), pool).hostId)
    expect(new Set(taken).size).toBe(5)
  })

  it('are given back by their owner only', () => {
    const range = takeRange(directory, id(1), pool)
    releaseRange(directory, id(2), range)
    expect(readdirSync(directory)).toEqual([String(range.hostId)])
    // The link names its owner, as a whole or by the beginning.
    expect(id(1).startsWith(readlinkSync(join(directory, String(range.hostId))))).toBe(true)
    releaseRange(directory, id(1), range)
    expect(readdirSync(directory)).toEqual([])
    releaseRange(directory, id(1), range)
  })

  it('of a pool that is too small are none', () => {
    expect(() => takeRange(directory, id(1), { first: 100_000, size: RANGE_SIZE - 1 })).toThrow(
      expect.objectContaining({ code: 'USERNS_UNAVAILABLE' }),
    )
  })
})
