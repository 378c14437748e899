import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { poolOf, rangesIn, releaseRange, takeRange } from '../../src/engine/ids/id-range.ts'
import { RANGE_SIZE } from '../../src/model/ids.ts'
import { claimLink } from '../../src/engine/state/owner-link.ts'
import { releaseOrphanRanges, shareRange } from '../../src/engine/ids/shared-range.ts'

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

describe('a range that is shared', () => {
  const of = (owner: number): string[] => readdirSync(join(directory, String(owner)))

  it('cannot be taken, nor given back, until the last one has gone', async () => {
    const range = takeRange(directory, id(1), pool)
    await shareRange(directory, range, id(1), id(2))
    await shareRange(directory, range, id(2), id(3))
    expect(of(range.hostId).length).toBe(3)
    for (const owner of [1, 3]) releaseRange(directory, id(owner), range)
    expect(claimLink(join(directory, String(range.hostId)), id(4))).toBe(false)
    releaseRange(directory, id(2), range)
    expect(readdirSync(directory)).toEqual([])
  })

  it('is not to be had of one whose range it is not', async () => {
    const range = takeRange(directory, id(1), pool)
    const before = readdirSync(directory)
    await expect(shareRange(directory, range, id(5), id(2))).rejects.toMatchObject({ code: 'NO_SUCH_CONTAINER' })
    expect(readdirSync(directory)).toEqual(before)
    // What it is now does not matter to its owner.
    releaseRange(directory, id(1), range)
    await expect(shareRange(directory, range, id(1), id(2))).rejects.toMatchObject({ code: 'NO_SUCH_CONTAINER' })
    expect(readdirSync(directory)).toEqual([])
  })

  it('is put right where its owners were killed in the middle', async () => {
    const range = takeRange(directory, id(1), pool)
    await shareRange(directory, range, id(1), id(2))
    const lonely = takeRange(directory, id(7), pool)
    for (const owner of [2, 9]) mkdirSync(join(directory, `new.${id(owner).slice(0, 32)}`))
    releaseOrphanRanges(directory, () => [id(2)])
    expect(readdirSync(directory).toSorted()).toEqual([String(range.hostId), `new.${id(2).slice(0, 32)}`].toSorted())
    expect(of(range.hostId)).toEqual([id(2).slice(0, 32)])
    expect(lonely.hostId).not.toBe(range.hostId)
    releaseOrphanRanges(directory, () => [])
    expect(readdirSync(directory)).toEqual([])
  })
})
