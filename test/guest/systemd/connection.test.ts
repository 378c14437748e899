import { execFileSync } from 'node:child_process'
import { afterEach, describe, expect, it } from 'vitest'
import { annotationProperties } from '../../../src/cgroups/systemd/annotations.ts'
import { unitProperties } from '../../../src/cgroups/systemd/properties.ts'
import { setUnitProperties, startScope, stopUnit } from '../../../src/cgroups/systemd/units.ts'
import { cgroupOf, exists, expectGone, read, scopeOf, systemd, waiting } from './fixtures/units.ts'

/** The number of the job that is queued for a unit, when there is one. */
async function jobOf(unit: string): Promise<string> {
  const queued = (): string | undefined => {
    const jobs = execFileSync('systemctl', ['list-jobs', '--no-legend', '--no-pager'], { encoding: 'utf8' })
    return jobs
      .split('\n')
      .find((line) => line.includes(` ${unit} `))
      ?.trim()
      .split(' ')[0]
  }
  await expect.poll(queued, { timeout: 30_000 }).toMatch(/^\d+$/)
  return queued() ?? ''
}

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
    const job = await jobOf(unit)
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
      message: `StopUnit ${unit}: no answer in 1 s`,
    })
    await expectGone(unit)
  })

  it('ends with its signal, for the reason of the signal', async () => {
    const { pid } = waiting(STUBBORN)
    const { unit } = await scopeOf(await systemd(), pid, SLOW)
    const controller = new AbortController()
    const on = await systemd({ signal: controller.signal })
    const stopped = stopUnit(on, unit)
    await jobOf(unit)
    controller.abort(new Error('no longer wanted'))
    await expect(stopped).rejects.toThrow('no longer wanted')
    await expect(startScope(on, { unit, slice: '', description: '', pids: [pid], properties: [] })).rejects.toThrow(
      'no longer wanted',
    )
    await expectGone(unit)
  })
})
