import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { busyboxMembers, makeImage, writeLayout } from '../clients/fixtures/images.ts'
import { handDown, NOBODY_DIVIDES } from './fixtures/cgroups.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { cgroupsOf, expectNothingLeft, expectOneLine, isAlive, useMachine, pidOf, until } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

const { detach, out, inspected, pidIn, monitorOf, ended, health, untilHealth } = backgroundOf(() => machine)
const FAST = ['--health-interval', '50ms', '--health-retries', '2']
const check = (command: string, ...more: readonly string[]): string[] => ['--health-cmd', command, ...FAST, ...more]
const FOREVER = 'exec sleep 1000'

/** From then on it takes no processes (cgroups(7), "no internal processes"). */
function divide(cgroup: string, controller: string): boolean {
  try {
    writeFileSync(join(cgroup, 'cgroup.subtree_control'), `+${controller}`)
    return true
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('EBUSY')
    return false
  }
}

describe('a health check', () => {
  it('makes a container healthy, unhealthy after failures in a row, and healthy again', async () => {
    const { id, name } = await detach(`touch /ok; ${FOREVER}`, check('echo looked; test -f /ok'))
    await untilHealth(id, ({ status }) => status === 'healthy')
    expect(await out('ps', '--format', '{{.Status}}', '-f', 'health=healthy')).toMatch(/^Up .* \(healthy\)\n$/)
    await out('exec', name, 'rm', '/ok')
    const sick = await untilHealth(id, ({ status }) => status === 'unhealthy')
    expect(sick.failingStreak).toBeGreaterThanOrEqual(2)
    expect(await inspected(name, '{{.State.Health.Status}} {{(index .State.Health.Log 0).Output}}')).toMatch(
      /^unhealthy looked/,
    )
    expect(await out('ps', '-q', '-f', 'health=healthy')).toBe('')
    await out('exec', name, 'touch', '/ok')
    const well = await untilHealth(id, ({ status }) => status === 'healthy')
    expect(well.failingStreak).toBe(0)
    expect(await inspected(name, '{{json .Config.Healthcheck}}')).toBe(
      JSON.stringify({
        Test: ['CMD', '/bin/sh', '-c', 'echo looked; test -f /ok'],
        Interval: 50e6,
        Timeout: 30e9,
        StartPeriod: 0,
        StartInterval: 5e9,
        Retries: 2,
      }),
    )
  })

  it('is made beside the first process where the container has divided its cgroup', async ({ skip }) => {
    const { id, name } = await detach(FOREVER, check('cat /proc/self/cgroup'))
    const [cgroup = ''] = cgroupsOf(id)
    const controller = handDown(cgroup) ?? skip(NOBODY_DIVIDES)
    mkdirSync(join(cgroup, 'inner'))
    mkdirSync(join(cgroup, 'inner', 'deeper'))
    // A check that is under way is in there, too; it ends soon.
    writeFileSync(join(cgroup, 'inner', 'deeper', 'cgroup.procs'), String(await pidIn(name)))
    await until(() => divide(cgroup, controller))
    const { checks } = await untilHealth(id, (file) => file.checks.at(-1)?.output.includes('deeper') === true)
    expect(checks.at(-1)).toMatchObject({ exitCode: 0 })
    expect(await out('exec', name, 'cat', '/proc/self/cgroup')).toContain('0::/inner/deeper\n')
  })

  it('is confined as the container is, and is in its cgroup and namespaces', async () => {
    const facts = `grep -E '^(Uid|Gid|Groups|Cap|Seccomp|NoNewPrivs)' /proc/self/status; id; pwd; echo $HOW;
      for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup`
    const flags = check(`{ ${facts}; } >/tmp/check.new && mv /tmp/check.new /tmp/check`)
    const { id, name } = await detach(FOREVER, [
      ...flags,
      '-u',
      'alice',
      '-w',
      '/tmp',
      '-e',
      'HOW=well',
      '--cap-add',
      'net_raw',
    ])
    await untilHealth(id, ({ status }) => status === 'healthy')
    expect(await out('exec', name, 'cat', '/tmp/check')).toBe(await out('exec', name, 'sh', '-c', facts))
    const { id: other } = await detach(FOREVER, check('exec sleep 0.5', '--health-timeout', '10s'))
    const [cgroup = ''] = cgroupsOf(other)
    await until(() => readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n').length === 2)
  })

  it('keeps the last five results, and of each the beginning of what it wrote', async () => {
    const { id, name } = await detach(FOREVER, check('head -c 6000 /dev/zero | tr "\\0" x; echo no >&2; exit 3'))
    await until(() => {
      const first = health(id)?.checks[0]
      return first !== undefined && (health(id)?.failingStreak ?? 0) >= 7
    })
    const log = JSON.parse(await inspected(name, '{{json .State.Health.Log}}')) as {
      ExitCode: number
      Output: string
    }[]
    expect(log.map(({ ExitCode, Output }) => [ExitCode, Output])).toEqual(
      Array.from({ length: 5 }, () => [3, `${'x'.repeat(4096)}...`]),
    )
  })

  it('that takes too long is killed, and has failed', async () => {
    const mark = `sleep 99.${process.pid}`
    const { id, name } = await detach(FOREVER, check(`echo begun; exec ${mark}`, '--health-timeout', '200ms'))
    await untilHealth(id, ({ checks }) => checks.length > 0)
    const log = await inspected(name, '{{json (index .State.Health.Log 0)}}')
    expect(JSON.parse(log)).toMatchObject({ ExitCode: -1, Output: 'begun\nit took too long, and was killed' })
    await out('stop', '-t', '1', name)
    expect(pidOf(mark)).toBeUndefined()
  })

  it('that cannot be made says why, and has failed', async () => {
    const { id, name } = await detach(FOREVER, check('["/nosuch"]'))
    await untilHealth(id, ({ status }) => status === 'unhealthy')
    expect(
      await inspected(name, '{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}'),
    ).toBe('-1 exec: ENOENT')
  })

  it('may fail in the start period, until one has passed', async () => {
    const flags = check('test -f /ok', '--health-start-period', '1h', '--health-start-interval', '20ms')
    const { id, name } = await detach(FOREVER, flags)
    const starting = await untilHealth(id, ({ checks }) => checks.length === 5)
    expect(starting).toMatchObject({ status: 'starting', failingStreak: 0 })
    expect(await out('ps', '--format', '{{.Status}}')).toMatch(/\(health: starting\)\n$/)
    await out('exec', name, 'touch', '/ok')
    await untilHealth(id, ({ status }) => status === 'healthy')
    await out('exec', name, 'rm', '/ok')
    await untilHealth(id, ({ status }) => status === 'unhealthy')
  })

  it('is not made of a paused container', async () => {
    const { id, name } = await detach(FOREVER, check('true', '--health-timeout', '100ms'))
    await untilHealth(id, ({ status }) => status === 'healthy')
    await out('pause', name)
    const at = health(id)?.checks.at(-1)?.startedMs
    await sleep(500)
    expect(health(id)).toMatchObject({ status: 'healthy', failingStreak: 0 })
    // One may have been under way when it was frozen.
    const later = health(id)?.checks.filter(({ startedMs }) => startedMs > (at ?? 0)) ?? []
    expect(later.length).toBeLessThanOrEqual(1)
    await out('unpause', name)
    await untilHealth(id, ({ checks }) => (checks.at(-1)?.startedMs ?? 0) > (at ?? 0) + 500)
    expect(health(id)?.status).toBe('healthy')
  })

  it('can be made at once', async () => {
    const { name } = await detach(FOREVER, ['--health-cmd', 'test -f /ok', '--health-interval', '1h'])
    expect(await machine.tscrun(['healthcheck', 'run', name])).toMatchObject({ exitCode: 1, stdout: 'unhealthy\n' })
    await out('exec', name, 'touch', '/ok')
    expect(await out('healthcheck', 'run', name)).toBe('')
    expect(await inspected(name, '{{.State.Health.Status}} {{len .State.Health.Log}}')).toBe('healthy 2')
    await out('stop', '-t', '0', name)
    const stopped = await machine.tscrun(['healthcheck', 'run', name])
    expect(stopped.exitCode).toBe(125)
    expectOneLine(stopped.stderr, /^tscrun: healthcheck background\d+: it is stopped/)
    const plain = await detach(FOREVER)
    const refused = await machine.tscrun(['healthcheck', 'run', plain.name])
    expectOneLine(
      refused.stderr,
      /^tscrun: healthcheck background\d+: it has no health check \(run it with --health-cmd\)/,
    )
  })

  it('is made in the foreground, too', async () => {
    const name = `foreground${process.pid}`
    const flags = ['--name', name, ...check('exit 1', '--health-on-failure', 'kill')]
    const { exitCode } = await machine.run(flags, ['sleep', '1000'])
    expect(exitCode).toBe(137)
  })
})

describe('--health-on-failure', () => {
  it('kill: kills it; its restart policy holds', async () => {
    const flags = check('exit 1', '--health-on-failure', 'kill')
    const { name } = await detach(FOREVER, flags)
    expect(await out('wait', name)).toBe('137\n')
    expect(await inspected(name, '{{.State.Health.Status}}')).toBe('unhealthy')
    const again = await detach('echo life; exec sleep 1000', [...flags, '--restart', 'on-failure:1'])
    await ended(again.name)
    expect(await out('logs', again.name)).toBe('life\nlife\n')
  })

  it('stop: by its stop signal, for good', async () => {
    const flags = check('exit 1', '--health-on-failure', 'stop', '--restart', 'always')
    const { name } = await detach('trap "exit 5" TERM; echo life; while :; do sleep 0.05; done', flags)
    await ended(name)
    expect(await inspected(name, '{{.State.ExitCode}}')).toBe('5')
    expect(await out('logs', name)).toBe('life\n')
  })

  it('stop: kills what does not end in its --stop-timeout', async () => {
    const flags = check('exit 1', '--health-on-failure', 'stop', '--stop-timeout', '1')
    const { name } = await detach('trap "" TERM; while :; do sleep 0.05; done', flags)
    await ended(name)
    expect(await inspected(name, '{{.State.ExitCode}} {{.Config.StopTimeout}}')).toBe('137 1')
  })

  it('restart: starts it again without any policy, and its checks begin anew', async () => {
    const flags = check('test ! -f /sick', '--health-on-failure', 'restart', '--stop-timeout', '0')
    const { id, name } = await detach(FOREVER, flags)
    await untilHealth(id, ({ status }) => status === 'healthy')
    const first = await pidIn(name)
    await out('exec', name, 'touch', '/sick')
    await until(() => !isAlive(first))
    await untilHealth(id, ({ status }) => status === 'healthy')
    expect(await pidIn(name)).not.toBe(first)
    await out('stop', '-t', '0', name)
  })
})

describe('a container that its checks start again and again', () => {
  it('is restarting in between, and can be removed', async () => {
    const flags = ['--health-on-failure', 'restart', '--health-retries', '1', '--stop-timeout', '0']
    const { id, name } = await detach(FOREVER, check('false', '--health-interval', '50ms', ...flags))
    while ((await out('ps', '-a', '--format', '{{.State}}')).trim() !== 'restarting');
    await out('rm', '-f', name)
    expect(cgroupsOf(id)).toEqual([])
  })
})

describe('health checks and kill -9', () => {
  it('of the monitor: the check under way ends with it, and the record is put right', async () => {
    const mark = `sleep 98.${process.pid}`
    const { id, name } = await detach(FOREVER, check(`exec ${mark}`, '--restart', 'always'))
    const checking = await until(() => pidOf(mark))
    process.kill(monitorOf(name), 'SIGKILL')
    await until(() => !isAlive(checking))
    expect(await out('ps', '-a', '--format', '{{.State}} {{.Status}}')).toMatch(/^exited Exited \(137\)/)
    expect(cgroupsOf(id)).toEqual([])
    await out('start', name)
    await until(() => pidOf(mark))
    await out('rm', '-f', name)
    expect(pidOf(mark)).toBeUndefined()
  })

  it('of the process that makes the check: it has failed, and the next one is made', async () => {
    const mark = `sleep 97.${process.pid}`
    const { id, name } = await detach(FOREVER, check(`test -f /ok || exec ${mark}`, '--health-retries', '1'))
    const first = await until(() => pidOf(mark))
    const maker = Number(readFileSync(`/proc/${first}/stat`, 'latin1').split(') ')[1]?.split(' ')[1])
    await out('exec', name, 'touch', '/ok')
    process.kill(maker, 'SIGKILL')
    await until(() => !isAlive(first))
    const { checks } = await untilHealth(id, ({ status }) => status === 'healthy')
    expect(checks.map(({ exitCode }) => exitCode)).not.toContain(-1)
    expect(isAlive(await pidIn(name))).toBe(true)
  })

  it('of process 1 in mid-check: it is started again by its policy, and checked', async () => {
    const mark = `sleep 96.${process.pid}`
    const { id, name } = await detach(FOREVER, check(`test -f /ok || exec ${mark}`, '--restart', 'always'))
    await until(() => pidOf(mark))
    const [first, monitor] = [await pidIn(name), monitorOf(name)]
    const fds = (): number => readdirSync(`/proc/${monitor}/fd`).length
    process.kill(first, 'SIGKILL')
    await until(() => !isAlive(first))
    await until(() => pidOf(mark))
    const before = fds()
    const second = await pidIn(name)
    process.kill(second, 'SIGKILL')
    await until(() => !isAlive(second))
    await until(() => pidOf(mark))
    expect(fds()).toBe(before)
    expect(health(id)?.status).toBe('starting')
    await out('rm', '-f', name)
  })
})

describe("an image's HEALTHCHECK", () => {
  const of = async (store: string): Promise<string> => {
    const Healthcheck = { Test: ['CMD-SHELL', 'test -e /ok'], Interval: 40e6, Retries: 2 }
    const image = await makeImage({ layers: [busyboxMembers()], config: { Env: ['PATH=/bin'], Healthcheck } })
    const layout = join(machine.directory, 'layout')
    writeLayout(layout, [image])
    await out('--root', store, 'load', '-q', '-i', layout)
    return image.config.digest
  }

  it('is made, with what the command line says otherwise, or not at all', async () => {
    const image = await of(machine.store)
    const id = (await out('run', '-d', '--health-retries', '4', image, 'sleep', '1000')).trim()
    const sick = await untilHealth(id, ({ status }) => status === 'unhealthy')
    expect(sick.failingStreak).toBe(4)
    await out('exec', id, 'touch', '/ok')
    await untilHealth(id, ({ status }) => status === 'healthy')
    const command = ['run', '-d', '--health-cmd', 'exit 0', '--health-interval', '1h', image, 'sleep', '1000']
    const other = (await out(...command)).trim()
    expect(await out('healthcheck', 'run', other)).toBe('')
    const none = (await out('run', '-d', '--no-healthcheck', image, 'sleep', '1000')).trim()
    const refused = await machine.tscrun(['healthcheck', 'run', none])
    expectOneLine(refused.stderr, /it has no health check/)
    expect(await out('ps', '-q', '-f', 'health=none')).toBe(`${none.slice(0, 12)}\n`)
    expect(await inspected(image, '{{json .Config.Healthcheck}}')).toBe(
      JSON.stringify({ Test: ['CMD-SHELL', 'test -e /ok'], Interval: 40e6, Retries: 2 }),
    )
    for (const name of [id, other, none]) await out('rm', '-f', name)
    await out('rmi', '-f', image)
  })
})

describe('a request for health checks', () => {
  it.each([
    [['--health-interval', '5s'], /^tscrun: health: there is no check to be made \(the image has none/],
    [['--health-cmd', 'x', '--health-interval', '5'], /^tscrun: --health-interval 5: no duration/],
    [['--health-cmd', 'x', '--health-on-failure', 'panic'], /^tscrun: --health-on-failure panic: unknown action/],
    [['--health-cmd', 'x', '--health-on-failure', 'restart'], /^tscrun: --health-on-failure restart: needs --detach/],
    [['--health-cmd', 'x', '--no-healthcheck'], /^tscrun: --health-cmd x: does not go with --no-healthcheck/],
  ])('%j is refused in one line', async (flags, words) => {
    const { exitCode, stderr } = await machine.run(flags, ['true'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, words)
  })
})
