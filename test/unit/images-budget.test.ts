import { tmpdir } from 'node:os'
import { describe, expect, it } from 'vitest'
import { createImageBudget, requireRoom, streamLimit, type UnpackUse, unpackLimits } from '../../src/images/budget.ts'
import { createMeter } from '../../src/images/extractor/meter.ts'

const [KB, MB, GB, TB] = [2 ** 10, 2 ** 20, 2 ** 30, 2 ** 40]
const NOTHING: UnpackUse = { bytes: 0, sizes: 0, entries: 0, tarBytes: 0 }
const limits = (asked: number | undefined, fetched: number): ReturnType<typeof unpackLimits> =>
  unpackLimits(asked, fetched, tmpdir())

describe('what an image may unpack to', () => {
  it('is a hundred times what is fetched, at least 10 GiB, at most 1 TiB', () => {
    const bytes = (fetched: number): number => limits(undefined, fetched).bytes
    expect([0, 1 * MB, 100 * MB].map(bytes)).toEqual([10 * GB, 10 * GB, 10 * GB])
    expect([1 * GB, 5 * GB].map(bytes)).toEqual([100 * GB, 500 * GB])
    expect([20 * GB, 900 * GB].map(bytes)).toEqual([TB, TB])
  })

  it('alarms nobody whose image is honest: 20 GB of files, packed by 2 to 5; a million small ones of 100 bytes each', () => {
    for (const ratio of [2, 5, 20, 100])
      expect(limits(undefined, (20 * GB) / ratio).bytes).toBeGreaterThanOrEqual(20 * GB)
    expect(limits(undefined, 100 * 1e6).entries).toBeGreaterThan(1e6)
  })

  it('is what was asked for, where something was; 0 is any, and nothing is kept free', () => {
    expect(limits(500 * MB, 20 * GB)).toMatchObject({ bytes: 500 * MB, sizes: 500 * MB, reserve: 0 })
    expect(limits(0, 1).bytes).toBeGreaterThan(1000 * TB)
    expect(limits(1, 1)).toMatchObject({ bytes: 1, entries: 10_000 })
  })

  it('keeps a hundredth of the disk free, at most 1 GiB, where nobody asked', () => {
    const { reserve } = limits(undefined, 1)
    expect(reserve).toBeGreaterThan(0)
    expect(reserve).toBeLessThanOrEqual(GB)
    expect(() => requireRoom(tmpdir(), 2 ** 52, reserve, 'fetch layers')).toThrow(
      expect.objectContaining({ code: 'NO_SPACE', errno: 'ENOSPC' }),
    )
    expect(() => requireRoom(tmpdir(), 1, 0, 'fetch layers')).not.toThrow()
  })

  it('is twice that for a stream, which has headers and padding, and follows what has been read', () => {
    expect(streamLimit(undefined, 0)).toBe(20 * GB)
    expect(streamLimit(undefined, GB)).toBe(200 * GB)
    expect(streamLimit(5 * MB, GB)).toBe(10 * MB)
  })

  it('is kept by the sum of its layers, each counted as it stands now', () => {
    const budget = createImageBudget({ ...limits(100 * KB, 0) })
    budget.note('one', { ...NOTHING, bytes: 60 * KB })
    budget.note('two', { ...NOTHING, bytes: 40 * KB })
    // Begun anew.
    budget.note('one', { ...NOTHING, bytes: 10 * KB })
    expect(() => budget.note('two', { ...NOTHING, bytes: 91 * KB })).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED', hint: expect.stringContaining('--max-unpack-size') }),
    )
  })
})

describe('the meter of a layer', () => {
  it('tells the parent now and then, by bytes and by members', () => {
    const told: UnpackUse[] = []
    const meter = createMeter({ ...limits(GB, 0) }, (use) => told.push(use))
    for (let i = 0; i < 40; i++) meter.tar(MB)
    for (let i = 0; i < 12_000; i++) meter.entry()
    expect(told.map(({ tarBytes, entries }) => [tarBytes / MB, entries])).toEqual([
      [16, 0],
      [32, 0],
      [40, 5000],
      [40, 10_000],
    ])
  })

  it('stops at each of its limits', () => {
    const meter = (): ReturnType<typeof createMeter> =>
      createMeter({ ...limits(10 * KB, 0), entries: 3, tarBytes: 20 * KB }, () => undefined)
    const exceeding = expect.objectContaining({ code: 'LIMIT_EXCEEDED' })
    expect(() => meter().data(10 * KB)).not.toThrow()
    expect(() => meter().data(10 * KB + 1)).toThrow(exceeding)
    expect(() => meter().size(10 * KB + 1)).toThrow(exceeding)
    expect(() => meter().tar(20 * KB + 1)).toThrow(exceeding)
    const entries = meter()
    for (let i = 0; i < 3; i++) entries.entry()
    expect(() => entries.entry()).toThrow(exceeding)
    const names = meter()
    const name = Buffer.alloc(4095)
    expect(() => {
      for (let i = 0; i < 100_000; i++) names.name(name)
    }).toThrow(/names of more than 256MiB/)
  })
})
