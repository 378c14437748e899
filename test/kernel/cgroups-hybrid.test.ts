import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readCgroupFacts } from '../../src/cgroups/facts.ts'
import { expectNothingLeft, expectOneLine, type Machine, makeMachine } from './fixtures/machine.ts'

const facts = readCgroupFacts((path) => readFileSync(path, 'utf8'))

/** Each flag of `run` with the controller it needs. */
const LIMITS: readonly (readonly [flags: readonly string[], controller: string])[] = [
  [['--memory', '64m'], 'memory'],
  [['--memory-reservation', '64m'], 'memory'],
  [['--cpus', '0.5'], 'cpu'],
  [['--cpu-shares', '512'], 'cpu'],
  [['--cpuset-cpus', '0'], 'cpuset'],
  [['--pids-limit', '20'], 'pids'],
  [['--blkio-weight', '100'], 'io'],
  [['--cgroup-conf', 'memory.high=64M'], 'memory'],
]

describe.skipIf(facts.v1Controllers.length === 0)('on a host whose controllers are bound to cgroup v1', () => {
  let machine: Machine
  beforeAll(() => {
    machine = makeMachine()
  })
  afterAll(() => machine.dispose())

  it.each(LIMITS.filter(([, controller]) => facts.v1Controllers.includes(controller)))(
    '%j is refused in one line that says that %s is bound there, with a way out',
    async (flags, controller) => {
      const { exitCode, stdout, stderr } = await machine.run(flags, ['echo', 'never'])
      expect({ exitCode, stdout }).toEqual({ exitCode: 125, stdout: '' })
      expectOneLine(
        stderr,
        new RegExp(`^tscrun: limit \\S+: the ${controller} controller is bound to cgroup v1 on this host`),
      )
      expect(stderr).toMatch(/without this limit/)
      expectNothingLeft(machine)
    },
  )

  it('containers without limits run', async () => {
    expect(await machine.sh('echo fine')).toBe('fine')
    expectNothingLeft(machine)
  })

  it('a limit of a controller that cgroup v2 has there holds', async () => {
    if (!facts.controllers.includes('hugetlb')) return expect(facts.v1Controllers).toContain('hugetlb')
    expect(await machine.sh('cat /sys/fs/cgroup/hugetlb.2MB.max', ['--cgroup-conf', 'hugetlb.2MB.max=4194304'])).toBe(
      '4194304',
    )
  })

  it('the container sees the cgroup v2 hierarchy alone, with its own cgroup as the root', async () => {
    expect(await machine.sh('grep ^0: /proc/self/cgroup')).toBe('0::/')
    expect(await machine.sh('grep -c " cgroup " /proc/mounts; true')).toBe('0')
  })
})
