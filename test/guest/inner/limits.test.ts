import { describe, expect, it } from 'vitest'
import { cgroups, hold, run, tscrun, busyboxRootfs } from './fixtures/containers.ts'

const MIB = 2 ** 20

/** Needs 200 MB at once. */
const EATER = 'dd if=/dev/zero of=/dev/null bs=200M count=1'

/** Reads a file of the cgroup without another process. */
const show = (file: string): string => `while read -r line; do echo "$line"; done < /sys/fs/cgroup/${file}`

function numberIn(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

describe('--memory', () => {
  it('kills what needs more: exit code 137, and the library is told that memory was out', async () => {
    const result = await run(['--memory', '64m'], `exec ${EATER}`)
    expect(result).toMatchObject({ exitCode: 137, signal: 'SIGKILL', oomKilled: true, timedOut: false })
  })

  it('is told by inspect as well, of a container that is kept', async () => {
    const argv = [
      'run',
      '--name',
      'eater',
      '--memory',
      '64m',
      '--rootfs',
      `${busyboxRootfs()}:O`,
      'sh',
      '-c',
      `exec ${EATER}`,
    ]
    expect((await tscrun(argv)).exitCode).toBe(137)
    const { stdout } = await tscrun([
      'inspect',
      '--format',
      '{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}',
      'eater',
    ])
    expect(stdout).toBe('true 137 exited')
    expect((await tscrun(['rm', 'eater'])).exitCode).toBe(0)
    expect(cgroups()).toEqual([])
  })

  it('that kills another process than the first leaves the first its own exit code', async () => {
    const result = await run(['--memory', '64m'], `${EATER}; echo $?; exit 3`)
    expect(result).toMatchObject({ exitCode: 3, oomKilled: true, stdout: '137' })
  })

  it('that is enough kills nobody', async () => {
    const result = await run(['--memory', '512m'], EATER)
    expect(result).toMatchObject({ exitCode: 0, oomKilled: false })
  })

  it('counts what is written to a throw-away root filesystem, which is memory', async () => {
    const result = await run(['--memory', '64m'], 'exec dd if=/dev/zero of=/file bs=1M count=200')
    expect(result).toMatchObject({ exitCode: 137, oomKilled: true })
  })

  it('is in force for process 1 from its birth, long before it runs the command', async () => {
    // Killed while the others set it up it could not be started; killed on its way into the command it has ended.
    const outcome = await run(['--cgroup-conf', 'memory.max=4096'], 'echo started').catch(String)
    if (typeof outcome === 'string') expect(outcome).toMatch(/out of memory/)
    else expect(outcome).toMatchObject({ exitCode: 137, oomKilled: true, stdout: '' })
    expect(cgroups()).toEqual([])
  })

  it.each([
    [['--memory', '64m'], { max: 64 * MIB, swap: 64 * MIB, low: 0 }],
    [['--memory', '64m', '--memory-swap', '64m'], { max: 64 * MIB, swap: 0, low: 0 }],
    [['--memory', '64m', '--memory-swap', '100m'], { max: 64 * MIB, swap: 36 * MIB, low: 0 }],
    [
      ['--memory', '64m', '--memory-swap', '-1', '--memory-reservation', '32m'],
      { max: 64 * MIB, swap: 'max', low: 32 * MIB },
    ],
    [['--memory-reservation', '16m'], { max: 'max', swap: 'max', low: 16 * MIB }],
    [[], { max: 'max', swap: 'max', low: 0 }],
  ])('%j is written as memory, swap and protection', async (flags, { max, swap, low }) => {
    const held = await hold(flags)
    const found = ['memory.max', 'memory.swap.max', 'memory.low'].map(held.read)
    await held.end()
    expect(found).toEqual([max, swap, low].map(String))
  })

  it('smaller than a process is refused in one line before anything is made', async () => {
    const { exitCode, stderr } = await tscrun(['run', '--memory', '1', '--rootfs', `${busyboxRootfs()}:O`, 'true'])
    expect(exitCode).toBe(125)
    expect(stderr).toMatch(/^tscrun: .*--memory 1: .*$/m)
    expect(String(stderr).split('\n').length).toBeLessThanOrEqual(2)
    expect(cgroups()).toEqual([])
  })
})

describe('processors', () => {
  // A throttled group gets 50 ms of every 100, which this outlasts by far.
  const work = 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done'

  it('--cpus 0.5 throttles', async () => {
    const { stdout } = await run(['--cpus', '0.5'], `${work}; ${show('cpu.max')}; ${show('cpu.stat')}`)
    expect(stdout.split('\n')[0]).toBe('50000 100000')
    expect(numberIn(stdout, 'usage_usec')).toBeGreaterThan(50_000)
    expect(numberIn(stdout, 'nr_throttled')).toBeGreaterThan(0)
  })

  it('without a limit nothing is throttled', async () => {
    const { stdout } = await run([], `${work}; ${show('cpu.max')}; ${show('cpu.stat')}`)
    expect(stdout.split('\n')[0]).toBe('max 100000')
    expect(numberIn(stdout, 'nr_throttled')).toBe(0)
  })

  it.each([
    [['--cpu-quota', '20000', '--cpu-period', '50000'], 'cpu.max', '20000 50000'],
    [['--cpu-quota', '-1'], 'cpu.max', 'max 100000'],
    [['--cpu-shares', '1024'], 'cpu.weight', '100'],
    [['--cpu-shares', '2'], 'cpu.weight', '1'],
    [['--cpu-shares', '262144'], 'cpu.weight', '10000'],
    [['--cpu-shares', '512'], 'cpu.weight', '59'],
  ])('%j is %s %s', async (flags, file, value) => {
    expect((await run(flags, show(file))).stdout).toBe(value)
  })

  it('--cpuset-cpus is what process 1 may run on, and --cpuset-mems where its memory lies', async () => {
    const script = `grep -E '^(Cpus|Mems)_allowed_list' /proc/1/status; ${show('cpuset.cpus.effective')}`
    expect((await run(['--cpuset-cpus', '1', '--cpuset-mems', '0'], script)).stdout).toBe(
      'Cpus_allowed_list:\t1\nMems_allowed_list:\t0\n1',
    )
    expect((await run([], script)).stdout).toMatch(/^Cpus_allowed_list:\t0-1\n/)
  })

  it('--cpuset-cpus with a processor that is not there is refused in one line that names the file', async () => {
    await expect(run(['--cpuset-cpus', '77'], ':')).rejects.toThrow(/^[^\n]*cpuset\.cpus[^\n]*$/)
    expect(cgroups()).toEqual([])
  })
})

describe('--pids-limit', () => {
  it('bounds a fork bomb', async () => {
    const held = await hold(['--pids-limit', '40'], 'bomb() { bomb | bomb & }; (bomb) 2>/dev/null')
    await expect.poll(() => numberIn(held.read('pids.events'), 'max'), { timeout: 60_000 }).toBeGreaterThan(0)
    expect(held.read('pids.max')).toBe('40')
    expect(Number(held.read('pids.peak'))).toBe(40)
    expect(Number(held.read('pids.current'))).toBeLessThanOrEqual(40)
    await held.end()
    expect(cgroups()).toEqual([])
  })

  it('of one lets the command run and nothing beside it', async () => {
    const { exitCode, stdout, stderr } = await run(['--pids-limit', '1'], `${show('pids.current')}; ls /; exit 0`)
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '1' })
    expect(stderr).toMatch(/can't fork/)
  })

  it.each(['-1', '0'])('%s is no limit', async (limit) => {
    expect((await run(['--pids-limit', limit], show('pids.max'))).stdout).toBe('max')
  })
})

describe('--cgroup-conf', () => {
  it('writes any file of a controller, huge pages too', async () => {
    const conf = {
      'memory.high': '33554432',
      'memory.oom.group': '1',
      'hugetlb.2MB.max': '4194304',
      'cpu.weight': '77',
      'cpu.max.burst': '10000',
      'pids.max': '99',
    }
    // A burst is bound by the quota, which comes first.
    const flags = Object.entries(conf).flatMap(([file, value]) => ['--cgroup-conf', `${file}=${value}`])
    const held = await hold(['--cpus', '0.5', ...flags])
    const found = Object.fromEntries(Object.keys(conf).map((file) => [file, held.read(file)]))
    await held.end()
    expect(found).toEqual(conf)
  })

  it('has the last word over the other flags', async () => {
    expect((await run(['--pids-limit', '10', '--cgroup-conf', 'pids.max=20'], show('pids.max'))).stdout).toBe('20')
  })

  it.each([
    ['memory.absent=1', /memory\.absent/],
    ['memory.max=lots', /memory\.max/],
    ['nosuch.max=1', /the nosuch controller/],
    ['cgroup.procs=1', /cgroup\.procs: not a limit/],
  ])('%s is refused in one line, and nothing stays', async (text, message) => {
    const failure: unknown = await run(['--cgroup-conf', text], ':').catch((error: unknown) => error)
    expect(failure).toMatchObject({ name: 'TscrunError', message: expect.stringMatching(message) as string })
    expect((failure as Error).message).not.toContain('\n')
    expect(cgroups()).toEqual([])
  })
})
