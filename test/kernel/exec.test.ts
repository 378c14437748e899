import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cgroupsOf, expectNothingLeft, expectOneLine, isAlive, useMachine, TSCRUN, until } from './fixtures/machine.ts'
import { openPty } from './fixtures/pty.ts'

const machine = useMachine()
let id = ''
beforeAll(async () => {
  const flags = ['--name', 'target', '--hostname', 'inside', '-e', 'A=1', '-w', '/bin', '--cap-drop', 'CHOWN']
  const root = ['--rootfs', `${machine.rootfs}:O`]
  const { stdout, stderr } = await machine.tscrun(['run', '-d', ...flags, ...root, 'sh', '-c', 'exec sleep 10000'])
  if (stderr !== '') throw new Error(stderr)
  id = stdout.trim()
})
afterAll(async () => {
  const { stderr } = await machine.tscrun(['rm', '-f', 'target'])
  if (stderr !== '') throw new Error(stderr)
  expectNothingLeft(machine)
})

async function exec(flags: readonly string[], ...command: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(['exec', ...flags, 'target', ...command])
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  return stdout
}

const firstPid = (): number =>
  (JSON.parse(readFileSync(join(machine.runRoot, id, 'state.json'), 'utf8')) as { pid: number }).pid

describe('a command in a running container', () => {
  it('is in all of its namespaces, its root and its cgroup', async () => {
    const links = ['mnt', 'pid', 'net', 'ipc', 'uts', 'user', 'cgroup']
    const list = links.map((name) => `/proc/self/ns/${name} /proc/1/ns/${name}`).join(' ')
    const pairs = (await exec([], 'sh', '-c', `for f in ${list}; do readlink $f; done; hostname`)).trim().split('\n')
    expect(pairs.pop()).toBe('inside')
    for (let at = 0; at < pairs.length; at += 2) expect(pairs[at]).toBe(pairs[at + 1])
    const child = machine.tscrun(['exec', 'target', 'sleep', '7777'])
    const [cgroup = ''] = cgroupsOf(id)
    const procs = (): string[] => readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n')
    const other = await until(() => procs().find((pid) => Number(pid) !== firstPid()))
    // Before its exec the end is another one.
    await until(() => readFileSync(`/proc/${other}/cmdline`, 'latin1').startsWith('sleep'))
    process.kill(Number(other), 'SIGKILL')
    expect((await child).exitCode).toBe(137)
  })

  it('is confined as the first process is', async () => {
    const ours = await exec([], 'sh', '-c', 'grep -E "^(Cap|Seccomp:|NoNew)" /proc/self/status')
    const first = await exec([], 'sh', '-c', 'grep -E "^(Cap|Seccomp:|NoNew)" /proc/1/status')
    expect(ours).toBe(first)
    expect(ours).toMatch(/Seccomp:\s+2/)
    // Its input is at its end; no descriptor but three (ls has one more).
    expect(await exec([], 'sh', '-c', 'ls /proc/self/fd | wc -l; cat')).toMatch(/^\s*4\n$/)
  })

  it("has the container's environment and directory, and what is asked for", async () => {
    expect(await exec(['-e', 'B=2', '-e', 'A=3'], 'sh', '-c', 'echo $A $B; pwd')).toBe('3 2\n/bin\n')
    expect(await exec(['-w', '/etc'], 'pwd')).toBe('/etc\n')
  })

  it('runs as another user, who has no capabilities', async () => {
    expect(await exec(['-u', '7:8'], 'sh', '-c', 'id -u; id -g; grep CapEff /proc/self/status')).toBe(
      '7\n8\nCapEff:\t0000000000000000\n',
    )
  })

  it('has the home of that user, unless somebody chose another', async () => {
    const home = (...flags: string[]): Promise<string> => exec(flags, 'sh', '-c', 'echo $HOME')
    expect(await home()).toBe('/root\n')
    expect(await home('-u', 'root')).toBe('/root\n')
    expect(await home('-u', 'alice')).toBe('/home/alice\n')
    expect(await home('-u', '12345')).toBe('/\n')
    expect(await home('-u', 'alice', '-e', 'HOME=/tmp')).toBe('/tmp\n')
  })

  it.each(['stdout', 'stderr'])('is told of where the %s of the caller takes no more, and why', async (stream) => {
    const [said, full] = stream === 'stdout' ? ['echo lost', '>/dev/full'] : ['echo lost >&2', '2>/dev/full']
    const command = `${TSCRUN} --root ${machine.store} --runroot ${machine.runRoot} exec target sh -c '${said}' ${full}`
    const { exitCode, stdout, stderr } = await execa('sh', ['-c', command], { reject: false })
    const message = 'tscrun: write standard output: ENOSPC (free some space where it is written to)'
    // A full standard error cannot tell; the exit code does.
    expect({ exitCode, stdout, stderr }).toEqual({
      exitCode: 125,
      stdout: '',
      stderr: stream === 'stdout' ? message : '',
    })
  })

  it('has every capability of its user namespace and no filter with --privileged', async () => {
    const text = await exec(
      ['--privileged'],
      'sh',
      '-c',
      'grep -E "CapEff|Seccomp:" /proc/self/status; readlink /proc/self/ns/user',
    )
    expect(text).toMatch(/CapEff:\t0*1ffffffffff\nSeccomp:\t0\n/)
    expect(text).not.toContain(readlinkSync('/proc/self/ns/user'))
  })

  it('gets input, gives both outputs and its exit code', async () => {
    const child = machine.tscrun(['exec', '-i', 'target', 'sh', '-c', 'cat; echo e >&2; exit 3'], {
      stdin: 'pipe',
      input: 'in\n',
    })
    const { exitCode, stdout, stderr } = await child
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 3, stdout: 'in\n', stderr: 'e\n' })
  })

  it("has a terminal of the container's own with -t", async () => {
    const pty = openPty(
      [
        TSCRUN,
        '--root',
        machine.store,
        '--runroot',
        machine.runRoot,
        'exec',
        '-it',
        'target',
        'sh',
        '-c',
        'tty; stty size; read x; exit 6',
      ],
      {
        rows: 22,
        columns: 66,
      },
    )
    try {
      await until(() => pty.output().includes('22 66'))
      expect(pty.output()).toMatch(/\/dev\/pts\/\d+/)
      pty.type('\n')
      expect(await pty.ended).toBe(6)
    } finally {
      pty.close()
    }
  })

  it('goes on by itself with -d', async () => {
    await exec(['-d'], 'sleep', '8888')
    const [cgroup = ''] = cgroupsOf(id)
    const pids = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number)
    const other = pids.find((pid) => pid !== firstPid()) ?? 0
    expect(readFileSync(`/proc/${other}/cmdline`, 'latin1')).toBe('sleep\u00008888\u0000')
    process.kill(other, 'SIGKILL')
    await until(() => !isAlive(other))
  })

  it.each([
    [['target', 'nosuch'], 127, /^tscrun: exec "nosuch": executable file not found in \$PATH/],
    [['target', '/etc/passwd'], 126, /^tscrun: exec "\/etc\/passwd": permission denied/],
    [
      ['-w', '/nosuch', 'target', 'id'],
      125,
      /^tscrun: chdir: enter the working directory \/nosuch: no such file or directory \(ENOENT\) \(it must be a directory/,
    ],
    [['-u', 'nobodyhere', 'target', 'id'], 125, /^tscrun: .*nobodyhere.*no such user/],
    [['nosuch', 'id'], 125, /^tscrun: container nosuch: there is none/],
    [['target'], 125, /^tscrun: exec: the container or the command is missing/],
  ])('%j fails in one line', async (args, code, pattern) => {
    const { exitCode, stderr } = await machine.tscrun(['exec', ...args])
    expect(exitCode).toBe(code)
    expectOneLine(stderr, pattern)
  })

  it('is refused in a frozen container, without hanging', async () => {
    await machine.tscrun(['pause', 'target'])
    const { exitCode, stderr } = await machine.tscrun(['exec', 'target', 'id'])
    await machine.tscrun(['unpause', 'target'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: exec target: the container is paused/)
  })
})
