import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { annotationProperties } from '../../../src/cgroups/systemd/annotations.ts'
import { cgroupOfUnit, parseSystemdCgroupsPath, unitName } from '../../../src/cgroups/systemd/place.ts'
import { type Property, unitProperties } from '../../../src/cgroups/systemd/properties.ts'
import { setUnitProperties, startScope, stopUnit } from '../../../src/cgroups/systemd/units.ts'
import { cgroupOf, exists, expectGone, read, scopeOf, show, systemd, waiting } from './fixtures/units.ts'

const MIB = 2 ** 20

describe('the machine', () => {
  it('was booted by systemd, which talks on the system bus', async () => {
    const on = await systemd()
    expect(readFileSync('/proc/1/comm', 'utf8').trim()).toBe('systemd')
    expect(on.connection.name).toMatch(/^:1\.\d+$/)
    expect(`systemd ${on.version}`).toBe(
      /^systemd \d+/.exec(execFileSync('systemctl', ['--version'], { encoding: 'utf8' }))?.[0],
    )
  })
})

describe('a scope', () => {
  it('takes a process that waits, and has a cgroup with every controller when it is there', async () => {
    const { pid } = waiting()
    expect(cgroupOf(pid)).toBe('/system.slice/guest.service')
    const { unit, cgroup } = await scopeOf(await systemd(), pid)
    expect(cgroup).toBe(`/system.slice/${unit}`)
    expect(cgroupOf(pid)).toBe(cgroup)
    expect(read(cgroup, 'cgroup.procs')).toBe(String(pid))
    expect(read(cgroup, 'cgroup.controllers').split(' ')).toEqual(
      expect.arrayContaining(['cpuset', 'cpu', 'io', 'memory', 'pids']),
    )
    expect(show(unit, 'Delegate', 'Description', 'DefaultDependencies', 'MemoryAccounting', 'CollectMode')).toEqual({
      Delegate: 'yes',
      Description: 'a test',
      DefaultDependencies: 'no',
      MemoryAccounting: 'yes',
      CollectMode: 'inactive-or-failed',
    })
  })

  it('takes several processes', async () => {
    const pids = [waiting().pid, waiting().pid]
    const { cgroup } = await scopeOf(await systemd(), pids[0]!, [], { pids })
    expect(pids.map(cgroupOf)).toEqual([cgroup, cgroup])
  })

  it.each([
    ['aa-bb-cc.slice:x:nested', '/aa.slice/aa-bb.slice/aa-bb-cc.slice/x-nested.scope'],
    ['-.slice:x:top', '/x-top.scope'],
    [':x:defaults', '/system.slice/x-defaults.scope'],
    ['user.slice::dash', '/user.slice/-dash.scope'],
    ['system.slice:1x:a\\x2bb_c.d:e'.replace(/:e$/, '.e'), '/system.slice/1x-a\\x2bb_c.d.e.scope'],
  ])('of %s is at %s', async (path, wanted) => {
    const place = parseSystemdCgroupsPath(path)
    const { pid } = waiting()
    const { cgroup } = await scopeOf(await systemd(), pid, [], { unit: unitName(place), slice: place.slice })
    expect([cgroup, cgroupOf(pid), cgroupOfUnit(place)]).toEqual([wanted, wanted, wanted])
  })

  it('of an id with other characters has the escaped name', async () => {
    const place = parseSystemdCgroupsPath('', 'a+b@c')
    const { pid } = waiting()
    const { cgroup } = await scopeOf(await systemd(), pid, [], { unit: unitName(place), slice: place.slice })
    expect(cgroup).toBe('/system.slice/tscrun-a\\x2bb\\x40c.scope')
  })

  it('is delegated: cgroups can be made in it, and what is written there stays', async () => {
    const { pid } = waiting()
    const { cgroup } = await scopeOf(await systemd(), pid)
    const directory = `/sys/fs/cgroup${cgroup}`
    mkdirSync(`${directory}/inner`)
    writeFileSync(`${directory}/inner/cgroup.procs`, String(pid))
    writeFileSync(`${directory}/cgroup.subtree_control`, '+memory +pids')
    writeFileSync(`${directory}/inner/pids.max`, '33')
    execFileSync('systemctl', ['daemon-reload'])
    expect(cgroupOf(pid)).toBe(`${cgroup}/inner`)
    expect(read(cgroup, 'inner/pids.max')).toBe('33')
  })

  it('vanishes with its last process', async () => {
    const { pid, end } = waiting()
    const { unit, cgroup } = await scopeOf(await systemd(), pid)
    await end()
    await expectGone(unit)
    expect(exists(cgroup)).toBe(false)
  })
})

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

function files(cgroup: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, read(cgroup, name)]))
}

describe('limits', () => {
  it('are in the kernel when the scope is there, and systemd writes the same again when it reloads', async () => {
    const on = await systemd()
    const { pid } = waiting()
    const { cgroup } = await scopeOf(on, pid, unitProperties(LIMITS, on.version))
    const names = Object.keys(IN_THE_KERNEL)
    expect(files(cgroup, names)).toEqual(IN_THE_KERNEL)
    execFileSync('systemctl', ['daemon-reload'])
    expect(files(cgroup, names)).toEqual(IN_THE_KERNEL)
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
      for node in null zero kmsg tty vda; do head -c 1 /dev/$node >/dev/null 2>&1 </dev/null; echo $node $?; done >${result}.part
      mv ${result}.part ${result}`
    const { pid } = waiting(script.replaceAll('</dev/null', ''))
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

  const writable = { allow: true, type: 'c' as const, major: 1, minor: 3, access: 'rwm' }

  it('that no rule allows cannot be opened', async () => {
    expect(await opened([{ allow: false }, writable])).toMatchObject({ null: '0', zero: '1', vda: '1' })
  })

  it('of a whole major number, and of a type, are named by it', async () => {
    const rules = [{ allow: false }, { allow: true, type: 'c' as const, major: 1 }]
    expect(await opened(rules)).toMatchObject({ null: '0', zero: '0', vda: '1' })
    expect(await opened([...rules, { allow: true, type: 'b' as const, access: 'r' }])).toMatchObject({
      zero: '0',
      vda: '0',
    })
  })

  it('are all there where all are allowed', async () => {
    expect(await opened([{ allow: true }])).toMatchObject({ null: '0', zero: '0', vda: '0' })
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

describe('the end of a scope', () => {
  it('whose processes are dead is immediate, and nothing of it is left', async () => {
    const on = await systemd()
    const { pid, end } = waiting()
    const { unit, cgroup } = await scopeOf(on, pid)
    await end()
    await stopUnit(on, unit)
    expect(exists(cgroup)).toBe(false)
    expect(show(unit, 'LoadState')['LoadState']).toBe('not-found')
  })

  it('takes living processes, and cgroups inside it, along', async () => {
    const on = await systemd()
    const { pid } = waiting()
    const { unit, cgroup } = await scopeOf(on, pid)
    mkdirSync(`/sys/fs/cgroup${cgroup}/a/b`, { recursive: true })
    await stopUnit(on, unit)
    expect(exists(cgroup)).toBe(false)
    await expectGone(unit)
  })

  it('that is gone is no error', async () => {
    await stopUnit(await systemd(), 'tscrun-never-there.scope')
  })
})

describe('a unit that is there already', () => {
  it('is left alone, and so is the process', async () => {
    const on = await systemd()
    const [first, second] = [waiting(), waiting()]
    const { unit, cgroup } = await scopeOf(on, first.pid)
    await expect(scopeOf(on, second.pid, [], { unit })).rejects.toMatchObject({
      code: 'NAME_IN_USE',
      message: `StartTransientUnit ${unit}: a unit of this name is there already`,
      hint: expect.stringContaining(`systemctl status ${unit}`) as string,
    })
    expect(read(cgroup, 'cgroup.procs')).toBe(String(first.pid))
    expect(cgroupOf(second.pid)).toBe('/system.slice/guest.service')
  })

  it('and failed is replaced', async () => {
    const on = await systemd()
    const failing = annotationProperties({
      'org.systemd.property.RuntimeMaxSec': '1',
      'org.systemd.property.CollectMode': "'inactive'",
    })
    const { unit } = await scopeOf(on, waiting().pid, failing)
    await expect.poll(() => show(unit, 'ActiveState')['ActiveState'], { timeout: 60_000 }).toBe('failed')
    const { pid } = waiting()
    const { cgroup } = await scopeOf(on, pid, [], { unit })
    expect(cgroupOf(pid)).toBe(cgroup)
  })

  it('and failed is gone with stopUnit', async () => {
    const on = await systemd()
    const failing = annotationProperties({
      'org.systemd.property.RuntimeMaxSec': '1',
      'org.systemd.property.CollectMode': "'inactive'",
    })
    const { unit } = await scopeOf(on, waiting().pid, failing)
    await expect.poll(() => show(unit, 'ActiveState')['ActiveState'], { timeout: 60_000 }).toBe('failed')
    await stopUnit(on, unit)
    await expectGone(unit)
  })
})

describe('what systemd refuses', () => {
  const property = (name: string, signature: string, value: string | boolean): Property => ({
    name,
    value: { signature, value },
  })

  it.each([
    [
      'an unknown property',
      [property('NoSuchThing', 'b', true)],
      /^StartTransientUnit \S+: Cannot set property NoSuchThing/,
    ],
    ['a property of another type', [property('TasksMax', 's', 'many')], /^StartTransientUnit \S+: .+/],
    ['a value that means nothing', [property('CollectMode', 's', 'never')], /^StartTransientUnit \S+: .*CollectMode/],
  ])('is said in its own words: %s', async (_, properties, message) => {
    const { pid } = waiting()
    const failure = await scopeOf(await systemd(), pid, properties).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'SYSTEMD', exitCode: 125, message: expect.stringMatching(message) as string })
    expect((failure as Error).message).not.toContain('\n')
    expect(cgroupOf(pid)).toBe('/system.slice/guest.service')
  })

  it('is a process that is not there', async () => {
    const { pid, end } = waiting()
    await end()
    await expect(scopeOf(await systemd(), pid)).rejects.toMatchObject({ code: 'SYSTEMD' })
  })

  it('is a slice that is none', async () => {
    const { pid } = waiting()
    await expect(scopeOf(await systemd(), pid, [], { slice: 'a.service' })).rejects.toMatchObject({ code: 'SYSTEMD' })
  })

  it('is a process in a unit that is a slice', async () => {
    const { pid } = waiting()
    await expect(scopeOf(await systemd(), pid, [], { unit: 'tscrun-x.slice' })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
    })
  })

  it('are limits of a unit that is not there', async () => {
    const on = await systemd()
    const properties = unitProperties({ pids: { limit: 5 } }, on.version)
    await expect(setUnitProperties(on, 'tscrun-never-there.scope', properties)).rejects.toMatchObject({
      code: 'NO_SUCH_CONTAINER',
      message: 'SetUnitProperties tscrun-never-there.scope: there is no such unit',
    })
  })
})

describe('a connection', () => {
  const STUBBORN = "trap '' TERM; while :; do sleep 1; done"
  const SLOW = annotationProperties({ 'org.systemd.property.TimeoutStopSec': '4' })

  afterEach(() => {
    delete process.env['DBUS_SYSTEM_BUS_ADDRESS']
  })

  it('is systemd itself where no bus runs, and all is the same', async () => {
    process.env['DBUS_SYSTEM_BUS_ADDRESS'] = 'unix:path=/run/nobody-listens'
    const on = await systemd()
    expect(on.connection.name).toBeUndefined()
    const { pid, end } = waiting()
    const { unit, cgroup } = await scopeOf(on, pid, unitProperties({ pids: { limit: 9 } }, on.version))
    expect(cgroupOf(pid)).toBe(cgroup)
    expect(read(cgroup, 'pids.max')).toBe('9')
    await setUnitProperties(on, unit, unitProperties({ pids: { limit: 8 } }, on.version))
    expect(read(cgroup, 'pids.max')).toBe('8')
    await end()
    await stopUnit(on, unit)
    expect(exists(cgroup)).toBe(false)
  })

  it('believes the end of a job from systemd alone', async () => {
    const on = await systemd()
    const { pid } = waiting(STUBBORN)
    const { unit, cgroup } = await scopeOf(on, pid, SLOW)
    const stopped = stopUnit(on, unit)
    const job = await expect
      .poll(
        () =>
          /^\s*(\d+) /m.exec(execFileSync('systemctl', ['list-jobs', '--no-legend', unit], { encoding: 'utf8' }))?.[1],
      )
      .not.toBeUndefined()
      .then(
        () =>
          /^\s*(\d+) /m.exec(execFileSync('systemctl', ['list-jobs', '--no-legend', unit], { encoding: 'utf8' }))?.[1],
      )
    const forged = `uint32:${job} objpath:/org/freedesktop/systemd1/job/${job} string:${unit} string:done`
    const send = ['--system', `--dest=${on.connection.name}`, '--type=signal', '/org/freedesktop/systemd1']
    execFileSync('dbus-send', [...send, 'org.freedesktop.systemd1.Manager.JobRemoved', ...forged.split(' ')])
    await stopped
    expect(exists(cgroup)).toBe(false)
  })

  it('gives up after its time', async () => {
    const { pid } = waiting(STUBBORN)
    const { unit } = await scopeOf(await systemd(), pid, SLOW)
    const impatient = await systemd({ timeoutMs: 1000 })
    await expect(stopUnit(impatient, unit)).rejects.toMatchObject({
      code: 'SYSTEMD',
      message: 'systemd: no answer in 1 s',
    })
    await expectGone(unit)
  })

  it('ends with its signal, for the reason of the signal', async () => {
    const { pid } = waiting(STUBBORN)
    const { unit } = await scopeOf(await systemd(), pid, SLOW)
    const controller = new AbortController()
    const on = await systemd({ signal: controller.signal })
    const stopped = stopUnit(on, unit)
    controller.abort(new Error('no longer wanted'))
    await expect(stopped).rejects.toThrow('no longer wanted')
    await expect(startScope(on, { unit, slice: '', description: '', pids: [pid], properties: [] })).rejects.toThrow(
      'no longer wanted',
    )
    await expectGone(unit)
  })
})
