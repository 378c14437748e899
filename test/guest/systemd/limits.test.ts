import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { annotationProperties } from '../../../src/cgroups/systemd/annotations.ts'
import { unitProperties } from '../../../src/cgroups/systemd/properties.ts'
import { setUnitProperties } from '../../../src/cgroups/systemd/units.ts'
import { read, scopeOf, show, systemd, waiting } from './fixtures/units.ts'

const MIB = 2 ** 20

const LIMITS = {
  memory: { limit: 64 * MIB, swap: 64 * MIB, reservation: 32 * MIB },
  cpu: { shares: 512, quota: 20_000, period: 50_000, cpus: '1', mems: '0' },
  pids: { limit: 77 },
  blockIO: {
    throttleReadBpsDevice: [{ major: 254, minor: 0, rate: 1_048_576 }],
    throttleWriteIOPSDevice: [{ major: 254, minor: 0, rate: 99 }],
  },
  unified: { 'memory.high': String(48 * MIB), 'memory.min': String(4 * MIB) },
} as const

const IN_THE_KERNEL = {
  'memory.max': String(64 * MIB),
  'memory.swap.max': '0',
  'memory.low': String(32 * MIB),
  'memory.high': String(48 * MIB),
  'memory.min': String(4 * MIB),
  'cpu.weight': '59',
  'cpu.max': '20000 50000',
  'cpuset.cpus': '1',
  'cpuset.mems': '0',
  'pids.max': '77',
  'io.max': '254:0 rbps=1048576 wbps=max riops=max wiops=99',
}

const IN_SYSTEMD = {
  MemoryMax: String(64 * MIB),
  MemorySwapMax: '0',
  MemoryLow: String(32 * MIB),
  CPUWeight: '59',
  CPUQuotaPerSecUSec: '400ms',
  CPUQuotaPeriodUSec: '50ms',
  AllowedCPUs: '1',
  AllowedMemoryNodes: '0',
  TasksMax: '77',
  IOReadBandwidthMax: '/dev/block/254:0 1048576',
  IOWriteIOPSMax: '/dev/block/254:0 99',
}

function files(cgroup: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, read(cgroup, name)]))
}

describe('limits', () => {
  it('are in the kernel when the scope is there, and systemd writes the same again when it reloads', async () => {
    const on = await systemd()
    const { pid } = waiting()
    const { unit, cgroup } = await scopeOf(on, pid, unitProperties(LIMITS, on.version))
    const names = Object.keys(IN_THE_KERNEL)
    expect(files(cgroup, names)).toEqual(IN_THE_KERNEL)
    execFileSync('systemctl', ['daemon-reload'])
    expect(files(cgroup, names)).toEqual(IN_THE_KERNEL)
    // Read again from the file that systemd keeps of the unit.
    expect(show(unit, ...Object.keys(IN_SYSTEMD))).toEqual(IN_SYSTEMD)
  })

  it('of quotas that are no whole percents end, after a reload, a little above what was asked for', async () => {
    const on = await systemd()
    const { pid } = waiting()
    const { unit, cgroup } = await scopeOf(on, pid, unitProperties({ cpu: { quota: 12_345 } }, on.version))
    writeFileSync(`/sys/fs/cgroup${cgroup}/cpu.max`, '12345 100000')
    execFileSync('systemctl', ['daemon-reload'])
    // Written again by the next change at the latest.
    await setUnitProperties(on, unit, unitProperties({ cpu: { shares: 1024 } }, on.version))
    expect(read(cgroup, 'cpu.max')).toBe('13000 100000')
  })

  it('can be changed and taken away while the process runs', async () => {
    const on = await systemd()
    const { pid } = waiting()
    const { unit, cgroup } = await scopeOf(on, pid, unitProperties(LIMITS, on.version))
    const change = {
      memory: { limit: 128 * MIB, swap: -1 },
      cpu: { quota: -1, cpus: '0-1', shares: 1024 },
      pids: { limit: -1 },
    }
    await setUnitProperties(on, unit, unitProperties(change, on.version))
    const wanted = {
      'memory.max': String(128 * MIB),
      'memory.swap.max': 'max',
      'memory.low': String(32 * MIB),
      'cpu.max': 'max 100000',
      'cpu.weight': '100',
      'cpuset.cpus': '0-1',
      'pids.max': 'max',
    }
    expect(files(cgroup, Object.keys(wanted))).toEqual(wanted)
    execFileSync('systemctl', ['daemon-reload'])
    expect(files(cgroup, Object.keys(wanted))).toEqual(wanted)
  })

  it('of a frozen scope can be changed, and it stays frozen', async () => {
    const on = await systemd()
    const { pid } = waiting()
    const { unit, cgroup } = await scopeOf(on, pid)
    writeFileSync(`/sys/fs/cgroup${cgroup}/cgroup.freeze`, '1')
    await expect.poll(() => read(cgroup, 'cgroup.events')).toMatch(/frozen 1/)
    await setUnitProperties(on, unit, unitProperties({ pids: { limit: 5 } }, on.version))
    expect(read(cgroup, 'pids.max')).toBe('5')
    expect(read(cgroup, 'cgroup.events')).toMatch(/frozen 1/)
    writeFileSync(`/sys/fs/cgroup${cgroup}/cgroup.freeze`, '0')
  })

  it('cpu.idle is a weight of 0 for a systemd that knows it', async () => {
    const on = await systemd()
    const { pid } = waiting()
    const { cgroup } = await scopeOf(on, pid, unitProperties({ cpu: { idle: 1 } }, on.version))
    expect(read(cgroup, 'cpu.idle')).toBe('1')
  })

  it('of annotations are what systemctl shows', async () => {
    const { pid } = waiting()
    const properties = annotationProperties({
      'org.systemd.property.TimeoutStopSec': '7',
      'org.systemd.property.MemoryHigh': 'uint64 33554432',
      'org.systemd.property.CollectMode': "'inactive'",
      'org.systemd.property.After': "['dbus.service']",
    })
    const { unit } = await scopeOf(await systemd(), pid, properties)
    expect(show(unit, 'TimeoutStopUSec', 'MemoryHigh', 'CollectMode')).toEqual({
      TimeoutStopUSec: '7s',
      MemoryHigh: '33554432',
      CollectMode: 'inactive',
    })
    expect(show(unit, 'After')['After']).toContain('dbus.service')
  })
})

describe('devices', () => {
  /** What a process of such a scope gets when it opens a device, once it is told to go on. */
  async function opened(
    devices: { allow: boolean; type?: 'c' | 'b' | 'a'; major?: number; minor?: number; access?: string }[],
  ) {
    const on = await systemd()
    const result = `/tmp/devices-${process.hrtime.bigint()}`
    const script = `until [ -e ${result}.go ]; do sleep 0.1; done
      for node in null zero kmsg vda; do if (: </dev/$node) 2>/dev/null; then echo $node 0; else echo $node 1; fi; done >${result}.part
      mv ${result}.part ${result}`
    const { pid } = waiting(script)
    await scopeOf(on, pid, unitProperties({ devices }, on.version))
    writeFileSync(`${result}.go`, '')
    await expect.poll(() => readFileIfThere(result), { timeout: 60_000 }).not.toBe('')
    return Object.fromEntries(
      readFileIfThere(result)
        .trim()
        .split('\n')
        .map((line) => line.split(' ') as [string, string]),
    )
  }

  it('that no rule allows cannot be opened', async () => {
    expect(await opened([{ allow: false }])).toMatchObject({ null: '0', zero: '0', kmsg: '1', vda: '1' })
  })

  it('of a whole major number, and of a type, are named by it', async () => {
    const rules = [{ allow: false }, { allow: true, type: 'c' as const, major: 1 }]
    expect(await opened(rules)).toMatchObject({ kmsg: '0', vda: '1' })
    expect(await opened([{ allow: false }, { allow: true, type: 'b' as const }])).toMatchObject({ kmsg: '1', vda: '0' })
  })

  it('are all there where all are allowed', async () => {
    expect(await opened([{ allow: true }])).toMatchObject({ null: '0', kmsg: '0', vda: '0' })
  })
})

function readFileIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return ''
  }
}
