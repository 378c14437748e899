import { readFileSync, readlinkSync } from 'node:fs'
import { spawn, type ChildProcess } from 'node:child_process'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { filesystemOf } from '../../src/overlayfs/support.ts'
import { expectNothingLeft, expectOneLine, useMachine, pidOf, until } from './fixtures/machine.ts'

const TYPES = ['mnt', 'pid', 'net', 'ipc', 'uts', 'user', 'cgroup'] as const
type Type = (typeof TYPES)[number]
const LIST = `for n in ${TYPES.join(' ')}; do readlink /proc/self/ns/$n; done`

const machine = useMachine()
afterEach(() => expectNothingLeft(machine))

const ofHost = (): Record<Type, string> => byType(TYPES.map((type) => readlinkSync(`/proc/self/ns/${type}`)))
const byType = (links: readonly string[]): Record<Type, string> =>
  Object.fromEntries(TYPES.map((type, index) => [type, links[index] ?? ''])) as Record<Type, string>

async function inside(flags: readonly string[]): Promise<Record<Type, string>> {
  return byType((await machine.sh(LIST, flags)).split('\n'))
}

/** The types that are the host's. */
async function shared(flags: readonly string[]): Promise<Type[]> {
  const [ours, theirs] = [ofHost(), await inside(flags)]
  return TYPES.filter((type) => ours[type] === theirs[type])
}

/** Becomes the parent of a `sleep` in a user namespace of its own. Arguments: how many ids it has, how long it sleeps. */
const USER_NAMESPACE = `
import ctypes, os, sys
made, mapped = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).unshare(0x10000000)
    os.write(made[1], b'x')
    os.read(mapped[0], 1)
    os.execvp('sleep', ['sleep', sys.argv[2]])
os.read(made[0], 1)
for name in ('uid_map', 'gid_map'):
    with open(f'/proc/{pid}/{name}', 'w') as file:
        file.write('0 1900000000 ' + sys.argv[1])
os.write(mapped[1], b'x')
os.waitpid(pid, 0)
`

describe('a container has namespaces of its own', () => {
  it('of seven kinds', async () => {
    expect(await shared([])).toEqual([])
  })

  it('in which it is process 1 and sees no other', async () => {
    expect(await machine.sh('echo $$ /proc/[0-9]*')).toBe('1 /proc/1')
  })

  it('whose network has a loopback that is up, and nothing else', async () => {
    const text = await machine.sh(
      'ls /sys/class/net; cat /sys/class/net/lo/flags; ping -c1 -W1 127.0.0.1 | grep -c "1 packets received"',
    )
    expect(text).toBe('lo\n0x9\n1')
  })

  it("whose host name is its own and leaves the host's alone", async () => {
    const before = readFileSync('/proc/sys/kernel/hostname', 'utf8')
    expect(await machine.sh('hostname other; hostname', ['--cap-add', 'sys_admin', '--hostname', 'mine'])).toBe('other')
    expect(readFileSync('/proc/sys/kernel/hostname', 'utf8')).toBe(before)
  })

  it('whose cgroup is the root of what it sees', async () => {
    expect(await machine.sh('grep ^0:: /proc/self/cgroup')).toBe('0::/')
  })

  it('but no time namespace unless asked for', async () => {
    expect(await machine.sh('readlink /proc/self/ns/time')).toBe(readlinkSync('/proc/self/ns/time'))
  })
})

describe('a user namespace of its own', () => {
  it("is a range of 65536 ids that are not the host's, with the store on a disk", async () => {
    expect(filesystemOf(machine.directory)).toBe('ext4')
    const maps = await machine.sh('cat /proc/self/uid_map /proc/self/gid_map')
    const [uid = [], gid] = maps.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
    expect(uid).toEqual(gid)
    expect([uid[0], uid[2]]).toEqual([0, 65536])
    expect(uid[1]).toBeGreaterThan(65536)
  })

  it("makes its root nobody on the host: the kernel runs the process as the range's first id", async () => {
    const subprocess = machine.run([], ['sh', '-c', 'cat /proc/self/uid_map; exec sleep 1000'])
    const pid = await until(() => pidOf('sleep 1000'))
    const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    process.kill(pid, 'SIGKILL')
    const { stdout } = await subprocess
    expect(stdout.trim().split(/\s+/)[1]).toBe(uid)
    expect(Number(uid)).toBeGreaterThan(65536)
  })

  it('shows the files of the image with the owners that they have in the image', async () => {
    expect(await machine.sh('stat -c "%u %g" /bin/busybox /etc/owned-by-alice /home/alice /tmp /')).toBe(
      '0 0\n1000 1000\n1000 1000\n0 0\n0 0',
    )
  })

  it('is never shared by two containers at once', async () => {
    const running = Array.from({ length: 4 }, () =>
      machine.run(['-i'], ['sh', '-c', 'cat /proc/self/uid_map; read line'], { stdin: 'pipe', buffer: true }),
    )
    const firsts = running.map(
      (subprocess) =>
        new Promise<string>((resolve) =>
          subprocess.stdout?.once('data', (chunk: Buffer) => resolve(String(chunk).trim().split(/\s+/)[1] ?? '')),
        ),
    )
    const ranges = await Promise.all(firsts)
    expect(new Set(ranges).size).toBe(running.length)
    for (const range of ranges)
      for (const other of ranges)
        if (range !== other) expect(Math.abs(Number(range) - Number(other))).toBeGreaterThanOrEqual(65536)
    for (const subprocess of running) subprocess.stdin?.end('\n')
    for (const subprocess of running) expect((await subprocess).exitCode).toBe(0)
  })

  it('has a complete procfs, sysfs and cgroupfs although it is no real root', async () => {
    const types = await machine.sh(
      'for d in /proc /sys /sys/fs/cgroup /dev /dev/pts /dev/shm /dev/mqueue; do grep " $d " /proc/mounts | cut -d" " -f3 | tail -1; done',
    )
    expect(types.split('\n')).toEqual(['proc', 'sysfs', 'cgroup2', 'tmpfs', 'devpts', 'tmpfs', 'mqueue'])
  })
})

describe('each namespace can be shared with the host', () => {
  it.each<[Type, readonly string[]]>([
    ['pid', ['--pid', 'host']],
    ['net', ['--network', 'host']],
    ['ipc', ['--ipc', 'host']],
    ['uts', ['--uts', 'host']],
    ['cgroup', ['--cgroupns', 'host']],
    ['user', ['--userns', 'host']],
  ])('%s alone', async (type, flags) => {
    expect(await shared(flags)).toEqual([type])
  })

  it('all at once', async () => {
    const flags = [
      '--pid',
      'host',
      '--network',
      'host',
      '--ipc',
      'host',
      '--uts',
      'host',
      '--cgroupns',
      'host',
      '--userns',
      'host',
    ]
    expect(await shared(flags)).toEqual(['pid', 'net', 'ipc', 'uts', 'user', 'cgroup'])
  })

  it('pid, ipc and network with a user namespace of its own', async () => {
    expect(await shared(['--pid', 'host', '--network', 'host', '--ipc', 'host'])).toEqual(['pid', 'net', 'ipc'])
  })

  it('and made private by name', async () => {
    expect(
      await shared([
        '--pid',
        'private',
        '--ipc',
        'private',
        '--uts',
        'private',
        '--cgroupns',
        'private',
        '--userns',
        'auto',
        '--network',
        'none',
      ]),
    ).toEqual([])
  })

  it('--pid host shows the processes of the host', async () => {
    expect(
      await machine.sh(`tr "\\0" " " < /proc/${process.pid}/cmdline`, ['--pid', 'host', '--userns', 'host']),
    ).not.toBe('')
    expect(Number(await machine.sh('echo $$', ['--pid', 'host']))).toBeGreaterThan(1)
  })

  it('--network host shows the interfaces of the host, also in a user namespace of its own', async () => {
    const interfaces = readFileSync('/proc/self/net/dev', 'utf8')
      .match(/^ *[^:\s]+(?=:)/gm)
      ?.map((name) => name.trim())
      .toSorted()
    const seen = await machine.sh('ls /sys/class/net', ['--network', 'host'])
    expect(seen.split('\n').toSorted()).toEqual(interfaces)
  })

  it("--uts host keeps the host's name", async () => {
    expect(await machine.sh('hostname; cat /etc/hostname', ['--uts', 'host'])).toBe(`${hostname()}\n${hostname()}`)
  })
})

describe('ns:PATH joins one that exists', () => {
  let holder: ChildProcess
  let links: Record<Type, string>
  beforeAll(async () => {
    const script = 'hostname joined; ip link set lo up; echo ready; exec sleep 1000'
    holder = spawn('unshare', ['--net', '--ipc', '--uts', '--cgroup', 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await new Promise((resolve) => holder.stdout?.once('data', resolve))
    links = byType(TYPES.map((type) => readlinkSync(`/proc/${holder.pid}/ns/${type}`)))
  })
  afterAll(async () => {
    const ended = new Promise((resolve) => holder.once('exit', resolve))
    holder.kill('SIGKILL')
    await ended
  })

  it.each<[Type, string]>([
    ['net', '--network'],
    ['ipc', '--ipc'],
    ['uts', '--uts'],
    ['cgroup', '--cgroupns'],
  ])('%s', async (type, flag) => {
    const found = await inside([flag, `ns:/proc/${holder.pid}/ns/${type}`])
    expect(found[type]).toBe(links[type])
    expect(TYPES.filter((other) => found[other] === ofHost()[other])).toEqual([])
  })

  it('with its state: the host name of a joined UTS namespace', async () => {
    expect(await machine.sh('hostname', ['--uts', `ns:/proc/${holder.pid}/ns/uts`])).toBe('joined')
  })

  it('pid: the container is no process 1 there and sees whom the other has', async () => {
    const other = execa('unshare', ['--pid', '--fork', '--mount-proc', '--kill-child', 'sleep', '1001'], {
      reject: false,
    })
    const pid = await until(() => pidOf('sleep 1001'))
    const found = (
      await machine.sh('readlink /proc/self/ns/pid; tr "\\0" " " < /proc/1/cmdline; echo; echo $$', [
        '--userns',
        'host',
        '--pid',
        `ns:/proc/${pid}/ns/pid`,
      ])
    ).split('\n')
    expect(found[0]).toBe(readlinkSync(`/proc/${pid}/ns/pid`))
    expect(found[1]).toContain('sleep 1001')
    expect(Number(found[2])).toBeGreaterThan(1)
    other.kill('SIGKILL')
    await other
  })

  it('pid: in a user namespace of its own too, and /proc shows that namespace and no other', async () => {
    const other = execa('unshare', ['--pid', '--fork', '--kill-child', 'sleep', '1004'], { reject: false })
    const pid = await until(() => pidOf('sleep 1004'))
    const ask = 'readlink /proc/self/ns/pid; readlink /proc/self/ns/user; cat /proc/[0-9]*/comm'
    const found = await machine.sh(ask, ['--pid', `ns:/proc/${pid}/ns/pid`, '--userns', 'auto'])
    const [pidNamespace, user, ...names] = found.split('\n')
    expect(pidNamespace).toBe(readlinkSync(`/proc/${pid}/ns/pid`))
    expect(user).not.toBe(ofHost().user)
    expect(names.toSorted()).toEqual(['cat', 'sleep'])
    other.kill('SIGKILL')
    await other
  })

  it("pid and user of one container: /proc shows the container's processes, not the host's", async () => {
    const other = machine.run([], ['sleep', '1005'])
    const pid = await until(() => pidOf('sleep 1005'))
    const joined = ['user', 'pid'].flatMap((type) => [
      type === 'user' ? '--userns' : '--pid',
      `ns:/proc/${pid}/ns/${type}`,
    ])
    const found = await machine.sh('echo /proc/[0-9]*; cat /proc/1/comm; readlink /proc/self/ns/user', joined)
    const [entries = '', first, user] = found.split('\n')
    expect(entries.split(' ').length).toBe(2)
    expect([first, user]).toEqual(['sleep', readlinkSync(`/proc/${pid}/ns/user`)])
    process.kill(pid, 'SIGKILL')
    await other
  })

  it("net: /sys shows the joined network's interfaces, not the host's", async () => {
    expect(await machine.sh('ls /sys/class/net', ['--network', `ns:/proc/${holder.pid}/ns/net`])).toBe('lo')
  })

  it('user: the container is root there, with its ids, and the other namespaces belong to it', async () => {
    const other = execa('python3', ['-c', USER_NAMESPACE, '65536', '1002'], { reject: false })
    const pid = await until(() => pidOf('sleep 1002'))
    try {
      const found = (
        await machine.sh(
          'readlink /proc/self/ns/user; cat /proc/self/uid_map; id -u; touch /made; stat -c %u /made; hostname x; hostname',
          ['--userns', `ns:/proc/${pid}/ns/user`, '--cap-add', 'SYS_ADMIN'],
        )
      ).split('\n')
      expect(found[0]).toBe(readlinkSync(`/proc/${pid}/ns/user`))
      expect(found[1]?.trim().split(/\s+/)).toEqual(['0', '1900000000', '65536'])
      // SYS_ADMIN over a host name means that the uts namespace is owned by the joined user namespace.
      expect(found.slice(2)).toEqual(['0', '0', 'x'])
    } finally {
      process.kill(pid)
      await other
    }
  })

  it('user: one of a single id has terminals and ping, too, which belong to that one', async () => {
    const other = execa('python3', ['-c', USER_NAMESPACE, '1', '1006'], { reject: false })
    const pid = await until(() => pidOf('sleep 1006'))
    try {
      const script = 'cat /proc/self/gid_map /proc/sys/net/ipv4/ping_group_range; stat -c %g /dev/pts/ptmx; id -u'
      const found = await machine.sh(script, ['--userns', `ns:/proc/${pid}/ns/user`, '--user', '0:0'])
      expect(found.trim().split(/\s+/)).toEqual(['0', '1900000000', '1', '0', '0', '0', '0'])
    } finally {
      process.kill(pid)
      await other
    }
  })

  it("user: one in which setgroups is denied would keep the caller's groups, and is refused", async () => {
    const other = execa('unshare', ['--user', '--map-root-user', 'sleep', '1007'], { reject: false })
    const pid = await until(() => pidOf('sleep 1007'))
    try {
      const { exitCode, stderr } = await machine.run(['--userns', `ns:/proc/${pid}/ns/user`], ['true'])
      expect(exitCode).toBe(125)
      expectOneLine(stderr, /^tscrun: --userns ns:.*: setgroups\(2\) is denied in it \(/)
    } finally {
      process.kill(pid)
      await other
    }
  })

  it("user: a path that no process answers for is refused, never run in the host's instead", async () => {
    const { exitCode, stderr } = await machine.run(['--userns', 'ns:/proc/self/task/1/ns/user'], ['true'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: --userns ns:.*only a process in it tells its mappings/)
  })

  it('and refuses a file of another kind, in one line that names it', async () => {
    const path = `/proc/${holder.pid}/ns/uts`
    const { exitCode, stderr } = await machine.run(['--network', `ns:${path}`], ['true'])
    expect(exitCode).toBe(125)
    expect(stderr).toContain(path)
    expect(stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2)
  })

  it('and refuses a path that is not there', async () => {
    const { exitCode, stderr } = await machine.run(['--ipc', 'ns:/proc/1/ns/absent'], ['true'])
    expect(exitCode).toBe(125)
    expect(stderr).toContain('/proc/1/ns/absent')
  })
})

describe('--timens', () => {
  it('makes a time namespace', async () => {
    expect(await machine.sh('readlink /proc/self/ns/time', ['--timens', 'private'])).not.toBe(
      readlinkSync('/proc/self/ns/time'),
    )
  })

  it('moves the clocks by its offsets', async () => {
    const [boot = 0, monotonic = 0] = (await machine.sh('probe clocks')).split(' ').map(Number)
    const [movedBoot = 0, movedMonotonic = 0] = (
      await machine.sh('probe clocks', ['--timens', 'boottime=100000,monotonic=200000'])
    )
      .split(' ')
      .map(Number)
    expect(movedBoot - boot).toBeGreaterThanOrEqual(100_000)
    expect(movedBoot - boot).toBeLessThan(101_000)
    expect(movedMonotonic - monotonic).toBeGreaterThanOrEqual(200_000)
    expect(movedMonotonic - monotonic).toBeLessThan(201_000)
  })
})

describe('the host', () => {
  it('has nothing of a running container in its mount table', async () => {
    const before = readFileSync('/proc/self/mountinfo', 'utf8')
    const subprocess = machine.run(
      ['--tmpfs', '/scratch', '-v', `${machine.directory}:/volume`],
      ['sh', '-c', 'exec sleep 1003'],
    )
    await until(() => pidOf('sleep 1003'))
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(before)
    expect(readFileSync('/proc/1/mountinfo', 'utf8')).not.toContain(machine.directory)
    process.kill(pidOf('sleep 1003') ?? 0, 'SIGKILL')
    expect((await subprocess).exitCode).toBe(137)
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(before)
  })
})

function hostname(): string {
  return readFileSync('/proc/sys/kernel/hostname', 'utf8').trim()
}
