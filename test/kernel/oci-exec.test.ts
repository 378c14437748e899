import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { handDown, NOBODY_DIVIDES } from './fixtures/cgroups.ts'
import { until } from './fixtures/machine.ts'
import { makeOciHost, type OciHost, RUNTIME } from './fixtures/oci.ts'

let host: OciHost
let id: string
let count = 0
beforeAll(async () => {
  host = await makeOciHost()
})
afterAll(() => host.dispose())
afterEach(() => host.clear())

const runtime = (): string[] => [RUNTIME, '--root', host.root]

async function sleeping(): Promise<string> {
  id = `e${count++}`
  await host.start(id, host.bundle())
  return id
}

const pidOf = async (name: string): Promise<number> =>
  (JSON.parse(await host.ok(['state', name])) as { pid: number }).pid
const inProc = (pid: number | 'self', file: string): string => fs.readFileSync(`/proc/${pid}/${file}`, 'utf8')
const cgroupOf = (name: string): string => join(host.place.cgroup, 'tscrun-runtime', name)
const namespaces = (pid: number | 'self'): Record<string, string> =>
  Object.fromEntries(
    ['mnt', 'uts', 'ipc', 'net', 'pid', 'cgroup', 'user'].map((type) => [
      type,
      fs.readlinkSync(`/proc/${pid}/ns/${type}`),
    ]),
  )

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

  it('has the processors of execCPUAffinity, which its container need not have', async () => {
    const name = await sleeping()
    const allowed = (of: number | 'self'): string =>
      /^Cpus_allowed_list:\s*(.*)$/m.exec(inProc(of, 'status'))?.[1] ?? ''
    const last = allowed('self').split(/[,-]/).at(-1) ?? ''
    const file = join(host.place.directory, 'affinity.json')
    const process = { user: { uid: 0, gid: 0 }, args: ['grep', 'Cpus_allowed_list', '/proc/self/status'], cwd: '/' }
    fs.writeFileSync(file, JSON.stringify({ ...process, execCPUAffinity: { initial: '0', final: last } }))
    expect(await host.ok(['exec', '--process', file, name])).toBe(`Cpus_allowed_list:\t${last}\n`)
    expect(allowed(await pidOf(name))).toBe(allowed('self'))
    fs.writeFileSync(file, JSON.stringify({ ...process, execCPUAffinity: { final: '4095' } }))
    const { exitCode, stderr } = await host.oci(['exec', '--process', file, name])
    expect([exitCode, stderr]).toEqual([255, expect.stringContaining('sched_setaffinity')])
  })

  it('joins what belongs to another user namespace, too, before and after start, and is root in its own', async () => {
    const net = '/run/netns-of-others'
    await host.place.run(['sh', '-c', `: >${net} && unshare --net=${net} true`])
    const mapping = [{ containerID: 0, hostID: 0x70000000, size: 65536 }]
    const bundle = host.bundle((config) => ({
      ...config,
      linux: {
        ...config.linux,
        namespaces: [
          ...(config.linux?.namespaces ?? []).filter(({ type }) => type !== 'network'),
          { type: 'network', path: net },
          { type: 'user' },
        ],
        uidMappings: mapping,
        gidMappings: mapping,
      },
    }))
    const create = ['create', '--bundle', bundle, 'owned']
    await host.place.run(['sh', '-c', '"$@" >/dev/null 2>&1', 'sh', ...runtime(), ...create])
    const look = ['exec', 'owned', 'sh', '-c', 'id -u; cat /proc/self/uid_map; readlink /proc/self/ns/net']
    const before = await host.ok(look)
    await host.ok(['start', 'owned'])
    const { net: joined } = namespaces(await pidOf('owned'))
    expect([before, await host.ok(look)]).toEqual(Array(2).fill(`0\n         0 1879048192      65536\n${joined}\n`))
    expect(joined).not.toBe(namespaces('self')['net'])
    // Its own pipe can be opened again by its name, as nginx does with /dev/stdout.
    const again = ['exec', '-u', '1000', 'owned', 'sh', '-c', 'echo again >/dev/stdout']
    expect((await host.place.run(['sh', '-c', '"$@" | cat', 'sh', ...runtime(), ...again])).stdout).toBe('again\n')
    await host.ok(['delete', '-f', 'owned'])
    await host.place.run(['umount', net])
  })

  it('works where the container divides its cgroup: with its first process then', async ({ skip }) => {
    const name = await sleeping()
    const own = cgroupOf(name)
    const controller = handDown(own) ?? skip(NOBODY_DIVIDES)
    fs.mkdirSync(join(own, 'inner'))
    fs.writeFileSync(join(own, 'inner/cgroup.procs'), String(await pidOf(name)))
    fs.writeFileSync(join(own, 'cgroup.subtree_control'), `+${controller}`)
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
