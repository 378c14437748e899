import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { unixSockets } from '../../src/cgroups/systemd/address.ts'
import { annotationProperties } from '../../src/cgroups/systemd/annotations.ts'
import { parseGVariant } from '../../src/cgroups/systemd/gvariant.ts'
import { openSystemd } from '../../src/cgroups/systemd/open.ts'
import {
  cgroupOfUnit,
  escapeUnitName,
  expandSlice,
  parseSystemdCgroupsPath,
  unitName,
  unitObjectPath,
} from '../../src/cgroups/systemd/place.ts'
import { type Property, unitProperties } from '../../src/cgroups/systemd/properties.ts'
import { encodeValues } from '../../src/cgroups/systemd/wire.ts'
import type { OciResources } from '../../src/model/config.ts'
import { TscrunError } from '../../src/model/errors.ts'

const INFINITY = 2n ** 64n - 1n

describe('linux.cgroupsPath in the form of systemd', () => {
  it.each([
    ['system.slice:runc:web', 'system.slice', 'runc-web.scope', '/system.slice/runc-web.scope'],
    ['machine.slice:libpod:0f3a', 'machine.slice', 'libpod-0f3a.scope', '/machine.slice/libpod-0f3a.scope'],
    [':cri-containerd:ab', 'system.slice', 'cri-containerd-ab.scope', '/system.slice/cri-containerd-ab.scope'],
    ['-.slice:a:b', '-.slice', 'a-b.scope', '/a-b.scope'],
    ['-:a:b', '-.slice', 'a-b.scope', '/a-b.scope'],
    ['a-b-c.slice:p:n', 'a-b-c.slice', 'p-n.scope', '/a.slice/a-b.slice/a-b-c.slice/p-n.scope'],
    ['user.slice::n', 'user.slice', '-n.scope', '/user.slice/-n.scope'],
    ['system.slice:p:pod-x.slice', 'system.slice', 'pod-x.slice', '/pod.slice/pod-x.slice'],
    ['a_1.b\\x2dc.slice:p:n\\x40', 'a_1.b\\x2dc.slice', 'p-n\\x40.scope', '/a_1.b\\x2dc.slice/p-n\\x40.scope'],
  ])('%s is slice %s, unit %s and cgroup %s', (path, slice, unit, cgroup) => {
    const place = parseSystemdCgroupsPath(path)
    expect([place.slice, unitName(place), cgroupOfUnit(place)]).toEqual([slice, unit, cgroup])
  })

  it('that is empty is named after the container, escaped where a unit may not be called so', () => {
    expect(unitName(parseSystemdCgroupsPath('', 'web'))).toBe('tscrun-web.scope')
    expect(unitName(parseSystemdCgroupsPath('', 'a+b@c'))).toBe('tscrun-a\\x2bb\\x40c.scope')
    expect(() => parseSystemdCgroupsPath('')).toThrow(/slice:prefix:name/)
  })

  it.each([
    '/system.slice/web',
    'a:b',
    'a.slice:b:c:d',
    'system.slice:p:',
    'system:p:n',
    '/a.slice:p:n',
    'a//b.slice:p:n',
    '-a.slice:p:n',
    'a--b.slice:p:n',
    'a-.slice:p:n',
    '.slice:p:n',
    'a.slice:p:x/../y',
    'a.slice:p q:n',
    "a.slice:p':n",
    'a.slice:p:n\n',
    'a.slice:p:-n.slice',
    `a.slice:p:${'n'.repeat(250)}`,
  ])('%j is refused in one line', (path) => {
    const failure = attempt(() => parseSystemdCgroupsPath(path, 'id'))
    expect(failure).toMatchObject({ code: 'INVALID_CONFIG', subject: 'linux.cgroupsPath' })
    expect((failure as TscrunError).message).not.toContain('\n')
  })

  it.each(['a', 'a/b.slice', '..slice-', '/.slice', 'x.scope'])('%j is no slice', (slice) => {
    expect(() => expandSlice(slice)).toThrow(TscrunError)
  })

  it('never leads out of the hierarchy', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'a-./:\\\0 ') }), (path) => {
        const place = attempt(() => parseSystemdCgroupsPath(path))
        if (place instanceof TscrunError) return
        const parts = cgroupOfUnit(place as ReturnType<typeof parseSystemdCgroupsPath>).split('/')
        expect(parts[0]).toBe('')
        for (const part of parts.slice(1)) expect(part).toMatch(/^[^/]+\.(slice|scope)$/)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('names', () => {
  it('are escaped byte by byte', () => {
    expect(escapeUnitName('ä b-c_d.e:f\\')).toBe('\\xc3\\xa4\\x20b-c_d.e:f\\x5c')
  })

  it('of units become objects on the bus', () => {
    expect(unitObjectPath('tscrun-web.scope')).toBe('/org/freedesktop/systemd1/unit/tscrun_2dweb_2escope')
    expect(unitObjectPath('1a.scope')).toBe('/org/freedesktop/systemd1/unit/_31a_2escope')
  })
})

describe('addresses', () => {
  it.each([
    ['unix:path=/run/dbus/system_bus_socket', ['/run/dbus/system_bus_socket']],
    ['unix:abstract=/tmp/x,guid=ab', ['\0/tmp/x']],
    ['tcp:host=a,port=1;unix:path=/a%20b%2c;unix:path=/c', ['/a b,', '/c']],
    ['unix:path=/%c3%a4', ['/ä']],
  ])('%s is the sockets %o', (address, sockets) => {
    expect(unixSockets(address)).toEqual(sockets)
  })

  it.each(['', 'tcp:host=a,port=1', 'unix:dir=/tmp', '/run/x', 'unix:path', 'unix:path=/%2', 'unix:=a'])(
    '%j has none',
    (address) => {
      expect(() => unixSockets(address)).toThrow(TscrunError)
    },
  )
})

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
    const properties = shown(unitProperties({ devices }, 252))
    expect(properties).toEqual({ DevicePolicy: policy, DeviceAllow: allowed.map((line) => line.split(' ')) })
  })
})

describe('values in the text format of GVariant', () => {
  it.each([
    ['true', 'b', true],
    [' false ', 'b', false],
    ['42', 'i', 42],
    ['-0x10', 'i', -16],
    ['010', 'i', 8],
    ['uint64 18446744073709551615', 't', INFINITY],
    ['int64 -5', 'x', -5n],
    ['byte 255', 'y', 255],
    ['uint32 1', 'u', 1],
    ['1.5', 'd', 1.5],
    ['1e3', 'd', 1000],
    ['double 2', 'd', 2],
    ['-inf', 'd', -Infinity],
    ["'inactive-or-failed'", 's', 'inactive-or-failed'],
    ['"it\'s"', 's', "it's"],
    ["'a\\n\\'\\u00e4\\U0001f600\\\\'", 's', "a\n'ä😀\\"],
    ["objectpath '/a/b'", 'o', '/a/b'],
    ["@o '/a'", 'o', '/a'],
    ["['a', 'b']", 'as', ['a', 'b']],
    ['@as []', 'as', []],
    ['[1, 2,]', 'ai', [1, 2]],
    ['[uint64 1, 2]', 'at', [1n, 2n]],
    ['[1, uint64 2]', 'at', [1n, 2n]],
    ['@at [1]', 'at', [1n]],
    ['@ay [1, 2]', 'ay', [1, 2]],
    ["('x', uint64 5)", '(st)', ['x', 5n]],
    ["[('/dev/sda', uint64 5)]", 'a(st)', [['/dev/sda', 5n]]],
    ['(1,)', '(i)', [1]],
    ["<'v'>", 'v', { signature: 's', value: 'v' }],
  ])('%s is a value of type %s', (text, signature, value) => {
    expect(parseGVariant(text, 'x')).toEqual({ signature, value })
    expect(() => encodeValues(signature, [parseGVariant(text, 'x').value])).not.toThrow()
  })

  it.each([
    '',
    'yes',
    "'a",
    '[',
    '[]',
    '(1',
    "[1, 'a']",
    'uint64',
    'uint64 -1',
    'byte 256',
    '2147483648',
    '08',
    '1x',
    "uint32 'a'",
    'true false',
    'handle 1',
    '@ 1',
    '@(s 1',
    '@uu 1',
    "{'a': 1}",
    'just 1',
    'uint64 int64 1',
    "objectpath 'a'",
    "'\\u0000'",
    '<1',
    'constructor 1',
    `${'['.repeat(99)}1`,
  ])('%j is none', (text) => {
    expect(attempt(() => parseGVariant(text, 'annotations["x"]'))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(/^annotations\["x"\]: .*$/) as string,
    })
  })

  it('of any text end in a value or an error of ours', () => {
    const piece = fc.constantFrom(
      '[',
      ']',
      '(',
      ')',
      '<',
      '>',
      ',',
      "'",
      '"',
      '\\',
      '@as',
      'uint64 ',
      'true',
      '-',
      '1',
      '.',
      'e',
      'inf',
      ' ',
      'ä',
      '\\u12',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const value = attempt(() => parseGVariant(pieces.join(''), 'x'))
        if (value instanceof TscrunError) return
        const { signature, value: own } = value as ReturnType<typeof parseGVariant>
        expect(attempt(() => encodeValues(signature, [own]))).not.toBeInstanceOf(TypeError)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('annotations org.systemd.property.*', () => {
  it('are properties; seconds become microseconds', () => {
    const properties = annotationProperties({
      other: 'x',
      'org.systemd.property.TimeoutStopUSec': 'uint64 123456789',
      'org.systemd.property.RuntimeMaxSec': '2',
      'org.systemd.property.JobTimeoutSec': 'uint64 3',
      'org.systemd.property.WatchdogSec': '0.5',
      'org.systemd.property.CollectMode': "'inactive'",
      'org.systemd.property.After': "['a.service', 'b.service']",
    })
    expect(shown(properties)).toEqual({
      TimeoutStopUSec: 123_456_789n,
      RuntimeMaxUSec: 2_000_000n,
      JobTimeoutUSec: 3_000_000n,
      WatchdogUSec: 500_000n,
      CollectMode: 'inactive',
      After: ['a.service', 'b.service'],
    })
  })

  it.each([
    ['Ab', '1', /no name/],
    ['A=b', '1', /no name/],
    ['', '1', /no name/],
    ['PIDs', '[uint32 1]', /set by the runtime/],
    ['Slice', "'a.slice'", /set by the runtime/],
    ['RuntimeMaxSec', "'2'", /seconds/],
    ['RuntimeMaxSec', '-2', /seconds/],
    ['RuntimeMaxSec', 'uint64 18446744073709551615', /seconds/],
    ['RuntimeMaxSec', 'nan', /seconds/],
    ['CollectMode', 'inactive', /begins no value/],
  ])('%s=%s is refused by name', (name, value, message) => {
    expect(attempt(() => annotationProperties({ [`org.systemd.property.${name}`]: value }))).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringMatching(message) as string,
      subject: `annotations["org.systemd.property.${name}"]`,
    })
  })
})

describe('without systemd', () => {
  it.each(['absent', 'file'])('openSystemd says so in one line (%s)', async (name) => {
    const directory = mkdtempSync(join(tmpdir(), 'tscrun-booted-'))
    try {
      writeFileSync(join(directory, 'file'), '')
      await expect(openSystemd({ booted: join(directory, name) })).rejects.toMatchObject({
        code: 'HOST_UNSUPPORTED',
        exitCode: 125,
        message: `--systemd-cgroup: systemd is not running here (no ${join(directory, name)})`,
        hint: 'leave --systemd-cgroup out',
      })
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

function attempt(action: () => unknown): unknown {
  try {
    return action()
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    return error
  }
}
