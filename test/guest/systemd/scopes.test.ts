import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { annotationProperties } from '../../../src/cgroups/systemd/annotations.ts'
import { cgroupOfUnit, parseSystemdCgroupsPath, unitName } from '../../../src/cgroups/systemd/place.ts'
import { type Property, unitProperties } from '../../../src/cgroups/systemd/properties.ts'
import { setUnitProperties, stopUnit } from '../../../src/cgroups/systemd/units.ts'
import { cgroupOf, exists, expectGone, read, scopeOf, show, systemd, waiting } from './fixtures/units.ts'

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
    await expect(stopUnit(await systemd(), 'tscrun-never-there.scope')).resolves.toBeUndefined()
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
