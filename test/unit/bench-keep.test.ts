import { describe, expect, it } from 'vitest'
import { mergeResults, type Results, resultsName } from '../../bench/keep.ts'
import { formatGroup } from '../../bench/report.ts'

const group = (name: string, ms: number): Results['groups'][number] => ({
  name,
  title: name,
  subject: 'tscrun run --rm',
  rows: [
    { name: 'node -e 0', samples: [30] },
    { name: 'tscrun run --rm', samples: [ms] },
  ],
})
const results = (hour: number, ...groups: Results['groups']): Results => ({
  date: `2026-11-22T0${hour}:00:00.000Z`,
  commit: 'abc1234',
  changed: false,
  machine: { load: String(hour) },
  quick: false,
  realtime: true,
  skipped: [],
  goals: [],
  groups,
})

describe('what the bench has measured of a commit', () => {
  it('keeps the groups that a later run has not measured again', () => {
    const first = mergeResults(undefined, results(1, group('one-shot', 7), group('logs', 3)))
    const second = mergeResults(first, results(2, group('logs', 4), group('pull, gzip', 5)))
    expect(second).toMatchObject({ date: '2026-11-22T02:00:00.000Z', machine: { load: '2' } })
    expect(second.groups).toEqual([
      { ...group('one-shot', 7), date: '2026-11-22T01:00:00.000Z' },
      group('logs', 4),
      group('pull, gzip', 5),
    ])
    const third = mergeResults(second, results(3, group('logs', 6)))
    expect(third.groups.map(({ name, date }) => [name, date?.slice(11, 13)])).toEqual([
      ['one-shot', '01'],
      ['logs', undefined],
      ['pull, gzip', '02'],
    ])
  })

  it('tells the goals of all of them', () => {
    const first = results(1, group('one-shot', 7))
    const { goals } = mergeResults(first, results(2, group('logs', 4)))
    expect(goals).toContainEqual({ text: 'one-shot run: bare node + 8 ms', actual: 7, bound: 38 })
  })

  it('keeps why a peer was not measured until it has been', () => {
    const without = { ...results(1, group('one-shot', 7)), skipped: ['crun: not installed', 'podman: no network'] }
    const second = mergeResults(without, results(2, group('logs', 3)))
    expect(second.skipped).toEqual(['crun: not installed', 'podman: no network'])
    const again = mergeResults(second, { ...results(3, group('logs', 3)), skipped: ['podman: it fails'] })
    expect(again.skipped).toEqual(['crun: not installed', 'podman: it fails'])
    const rows = [{ name: 'conmon (podman)', samples: [4] }]
    expect(mergeResults(again, results(4, { ...group('logs', 3), rows })).skipped).toEqual(['crun: not installed'])
  })

  it('says whose tree a pull has made, and needs not say it', () => {
    const old = group('pull, gzip', 7)
    const compared = { ...group('pull, zstd', 5), tree: { entries: 20_636, equalTo: 'umoci' } } as const
    const { groups } = mergeResults(results(1, old, { ...old, name: 'pull, zstd' }), results(2, compared))
    expect(groups).toEqual([{ ...old, date: '2026-11-22T01:00:00.000Z' }, compared])
    const [first, second] = groups.map(formatGroup)
    expect(second).toContain('the tree: 20636 names, all as umoci has unpacked them')
    expect(first).not.toContain('umoci')
  })

  it('is in one file for each way of measuring', () => {
    const ways = [{}, { quick: true }, { realtime: false }, { changed: true }, { commit: 'def5678' }]
    const names = ways.map((way) => resultsName({ ...results(1), ...way }))
    expect(new Set(names).size).toBe(ways.length)
    expect(names[0]).toBe('2026-11-22-abc1234-realtime.json')
  })
})
