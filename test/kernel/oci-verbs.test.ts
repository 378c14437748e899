import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { until } from './fixtures/machine.ts'
import { hasEnded, makeOciHost, type OciHost, RUNTIME, running } from './fixtures/oci.ts'

let host: OciHost
let id: string
let count = 0
beforeAll(async () => {
  host = await makeOciHost()
})
afterAll(() => host.dispose())
afterEach(() => host.clear())

const runtime = (): string[] => [RUNTIME, '--root', host.root]

async function sleeping(change?: Parameters<OciHost['bundle']>[0]): Promise<string> {
  id = `c${count++}`
  await host.start(id, host.bundle(change))
  return id
}

const pidOf = async (name: string): Promise<number> =>
  (JSON.parse(await host.ok(['state', name])) as { pid: number }).pid
const inProc = (pid: number, file: string): string => fs.readFileSync(`/proc/${pid}/${file}`, 'utf8')
const cgroupOf = (name: string): string => join(host.place.cgroup, 'tscrun-runtime', name)

describe('create, start, kill and delete', () => {
  it('go through the states of the specification, which the kernel confirms', async () => {
    const bundle = host.bundle()
    const pidFile = join(bundle, 'pid')
    await host.quietly(['create', '--bundle', bundle, '--pid-file', pidFile, 'states'])
    expect(await host.status('states')).toBe('created')
    const pid = await pidOf('states')
    expect(fs.readFileSync(pidFile, 'latin1')).toBe(String(pid))
    expect(inProc(pid, 'comm')).not.toBe('sleep\n')
    expect((await host.oci(['start', 'states'])).exitCode).toBe(0)
    expect([await host.status('states'), inProc(pid, 'comm')]).toEqual(['running', 'sleep\n'])
    const again = await host.oci(['start', 'states'])
    expect([again.exitCode, again.stderr]).toEqual([
      1,
      expect.stringContaining('cannot start a container that is running'),
    ])
    const early = await host.oci(['delete', 'states'])
    expect([early.exitCode, early.stderr]).toEqual([1, expect.stringContaining('that is not stopped: running')])
    await host.ok(['kill', 'states', 'KILL'])
    await until(() => hasEnded(pid))
    expect(await host.status('states')).toBe('stopped')
    const late = await host.oci(['kill', 'states', '15'])
    expect([late.exitCode, late.stderr]).toEqual([1, expect.stringContaining('container not running')])
    await host.ok(['delete', 'states'])
    const gone = await host.oci(['state', 'states'])
    expect([gone.exitCode, gone.stderr]).toEqual([1, expect.stringContaining('does not exist')])
  })

  it('delete --force of what is not there says nothing, delete without it says what callers look for', async () => {
    expect(await host.oci(['delete', '--force', 'absent'])).toEqual({ exitCode: 0, stdout: '', stderr: '' })
    const { exitCode, stderr } = await host.oci(['delete', 'absent'])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('does not exist')])
  })

  it('delete takes a created container along, and with --regex all that match', async () => {
    const create = (name: string): Promise<void> => host.create(name, host.bundle())
    await create('match-1')
    await create('match-2')
    await create('other')
    await host.ok(['delete', '--regex', '^match-'])
    expect(await host.ok(['list', '-q'])).toBe('other\n')
    await host.ok(['delete', 'other'])
  })

  it('kill takes numbers and names, and --all reaches those whom the first process left behind', async () => {
    const shared = await sleeping((config) => ({
      ...running('sh', '-c', 'trap "" TERM; sleep 1000 & exec sleep 1001')(config),
      linux: { ...config.linux, namespaces: (config.linux?.namespaces ?? []).filter(({ type }) => type !== 'pid') },
    }))
    const pid = await pidOf(shared)
    const all = (): number[] =>
      fs
        .readFileSync(join(cgroupOf(shared), 'cgroup.procs'), 'latin1')
        .trim()
        .split('\n')
        .filter(Boolean)
        .map(Number)
    await until(() => all().length === 2)
    await host.ok(['kill', shared, '9'])
    await until(() => all().length === 1)
    expect(all()).not.toContain(pid)
    expect(JSON.parse(await host.ok(['ps', '--format', 'json', shared]))).toEqual(all())
    await host.ok(['kill', '--all', shared, '9'])
    await until(() => all().length === 0)
    await host.ok(['kill', '-a', shared, 'KILL'])
    const { exitCode, stderr } = await host.oci(['kill', shared, 'SIGWRONG'])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('unknown signal "SIGWRONG"')])
  })
})

describe('pause and resume', () => {
  it('stop everyone and let them go on, which the kernel confirms', async () => {
    const name = await sleeping()
    await host.ok(['pause', name])
    expect(await host.status(name)).toBe('paused')
    expect(fs.readFileSync(join(cgroupOf(name), 'cgroup.events'), 'latin1')).toContain('frozen 1')
    const twice = await host.oci(['pause', name])
    expect([twice.exitCode, twice.stderr]).toEqual([1, expect.stringContaining('container not running')])
    await host.ok(['resume', name])
    expect(fs.readFileSync(join(cgroupOf(name), 'cgroup.events'), 'latin1')).toContain('frozen 0')
    const again = await host.oci(['resume', name])
    expect([again.exitCode, again.stderr]).toEqual([1, expect.stringContaining('container not paused')])
    await host.ok(['pause', name])
    await host.ok(['delete', '--force', name])
  })

  it('hold for one that waits for start, which nobody waits for in vain', async () => {
    const name = `c${count++}`
    await host.create(name, host.bundle())
    await host.ok(['pause', name])
    expect(await host.status(name)).toBe('paused')
    const { exitCode, stderr } = await host.oci(['start', name])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('cannot start a container that is paused')])
    await host.ok(['resume', name])
    expect(await host.status(name)).toBe('created')
    await host.ok(['start', name])
    expect(await host.status(name)).toBe('running')
    await host.ok(['delete', '--force', name])
  })
})

describe('ps, list, events and update', () => {
  it('ps tells pids of the host, also of sub-cgroups, and shows what ps(1) says of them', async () => {
    const name = await sleeping(running('sh', '-c', 'sleep 1234 & exec sleep 1000'))
    const own = cgroupOf(name)
    const pids = async (): Promise<number[]> => JSON.parse(await host.ok(['ps', '--format', 'json', name])) as number[]
    await until(() => fs.readFileSync(join(own, 'cgroup.procs'), 'latin1').trim().split('\n').length === 2)
    const before = await pids()
    fs.mkdirSync(join(own, 'inner'))
    fs.writeFileSync(join(own, 'inner/cgroup.procs'), String(before[1]))
    expect(await pids()).toEqual(before)
    expect(before).toContain(await pidOf(name))
    expect(await host.ok(['ps', '-f', 'json', name])).toBe(`${JSON.stringify(before)}\n`)
    const table = (await host.ok(['ps', name, '-o', 'pid,args']))
      .trimEnd()
      .split('\n')
      .map((line) => line.trim().replace(/ +/, ' '))
    expect(table).toEqual([
      'PID COMMAND',
      ...before.map((pid) => `${pid} ${inProc(pid, 'cmdline').replaceAll('\0', ' ').trim()}`),
    ])
    fs.writeFileSync(join(own, 'cgroup.procs'), String(before[1]))
  })

  it('list shows every container of its root as ids, table and JSON', async () => {
    const name = await sleeping()
    expect(await host.ok(['list', '-q'])).toBe(`${name}\n`)
    const [entry] = JSON.parse(await host.ok(['list', '--format=json'])) as {
      id: string
      status: string
      pid: number
    }[]
    expect(entry).toMatchObject({ id: name, status: 'running', pid: await pidOf(name) })
    const [heading = '', line = ''] = (await host.ok(['list'])).split('\n')
    expect(heading.split(/\s+/)).toEqual(['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'])
    expect(line.split(/\s+/).slice(0, 3)).toEqual([name, String(await pidOf(name)), 'running'])
  })

  it('events --stats tells what the cgroup says, in the shape that callers of runc know', async () => {
    const name = await sleeping()
    const event = JSON.parse(await host.ok(['events', '--stats', name])) as {
      type: string
      id: string
      data: { cpu: { usage: { total: number } }; hugetlb: Record<string, { usage: number }> }
    }
    expect([event.type, event.id]).toEqual(['stats', name])
    expect(event.data.cpu.usage.total).toBeGreaterThan(0)
    expect(event.data.hugetlb['2MB']?.usage).toBe(0)
    const pid = await pidOf(name)
    await host.ok(['kill', name, 'KILL'])
    await until(() => hasEnded(pid))
    const { exitCode, stderr } = await host.oci(['events', '--stats', name])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('is not running')])
  })

  it('events goes on in its interval until the container has ended, and ends then itself', async () => {
    const name = await sleeping()
    const log = join(host.place.directory, 'events.log')
    const following = host.place.start([...runtime(), 'events', '--interval', '100ms', name], log)
    const ended = new Promise((resolve) => following.once('exit', resolve))
    const lines = (): string[] => fs.readFileSync(log, 'utf8').split('\n').slice(0, -1)
    await until(() => lines().length >= 3)
    await host.ok(['kill', name, 'KILL'])
    expect(await ended).toBe(0)
    const events = lines().map((line) => JSON.parse(line) as { type: string; id: string; data: { cpu: object } })
    expect(events.every(({ type, id: of, data }) => type === 'stats' && of === name && 'usage' in data.cpu)).toBe(true)
  })

  it('update writes limits into the cgroup, from a file, standard input and the rules of devices too', async () => {
    const name = await sleeping()
    const own = cgroupOf(name)
    await host.ok(['update', '--resources', '-', name], {
      input: JSON.stringify({ hugepageLimits: [{ pageSize: '2MB', limit: 4194304 }] }),
    })
    expect(fs.readFileSync(join(own, 'hugetlb.2MB.max'), 'latin1')).toBe('4194304\n')
    await host.ok(['update', '-r', '-', name], {
      input: JSON.stringify({ unified: { 'cgroup.max.descendants': '7' } }),
    })
    expect(fs.readFileSync(join(own, 'cgroup.max.descendants'), 'latin1')).toBe('7\n')
    const { exitCode, stderr } = await host.oci(['update', '--memory', '1x', name])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('--memory 1x')])
  })
})
