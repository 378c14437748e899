import { describe, expect, it } from 'vitest'
import { deviceProperties } from '../../src/cgroups/systemd/devices.ts'
import { type Property, unitProperties } from '../../src/cgroups/systemd/properties.ts'
import { encodeValues } from '../../src/cgroups/systemd/wire.ts'
import type { OciResources } from '../../src/model/config.ts'
import { TscrunError } from '../../src/model/errors.ts'

const INFINITY = 2n ** 64n - 1n

/** `name=value` by name, as the properties are sent. */
function shown(properties: readonly Property[]): Record<string, unknown> {
  for (const { name, value } of properties) encodeValues('(sv)', [[name, value]])
  return Object.fromEntries(properties.map(({ name, value }) => [name, value.value]))
}

describe('limits as properties of a unit', () => {
  it.each<[OciResources, Record<string, unknown>]>([
    [{}, {}],
    [
      { memory: { limit: 64 * 2 ** 20, swap: 64 * 2 ** 20, reservation: 2 ** 20 } },
      { MemoryMax: 67_108_864n, MemorySwapMax: 0n, MemoryLow: 1_048_576n },
    ],
    [{ memory: { limit: 4096, swap: 8192 } }, { MemoryMax: 4096n, MemorySwapMax: 4096n }],
    [{ memory: { limit: -1, swap: -1 } }, { MemoryMax: INFINITY, MemorySwapMax: INFINITY }],
    [{ cpu: { shares: 1024 } }, { CPUWeight: 100n }],
    [{ cpu: { shares: 262_144 } }, { CPUWeight: 10_000n }],
    [{ cpu: { idle: 1, shares: 1024 } }, { CPUWeight: 0n }],
    [{ cpu: { idle: 0 } }, {}],
    [{ cpu: { quota: 50_000 } }, { CPUQuotaPeriodUSec: 100_000n, CPUQuotaPerSecUSec: 500_000n }],
    [{ cpu: { quota: 20_000, period: 50_000 } }, { CPUQuotaPeriodUSec: 50_000n, CPUQuotaPerSecUSec: 400_000n }],
    [{ cpu: { quota: 12_345, period: 100_000 } }, { CPUQuotaPeriodUSec: 100_000n, CPUQuotaPerSecUSec: 130_000n }],
    [{ cpu: { quota: 1000, period: 1_000_000 } }, { CPUQuotaPeriodUSec: 1_000_000n, CPUQuotaPerSecUSec: 10_000n }],
    [{ cpu: { quota: -1 } }, { CPUQuotaPeriodUSec: 100_000n, CPUQuotaPerSecUSec: INFINITY }],
    [
      { cpu: { cpus: '0-3,9', mems: '0' } },
      { AllowedCPUs: Uint8Array.of(0x0f, 0x02), AllowedMemoryNodes: Uint8Array.of(1) },
    ],
    [{ cpu: { cpus: '17' } }, { AllowedCPUs: Uint8Array.of(0, 0, 2) }],
    [{ pids: { limit: 20 } }, { TasksMax: 20n }],
    [{ pids: { limit: -1 } }, { TasksMax: INFINITY }],
    [
      { blockIO: { weight: 1000, weightDevice: [{ major: 8, minor: 0, weight: 10 }] } },
      { IOWeight: 10_000n, IODeviceWeight: [['/dev/block/8:0', 1n]] },
    ],
    [
      {
        blockIO: {
          throttleReadBpsDevice: [
            { major: 8, minor: 0, rate: 1000 },
            { major: 8, minor: 16, rate: 2000 },
          ],
          throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 0 }],
        },
      },
      {
        IOReadBandwidthMax: [
          ['/dev/block/8:0', 1000n],
          ['/dev/block/8:16', 2000n],
        ],
        IOWriteIOPSMax: [['/dev/block/8:0', INFINITY]],
      },
    ],
    [
      {
        unified: {
          'memory.high': '1000',
          'memory.min': 'max',
          'cpu.weight': '77',
          'cpu.max': '10000',
          'memory.oom.group': '1',
        },
      },
      {
        MemoryHigh: 1000n,
        MemoryMin: INFINITY,
        CPUWeight: 77n,
        CPUQuotaPeriodUSec: 100_000n,
        CPUQuotaPerSecUSec: 100_000n,
        OOMPolicy: 'kill',
      },
    ],
    // The last word over the other limits.
    [{ pids: { limit: 5 }, unified: { 'pids.max': ' 7 ' } }, { TasksMax: 7n }],
    // What systemd has no word for, and what is for the kernel to refuse.
    [
      {
        cpu: { quota: 1000, burst: 100 },
        unified: { 'hugetlb.2MB.max': '0', 'memory.max': 'lots', 'pids.max': '1 2' },
      },
      {
        CPUQuotaPeriodUSec: 100_000n,
        CPUQuotaPerSecUSec: 10_000n,
      },
    ],
  ])('%o', (resources, properties) => {
    expect(shown(unitProperties(resources, 255))).toEqual(properties)
  })

  it('leaves out what an older systemd does not know', () => {
    const resources: OciResources = {
      cpu: { quota: 1000, cpus: '0', idle: 1 },
      unified: { 'memory.zswap.max': '0', 'memory.oom.group': '1' },
    }
    const names = (version: number): string[] =>
      unitProperties(resources, version)
        .map(({ name }) => name)
        .toSorted()
    expect(names(253)).toEqual([
      'AllowedCPUs',
      'CPUQuotaPerSecUSec',
      'CPUQuotaPeriodUSec',
      'CPUWeight',
      'MemoryZSwapMax',
      'OOMPolicy',
    ])
    expect(names(252)).toEqual(['AllowedCPUs', 'CPUQuotaPerSecUSec', 'CPUQuotaPeriodUSec', 'CPUWeight'])
    expect(names(251)).toEqual(['AllowedCPUs', 'CPUQuotaPerSecUSec', 'CPUQuotaPeriodUSec'])
    expect(names(241)).toEqual(['CPUQuotaPerSecUSec'])
  })

  it('that no kernel would take are refused', () => {
    expect(() => unitProperties({ memory: { limit: 5, reservation: 6 } }, 252)).toThrow(TscrunError)
    expect(() => unitProperties({ cpu: { cpus: 'all' } }, 252)).toThrow(TscrunError)
  })
})

describe('device rules as properties of a unit', () => {
  const all = { allow: true, access: 'rwm' }
  const none = { allow: false, access: 'rwm' }
  it.each<[string, NonNullable<OciResources['devices']>, string, string[]]>([
    ['no rules', [], 'strict', []],
    ['all refused', [none], 'strict', []],
    ['all allowed', [none, all], 'auto', []],
    [
      'all allowed, by type',
      [
        { ...all, type: 'c' },
        { ...all, type: 'b' },
      ],
      'auto',
      [],
    ],
    ['all allowed before all refused', [all, none], 'strict', []],
    [
      'single devices',
      [none, { ...all, type: 'c', major: 1, minor: 3 }, { allow: true, type: 'b', major: 8, minor: 0, access: 'r' }],
      'strict',
      ['/dev/char/1:3 rwm', '/dev/block/8:0 r'],
    ],
    ['a whole major number', [none, { ...all, type: 'c', major: 136, minor: -1 }], 'strict', ['char-136 rwm']],
    ['all nodes', [none, { allow: true, type: 'c', access: 'm' }], 'strict', ['char-* m']],
    [
      'a minor number of any major: more, never less',
      [none, { ...all, type: 'c', minor: 5 }],
      'strict',
      ['char-* rwm'],
    ],
    [
      'kinds that add up',
      [
        none,
        { allow: true, type: 'c', major: 1, minor: 3, access: 'r' },
        { allow: true, type: 'c', major: 1, minor: 3, access: 'w' },
      ],
      'strict',
      ['/dev/char/1:3 rw'],
    ],
    [
      'one taken back',
      [
        { ...all, type: 'c', major: 1, minor: 3 },
        { allow: false, type: 'c', major: 1, access: 'w' },
      ],
      'strict',
      ['/dev/char/1:3 rm'],
    ],
    [
      'one taken out of many: more, never less',
      [none, { ...all, type: 'c', major: 1 }, { allow: false, type: 'c', major: 1, minor: 3 }],
      'strict',
      ['char-1 rwm'],
    ],
    [
      'access left out',
      [none, { allow: true, type: 'a', major: 10, minor: 200 }],
      'strict',
      ['/dev/block/10:200 rwm', '/dev/char/10:200 rwm'],
    ],
  ])('%s', (_, devices, policy, allowed) => {
    const properties = shown(deviceProperties(devices))
    expect(properties).toEqual({ DevicePolicy: policy, DeviceAllow: allowed.map((line) => line.split(' ')) })
  })

  it('go with those that every container may use', () => {
    const { DeviceAllow } = shown(unitProperties({ devices: [none] }, 252))
    expect(DeviceAllow).toEqual(
      expect.arrayContaining([
        ['char-*', 'm'],
        ['/dev/char/1:3', 'rwm'],
        ['char-136', 'rwm'],
      ]),
    )
    expect(shown(unitProperties({}, 252))).not.toHaveProperty('DevicePolicy')
  })
})
