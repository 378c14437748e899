import { describe, expect, it } from 'vitest'
import type { RunOptions } from '../../src/model/run-options.ts'
import { limitsToResources } from '../../src/spec/limits.ts'

const of = (options: RunOptions): ReturnType<typeof limitsToResources> =>
  limitsToResources(options, [], () => ({ major: 254, minor: 1 }))

describe('limits as the OCI config counts them', () => {
  it('are none but the device rules unless asked for', () => {
    expect(Object.keys(of({}))).toEqual(['devices'])
  })

  it('give as much swap as memory, unless said otherwise', () => {
    expect(of({ memory: 100 }).memory).toEqual({ limit: 100, swap: 200 })
    expect(of({ memory: 100, memorySwap: 100 }).memory).toEqual({ limit: 100, swap: 100 })
    expect(of({ memory: 100, memorySwap: -1 }).memory).toEqual({ limit: 100, swap: -1 })
    expect(of({ memoryReservation: 50 }).memory).toEqual({ reservation: 50 })
    expect(of({ memorySwap: -1 }).memory).toEqual({ swap: -1 })
    expect(() => of({ memorySwap: 100 })).toThrow(/needs --memory/)
  })

  it('turn processors into a quota of a tenth of a second', () => {
    expect(of({ cpus: 0.5 }).cpu).toEqual({ quota: 50_000, period: 100_000 })
    expect(of({ cpus: 1.234567 }).cpu).toEqual({ quota: 123_457, period: 100_000 })
    expect(of({ cpuQuota: 20_000, cpuPeriod: 50_000, cpuShares: 512, cpusetCpus: '0-1', cpusetMems: '0' }).cpu).toEqual(
      { quota: 20_000, period: 50_000, shares: 512, cpus: '0-1', mems: '0' },
    )
    expect(() => of({ cpus: 1, cpuQuota: 1000 })).toThrow(/excludes/)
    expect(() => of({ cpus: 1, cpuPeriod: 1000 })).toThrow(/excludes/)
  })

  it('name devices by their numbers', () => {
    expect(
      of({
        blkioWeight: 300,
        deviceReadBps: [{ path: '/dev/vda', rate: 1000 }],
        deviceWriteIops: [{ path: '/dev/vda', rate: 5 }],
      }).blockIO,
    ).toEqual({
      weight: 300,
      throttleReadBpsDevice: [{ major: 254, minor: 1, rate: 1000 }],
      throttleWriteIOPSDevice: [{ major: 254, minor: 1, rate: 5 }],
    })
  })

  it('hand pids and cgroup files on', () => {
    expect(of({ pidsLimit: -1, cgroupConf: { 'memory.high': '64M' } })).toMatchObject({
      pids: { limit: -1 },
      unified: { 'memory.high': '64M' },
    })
  })
})

describe('the device rules', () => {
  it('deny everything first, then allow what every container may use', () => {
    const [first, ...rest] = of({}).devices ?? []
    expect(first).toEqual({ allow: false, access: 'rwm' })
    expect(rest.every((rule) => rule.allow)).toBe(true)
    // Nodes of every kind may be made, only these opened.
    const opened = rest
      .filter((rule) => rule.access !== 'm')
      .map(({ type, major, minor }) => `${type} ${major}:${minor ?? '*'}`)
    expect(opened).toEqual([
      'c 1:3',
      'c 1:5',
      'c 1:7',
      'c 1:8',
      'c 1:9',
      'c 5:0',
      'c 5:1',
      'c 5:2',
      'c 136:*',
      'c 10:200',
    ])
  })

  it('allow the devices asked for, with the access asked for', () => {
    const options: RunOptions = {
      devices: [{ hostPath: '/dev/vda', containerPath: '/dev/vda', access: 'r' }],
      deviceCgroupRules: ['c 189:* rwm', 'a *:* m'],
    }
    const rules =
      limitsToResources(options, [{ type: 'b', path: '/dev/vda', major: 254, minor: 0 }], () => ({
        major: 0,
        minor: 0,
      })).devices ?? []
    expect(rules.slice(-3)).toEqual([
      { allow: true, type: 'b', major: 254, minor: 0, access: 'r' },
      { allow: true, type: 'c', major: 189, access: 'rwm' },
      { allow: true, type: 'a', access: 'm' },
    ])
  })

  it.each(['', 'c', 'c 1:3', 'x 1:3 rwm', 'c 1:3 x', 'c -1:3 r', 'c 1:3 rwm ', 'c 1:3 rwm\n'])('refuse %j', (rule) => {
    expect(() => of({ deviceCgroupRules: [rule] })).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  it('are none with --privileged', () => {
    expect(of({ privileged: true })).toEqual({})
  })
})
