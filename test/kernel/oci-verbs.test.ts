import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { until } from './fixtures/machine.ts'
import { makeOciHost, type OciHost, RUNTIME, running } from './fixtures/oci.ts'

let host: OciHost
let id: string
let count = 0
beforeAll(async () => {
  host = await makeOciHost()
})
afterAll(() => host.dispose())
afterEach(async () => {
  for (const name of (await host.ok(['list', '-q'])).split('\n').filter(Boolean)) await host.ok(['delete', '-f', name])
  const left = host.traces()
  if (left.length > 0) throw new Error(`left behind: ${left.join(' ')}`)
})

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
const namespaces = (pid: number | 'self'): Record<string, string> =>
  Object.fromEntries(
    ['mnt', 'uts', 'ipc', 'net', 'pid', 'cgroup', 'user'].map((type) => [
      type,
      fs.readlinkSync(`/proc/${pid}/ns/${type}`),
    ]),
  )

describe('create, start, kill and delete', () => {
  it('go through the states of the specification, which the kernel confirms', async () => {
    const bundle = host.bundle()
    const pidFile = join(bundle, 'pid')
    const words = ['create', '--bundle', bundle, '--pid-file', pidFile, 'states']
    await host.place.run(['sh', '-c', '"$@" >/dev/null 2>&1', 'sh', ...runtime(), ...words])
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
    await until(() => !fs.existsSync(`/proc/${pid}/cwd`))
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
    const create = (name: string): Promise<unknown> =>
      host.place.run([
        'sh',
        '-c',
        '"$@" >/dev/null 2>&1',
        'sh',
        ...runtime(),
        'create',
        '--bundle',
        host.bundle(),
        name,
      ])
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

describe('exec', () => {
  it('is in every namespace of the container, in its cgroup, and has what confines it', async () => {
    const name = await sleeping()
    const first = await pidOf(name)
    const pidFile = join(host.place.directory, 'exec.pid')
    await host.place.run([
      'sh',
      '-c',
      '"$@" >/dev/null 2>&1',
      'sh',
      ...runtime(),
      'exec',
      '--detach',
      '--pid-file',
      pidFile,
      name,
      'sleep',
      '77',
    ])
    const pid = Number(fs.readFileSync(pidFile, 'latin1'))
    expect(inProc(pid, 'cmdline')).toBe('sleep\x0077\0')
    expect(namespaces(pid)).toEqual(namespaces(first))
    expect(namespaces(pid)['mnt']).not.toBe(namespaces('self')['mnt'])
    expect(inProc(pid, 'cgroup').split('\n').at(-2)).toBe(inProc(first, 'cgroup').split('\n').at(-2))
    const confined = (of: number): string[] =>
      inProc(of, 'status')
        .split('\n')
        .filter((line) => /^(?:Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups)/.test(line))
    expect(confined(pid)).toEqual(confined(first))
    expect(fs.readdirSync(`/proc/${pid}/fd`)).toEqual(['0', '1', '2'])
    expect(fs.readlinkSync(`/proc/${pid}/root`)).toBe(fs.readlinkSync(`/proc/${first}/root`))
  })

  it('ends as its command ends: exit status, signal, command not found, not executable', async () => {
    const name = await sleeping()
    expect((await host.oci(['exec', name, 'sh', '-c', 'exit 7'])).exitCode).toBe(7)
    expect((await host.oci(['exec', name, 'sh', '-c', 'kill -9 $$'])).exitCode).toBe(137)
    const missing = await host.oci(['exec', name, 'absent'])
    expect([missing.exitCode, missing.stderr]).toEqual([
      255,
      expect.stringContaining('executable file not found in $PATH'),
    ])
    const nowhere = await host.oci(['exec', name, '/absent'])
    expect([nowhere.exitCode, nowhere.stderr]).toEqual([255, expect.stringContaining('no such file or directory')])
    const plain = await host.oci(['exec', '--detach', name, '/bin/not-executable'])
    expect([plain.exitCode, plain.stderr]).toEqual([255, expect.stringContaining('permission denied')])
    const { exitCode, stderr } = await host.oci(['exec', '--cwd', '/absent', name, 'true'])
    expect([exitCode, stderr]).toEqual([255, expect.stringContaining('no such file or directory')])
  })

  it('copies its standard streams, and takes user, groups, environment and home of who it is told', async () => {
    const name = await sleeping()
    expect((await host.oci(['exec', name, 'cat'], { input: 'through\n' })).stdout).toBe('through\n')
    const who = await host.ok([
      'exec',
      '-u',
      '1000:1000',
      '-g',
      '29',
      '-e',
      'GIVEN=yes',
      '--cwd',
      '/tmp',
      name,
      'sh',
      '-c',
      'id; echo $HOME $GIVEN $PWD',
    ])
    expect(who).toBe('uid=1000(alice) gid=1000(alice) groups=29(audio),1000(alice)\n/home/alice yes /tmp\n')
    const caps = await host.ok(['exec', '--cap', 'CAP_NET_RAW', name, 'grep', 'CapEff', '/proc/self/status'])
    expect((BigInt(`0x${caps.split('\t')[1]?.trim()}`) >> 13n) & 1n).toBe(1n)
    for (const wrong of ['alice', '1000:', '-1', '1000:x', '99999999999']) {
      const { exitCode, stderr } = await host.oci(['exec', `--user=${wrong}`, name, 'id'])
      expect([exitCode, stderr]).toEqual([255, expect.stringContaining('--user')])
    }
  })

  it('takes a whole process from a file, as containerd and conmon give it', async () => {
    const name = await sleeping()
    const file = join(host.place.directory, 'process.json')
    fs.writeFileSync(
      file,
      JSON.stringify({
        user: { uid: 1000, gid: 1000 },
        args: ['sh', '-c', 'id -u; pwd; echo $A'],
        env: ['PATH=/bin', 'A=b'],
        cwd: '/tmp',
      }),
    )
    expect(await host.ok(['exec', '--process', file, name])).toBe('1000\n/tmp\nb\n')
    fs.writeFileSync(file, JSON.stringify({ user: { uid: 0, gid: 0 }, args: 'sh', cwd: '/' }))
    const { exitCode, stderr } = await host.oci(['exec', '--process', file, name])
    expect([exitCode, stderr]).toEqual([255, expect.stringContaining('process: args: ')])
  })

  it('works where the container divides its cgroup: with its first process then', async () => {
    const name = await sleeping()
    const own = cgroupOf(name)
    fs.mkdirSync(join(own, 'inner'))
    fs.writeFileSync(join(own, 'inner/cgroup.procs'), String(await pidOf(name)))
    fs.writeFileSync(join(own, 'cgroup.subtree_control'), '+hugetlb')
    expect(await host.ok(['exec', name, 'sh', '-c', 'echo in'])).toBe('in\n')
    fs.mkdirSync(join(own, 'chosen'))
    const chosen = await host.ok(['exec', '--cgroup', 'chosen', name, 'grep', '^0::', '/proc/self/cgroup'])
    expect(chosen).toBe('0::/chosen\n')
  })

  it('is refused in a stopped or paused container, unless told to wait for the next resume', async () => {
    const name = await sleeping()
    await host.ok(['pause', name])
    const paused = await host.oci(['exec', name, 'true'])
    expect([paused.exitCode, paused.stderr]).toEqual([
      255,
      expect.stringContaining('cannot exec in a paused container'),
    ])
    const waiting = host.oci(['exec', '--ignore-paused', name, 'echo', 'thawed'])
    await until(
      () =>
        fs
          .readFileSync(join(cgroupOf(name), 'cgroup.procs'), 'latin1')
          .trim()
          .split('\n').length === 2,
    )
    await host.ok(['resume', name])
    expect((await waiting).stdout).toBe('thawed\n')
    await host.ok(['kill', name, 'KILL'])
    await until(() => fs.readFileSync(join(cgroupOf(name), 'cgroup.procs'), 'latin1') === '')
    const stopped = await host.oci(['exec', name, 'true'])
    expect([stopped.exitCode, stopped.stderr]).toEqual([
      255,
      expect.stringContaining('cannot exec in a stopped container'),
    ])
  })

  it('hands exactly the descriptors on that it is told to', async () => {
    const name = await sleeping()
    const script = '"$@" 3</etc/hostname 4</etc/passwd 5</etc/group'
    const list = await host.place.run([
      'sh',
      '-c',
      script,
      'sh',
      ...runtime(),
      'exec',
      '--preserve-fds',
      '2',
      name,
      'sh',
      '-c',
      'for n in 3 4 5; do readlink /proc/$$/fd/$n; done; echo $?',
    ])
    expect(list.stdout).toBe('/etc/hostname\n/etc/passwd\n1\n')
    const none = await host.place.run([
      'sh',
      '-c',
      script,
      'sh',
      ...runtime(),
      'exec',
      name,
      'sh',
      '-c',
      'readlink /proc/$$/fd/3; echo $?',
    ])
    expect(none.stdout).toBe('1\n')
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
    await host.ok(['kill', name, 'KILL'])
    await until(() => fs.readFileSync(join(cgroupOf(name), 'cgroup.procs'), 'latin1') === '')
    const { exitCode, stderr } = await host.oci(['events', '--stats', name])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('is not running')])
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
