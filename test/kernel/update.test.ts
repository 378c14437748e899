import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { backgroundOf } from './fixtures/detached.ts'
import { cgroupsOf, expectNothingLeft, expectOneLine, isAlive, useMachine, pidOf, until } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

const { out } = backgroundOf(() => machine)
const NAME = 'changing'
const detach = async (...flags: string[]): Promise<string> =>
  (await out('run', '-d', '--name', NAME, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sleep', '1000')).trim()
const pid = async (): Promise<number> => Number((await out('inspect', '-f', '{{.State.Pid}}', NAME)).trim())
/** A file that every cgroup has, with no controller. */
const descendants = (id: string): string =>
  readFileSync(join(cgroupsOf(id)[0] ?? '', 'cgroup.max.descendants'), 'utf8').trim()

/** Kills its first process; answers the next one, or undefined where its monitor has ended. */
async function kill(): Promise<number | undefined> {
  const before = await pid()
  process.kill(before, 'SIGKILL')
  const state = join(machine.runRoot, machine.containers()[0] ?? '', 'state.json')
  const next = await until(() => {
    if (pidOf(`tscrun: ${NAME}`) === undefined) return 'ended'
    try {
      const now = (JSON.parse(readFileSync(state, 'utf8')) as { pid: number }).pid
      return now !== before && now
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return false
    }
  })
  return next === 'ended' ? undefined : next
}

describe('tscrun update', () => {
  it('changes a limit of a running container now, in the lives its monitor gives it, and when it is started again', async () => {
    const id = await detach('--restart', 'always')
    expect(await out('update', '--cgroup-conf', 'cgroup.max.descendants=7', NAME)).toBe(`${NAME}\n`)
    expect(descendants(id)).toBe('7')
    expect(await kill()).toBeDefined()
    expect(descendants(id)).toBe('7')
    await out('stop', '-t', '0', NAME)
    await out('start', NAME)
    expect(descendants(id)).toBe('7')
  })

  it('changes a stopped container for its next start', async () => {
    const made = ['--name', NAME, '--cgroup-conf', 'cgroup.max.depth=3', '--rootfs', `${machine.rootfs}:O`]
    const id = (await out('create', ...made, 'sleep', '1000')).trim()
    await out('update', '--cgroup-conf', 'cgroup.max.descendants=9', NAME)
    await out('start', NAME)
    expect(descendants(id)).toBe('9')
    expect(readFileSync(join(cgroupsOf(id)[0] ?? '', 'cgroup.max.depth'), 'utf8').trim()).toBe('3')
  })

  it('tells the monitor of another restart policy', async () => {
    await detach()
    await out('update', '--restart', 'on-failure', NAME)
    const second = await kill()
    expect(isAlive(second ?? 0)).toBe(true)
    expect(await out('inspect', '-f', '{{.HostConfig.RestartPolicy.Name}}', NAME)).toBe('on-failure\n')
    await out('update', '--restart', 'no', NAME)
    expect(await kill()).toBeUndefined()
  })

  it.each([
    [['--restart', 'always'], /^tscrun: update changing: it is removed at its end \(--rm\)/],
    [[], /^tscrun: update: nothing to change/],
    [['--cgroup-conf', 'cgroup.max.descendants=-3'], /^tscrun: write "-3" to .*cgroup\.max\.descendants: E/],
    [['--memory', '1m'], /^tscrun: (memory limit: 1048576 bytes is below|limit memory\.max: )/],
    [['--restart', 'now'], /^tscrun: --restart now: unknown policy/],
  ])('%j is refused in one line, and changes nothing', async (flags, message) => {
    const id = await detach('--rm')
    const before = descendants(id)
    const { exitCode, stderr } = await machine.tscrun(['update', ...flags, NAME])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, message)
    expect(descendants(id)).toBe(before)
    await out('rm', '-f', NAME)
  })
})
