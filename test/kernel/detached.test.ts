import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { nativeFile } from '../../src/syscall/ffi.ts'
import { backgroundOf } from './fixtures/detached.ts'
import {
  cgroupsOf,
  expectNothingLeft,
  expectOneLine,
  isAlive,
  useMachine,
  pidOf,
  processesWith,
  TSCRUN,
  until,
} from './fixtures/machine.ts'
import { openPty } from './fixtures/pty.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

let count = 0
/** `run -d`; answers id and name. */
async function detach(
  script: string,
  flags: readonly string[] = [],
): Promise<{ readonly id: string; readonly name: string }> {
  const name = `detached${count++}`
  const command = ['run', '-d', '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script]
  const { exitCode, stdout, stderr } = await machine.tscrun(command)
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  expect(stdout).toMatch(/^[0-9a-f]{64}\n$/)
  return { id: stdout.trim(), name }
}

const { out } = backgroundOf(() => machine)

const inspected = async (name: string, template: string): Promise<string> =>
  (await out('inspect', '-f', template, name)).trim()
const pidIn = async (name: string): Promise<number> => Number(await inspected(name, '{{.State.Pid}}'))

describe('a detached container', () => {
  it('goes on without any Node process, in a session and a cgroup apart from the caller', async () => {
    const { id, name } = await detach('exec sleep 1000')
    const pid = await pidIn(name)
    const monitor = pidOf(`tscrun: ${name}`) ?? 0
    expect(statSync(`/proc/${monitor}/exe`).ino).toBe(statSync(nativeFile('stage')).ino)
    expect(processesWith(id)).toEqual([])
    // Its own session leader; nobody above it but init or a subreaper.
    const stat = readFileSync(`/proc/${monitor}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    expect(Number(stat[3])).toBe(monitor)
    const unified = (of: number): string => /^0::(.*)$/m.exec(readFileSync(`/proc/${of}/cgroup`, 'utf8'))?.[1] ?? ''
    expect(unified(monitor)).toMatch(/tscrun\/monitors$/)
    expect(unified(pid)).toMatch(new RegExp(`${id}$`))
    expect(isAlive(pid)).toBe(true)
  })

  it('is listed, waited for and remembered with its exit code', async () => {
    const { name } = await detach('sleep 2; exit 7')
    expect(await out('ps', '--format', '{{.Names}} {{.State}}')).toBe(`${name} running\n`)
    expect(await out('wait', name)).toBe('7\n')
    expect(await out('wait', name)).toBe('7\n')
    expect(await out('ps', '-a', '--format', '{{.Names}} {{.State}} {{.Status}}')).toMatch(/exited Exited \(7\)/)
    expect(await inspected(name, '{{.State.ExitCode}} {{.State.Running}} {{.State.Pid}}')).toBe('7 false 0')
  })

  it('is removed at its end with --rm, with no Node alive', async () => {
    const { id, name } = await detach('mkdir -p /a/b/c; echo x >/a/b/c/file; sleep 0.2', ['--rm'])
    await until(() => pidOf(`tscrun: ${name}`) === undefined)
    expectNothingLeft(machine)
    expect(cgroupsOf(id)).toEqual([])
  })

  it('with --rm takes a tree along that is deeper than any path', async () => {
    const { name } = await detach(
      'i=0; while [ $i -lt 600 ]; do mkdir deepdirectory; cd deepdirectory; i=$((i+1)); done',
      ['--rm', '-w', '/tmp'],
    )
    await until(() => pidOf(`tscrun: ${name}`) === undefined)
    expectNothingLeft(machine)
  })

  it('is ended with its whole cgroup where its monitor is killed, and its record put right', async () => {
    const { id, name } = await detach('sleep 1000 & exec sleep 1000')
    const pid = await pidIn(name)
    process.kill(pidOf(`tscrun: ${name}`) ?? 0, 'SIGKILL')
    await until(() => !isAlive(pid))
    expect(await out('ps', '-a', '--format', '{{.State}} {{.Status}}')).toMatch(/^exited Exited \(137\)/)
    expect(cgroupsOf(id)).toEqual([])
  })

  it('could not be started: one line, nothing left', async () => {
    const failed = await machine.tscrun(['run', '-d', '--rootfs', `${machine.rootfs}:O`, '/nosuch'])
    expect(failed.exitCode).toBe(127)
    expectOneLine(failed.stderr, /^tscrun: exec "\/nosuch": no such file or directory/)
    expectNothingLeft(machine)
  })
})

describe('stop, kill and start', () => {
  it('ends a container by its stop signal', async () => {
    const { name } = await detach('trap "exit 5" USR1; while :; do sleep 0.05; done', ['--stop-signal', 'SIGUSR1'])
    expect(await out('stop', name)).toBe(`${name}\n`)
    expect(await inspected(name, '{{.State.ExitCode}}')).toBe('5')
    expect(await out('stop', name)).toBe(`${name}\n`)
  })

  it('kills one that does not end in time', async () => {
    const { name } = await detach('trap "" TERM; while :; do sleep 0.05; done')
    await out('stop', '-t', '1', name)
    expect(await inspected(name, '{{.State.ExitCode}}')).toBe('137')
  })

  it('sends any signal', async () => {
    const { name } = await detach('trap "echo got it" HUP; while :; do sleep 0.05; done')
    await out('kill', '-s', 'HUP', name)
    await until(() => readdirSync(join(machine.store, 'containers')).length > 0)
    for (let found = false; !found; ) found = (await out('logs', name)).includes('got it')
    await out('kill', name)
    expect(await out('wait', name)).toBe('137\n')
    const again = await machine.tscrun(['kill', name])
    expect(again.exitCode).toBe(125)
    expectOneLine(again.stderr, /^tscrun: kill detached\d+: it is stopped \(`tscrun start` starts it again\)/)
  })

  it('starts one again with the same ids and log', async () => {
    const { name } = await detach('echo life >>/lives; cat /lives | wc -l; cat /proc/self/uid_map; id -u')
    await out('wait', name)
    const first = (await out('logs', name)).split('\n')
    expect(await out('start', name)).toBe(`${name}\n`)
    await out('wait', name)
    const both = (await out('logs', name)).split('\n')
    expect(both.slice(0, 3)).toEqual(first.slice(0, 3))
    // A throw-away view begins anew; what an image's container has written stays (test/clients).
    expect(both[3]?.trim()).toBe('1')
    expect(both.slice(4, 6)).toEqual(first.slice(1, 3))
  })

  it('starts one again that ran in the foreground', async () => {
    const name = `foreground${count++}`
    await machine.tscrun(['run', '--name', name, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', 'echo again'])
    expect(await out('start', '-a', name)).toBe('again\n')
  })

  it('refuses to start one that runs', async () => {
    const { name } = await detach('exec sleep 1000')
    const { exitCode, stderr } = await machine.tscrun(['start', name])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: start detached\d+: it is running/)
  })

  it('freezes and thaws', async () => {
    const { id, name } = await detach('while :; do sleep 0.05; done')
    await out('pause', name)
    const [cgroup = ''] = cgroupsOf(id)
    expect(readFileSync(join(cgroup, 'cgroup.events'), 'utf8')).toContain('frozen 1')
    expect(await out('ps', '--format', '{{.State}}')).toBe('paused\n')
    await out('unpause', name)
    expect(readFileSync(join(cgroup, 'cgroup.events'), 'utf8')).toContain('frozen 0')
    await out('pause', name)
    await out('stop', '-t', '1', name)
    expect(await inspected(name, '{{.State.Running}}')).toBe('false')
  })
})

describe('--restart', () => {
  it('starts a failing container as often as asked for, in a new pid namespace and cgroup each time', async () => {
    const { id, name } = await detach('readlink /proc/self/ns/pid; exit 3', ['--restart', 'on-failure:2'])
    await until(() => pidOf(`tscrun: ${name}`) === undefined)
    const lives = (await out('logs', name)).trim().split('\n')
    expect(lives).toHaveLength(3)
    expect(await inspected(name, '{{.State.ExitCode}}')).toBe('3')
    expect(cgroupsOf(id)).toEqual([])
  })

  it('does not start again what a person stopped, or what succeeded', async () => {
    const { name } = await detach('echo up; while :; do sleep 0.05; done', ['--restart', 'always'])
    await out('stop', '-t', '1', name)
    expect(pidOf(`tscrun: ${name}`)).toBeUndefined()
    const other = await detach('exit 0', ['--restart', 'on-failure'])
    await until(() => pidOf(`tscrun: ${other.name}`) === undefined)
    expect(await inspected(other.name, '{{.State.ExitCode}}')).toBe('0')
  })

  it('goes on after a crash until it is removed, leaking nothing in its monitor', async () => {
    const { name } = await detach('exec sleep 1000', ['--restart', 'unless-stopped'])
    const monitor = pidOf(`tscrun: ${name}`) ?? 0
    const fds = (): number => readdirSync(`/proc/${monitor}/fd`).length
    const nextLife = (last: number): Promise<number> =>
      until(() => {
        const file = join(machine.runRoot, readdirSync(machine.runRoot)[0] ?? '', 'state.json')
        const pid = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { pid: number }).pid : last
        return pid !== last && pid
      })
    const first = await pidIn(name)
    process.kill(first, 'SIGKILL')
    const second = await nextLife(first)
    const before = fds()
    process.kill(second, 'SIGKILL')
    const third = await nextLife(second)
    expect(isAlive(third)).toBe(true)
    expect(fds()).toBe(before)
    await out('rm', '-f', name)
    expect(isAlive(third)).toBe(false)
  })
})

describe('a container that waits for its restart', () => {
  it('is restarting, for ps, inspect and exec, and stop ends that', async () => {
    const { id, name } = await detach('exit 3', ['--restart', 'always'])
    const state = (): Promise<string> =>
      inspected(name, '{{.State.Status}} {{.State.Restarting}} {{.State.ExitCode}} {{.State.Pid}}')
    while ((await state()) !== 'restarting true 3 0');
    // The pauses double: a few lives on, one is longer than these questions.
    await until(() => {
      const exit = join(machine.store, 'containers', id, 'exit.json')
      return (JSON.parse(readFileSync(exit, 'utf8')) as { restarts: number }).restarts >= 4
    })
    expect(await out('ps', '--filter', 'status=restarting', '--format', '{{.Names}} {{.Status}}')).toMatch(
      new RegExp(`^${name} Restarting \\(3\\) `),
    )
    expectOneLine((await machine.tscrun(['exec', name, 'true'])).stderr, /the container is restarting/)
    await out('stop', name)
    expect(await state()).toBe('exited false 3 0')
  })
})

describe('logs', () => {
  it('keep both streams apart and whole, also long lines and lines without an end', async () => {
    const { name } = await detach('echo out; echo err >&2; head -c 40000 /dev/zero | tr "\\0" x; echo; printf tail')
    await out('wait', name)
    const { stdout, stderr } = await machine.tscrun(['logs', name])
    expect(stderr).toBe('err\n')
    expect(stdout).toBe(`out\n${'x'.repeat(40_000)}\ntail`)
    expect((await machine.tscrun(['logs', '--tail', '1', name])).stdout).toBe('tail')
    expect((await machine.tscrun(['logs', '-t', '--tail', '4', name])).stderr).toMatch(/^\d{4}-\d\d-\d\dT\S+Z err\n$/)
  })

  it.each(['k8s-file', 'json-file'])('of %s are followed over rotations to the end', async (driver) => {
    const script = 'i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.1; done'
    const { id, name } = await detach(script, [
      '--log-driver',
      driver,
      '--log-opt',
      'max-size=64k',
      '--log-opt',
      'max-file=4',
    ])
    expect(await out('logs', '-f', name)).toBe(Array.from({ length: 2000 }, (_, i) => `line ${i}\n`).join(''))
    expect(readdirSync(join(machine.store, 'containers', id))).toContain('log.1')
  })

  it('in JSON hold any byte', async () => {
    const { id, name } = await detach("printf 'a\"\\\\b\\377\\t\\303\\251\\n'", ['--log-driver', 'json-file'])
    await out('wait', name)
    const line = readFileSync(join(machine.store, 'containers', id, 'log'), 'utf8')
    expect(JSON.parse(line)).toMatchObject({ log: 'a"\\b\uFFFD\té\n', stream: 'stdout' })
  })

  it('are not kept with --log-driver none', async () => {
    const { id, name } = await detach('echo x', ['--log-driver', 'none'])
    await out('wait', name)
    expect(existsSync(join(machine.store, 'containers', id, 'log'))).toBe(false)
    const { exitCode, stderr } = await machine.tscrun(['logs', name])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: logs detached\d+: no log of it is kept/)
  })
})

describe('attach', () => {
  it('hands input in and output out, and ends with the exit code', async () => {
    const { name } = await detach('read line; echo "got $line"; exit 9', ['-i'])
    const attached = machine.tscrun(['attach', name], { stdin: 'pipe' })
    attached.stdin?.write('hello\n')
    const { exitCode, stdout } = await attached
    expect({ exitCode, stdout }).toEqual({ exitCode: 9, stdout: 'got hello\n' })
    expect(await out('logs', name)).toBe('got hello\n')
  })

  it("closes the container's input behind the last byte", async () => {
    const { name } = await detach('cat | wc -c', ['-i'])
    const { exitCode, stdout } = await machine.tscrun(['attach', name], { stdin: 'pipe', input: 'x'.repeat(100_000) })
    expect({ exitCode, stdout: stdout.trim() }).toEqual({ exitCode: 0, stdout: '100000' })
  })

  it('serves several at once', async () => {
    const { name } = await detach('read go; i=0; while [ $i -lt 5 ]; do echo $i; i=$((i+1)); done', ['-i'])
    const monitor = pidOf(`tscrun: ${name}`) ?? 0
    const fds = (): number => readdirSync(`/proc/${monitor}/fd`).length
    const before = fds()
    const watchers = [1, 2, 3].map(() => machine.tscrun(['attach', '--no-stdin', name]))
    // Each has a connection, and hands two descriptors over, both at once; the starter's own may have been there before.
    await until(() => fds() >= before + 8)
    await machine.tscrun(['attach', name], { stdin: 'pipe', input: 'go\n' })
    for (const { stdout } of await Promise.all(watchers)) expect(stdout).toBe('0\n1\n2\n3\n4\n')
  })

  it('does not keep the end of the container from being told, where its reader does not read', async () => {
    const { name } = await detach('read go; head -c 100000 /dev/zero | tr "\\0" x; exit 4', ['-i'])
    const monitor = pidOf(`tscrun: ${name}`) ?? 0
    const attach = `${TSCRUN} --root ${machine.store} --runroot ${machine.runRoot} attach --no-stdin ${name}`
    const reader = `sleep 1010.${process.pid}`
    const stuck = execa('sh', ['-c', `${attach} | exec ${reader}`], { reject: false })
    const pipe = readlinkSync(`/proc/${await until(() => pidOf(reader))}/fd/0`)
    await until(() => spawnSync('ls', ['-l', `/proc/${monitor}/fd`], { encoding: 'utf8' }).stdout.includes(pipe))
    // Whoever reads gets it all.
    const { stdout } = await machine.tscrun(['attach', name], { stdin: 'pipe', input: 'go\n' })
    expect(stdout.length).toBe(100_000)
    expect(await out('wait', name)).toBe('4\n')
    expect((await out('logs', name)).length).toBe(100_000)
    process.kill(pidOf(reader) ?? expect.fail('the reader has ended'), 'SIGKILL')
    await stuck
  })

  it('leaves the container running when a client is killed', async () => {
    const { name } = await detach('i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done')
    const attached = machine.tscrun(['attach', '--no-stdin', name])
    await new Promise((resolve) => attached.stdout.once('data', resolve))
    attached.kill('SIGKILL')
    await attached
    const before = (await out('logs', name)).length
    await until(
      () => readFileSync(join(machine.store, 'containers', machine.containers()[0] ?? '', 'log')).length > before,
    )
    expect(await inspected(name, '{{.State.Running}}')).toBe('true')
  })

  it.each([
    ['attach', '--no-stdin'],
    ['start', '-a'],
  ])('of %s with --sig-proxy=false ends by a signal, and the container is not told of it', async (verb, flag) => {
    const { name } = await detach('trap "echo told" TERM; while :; do echo on; sleep 0.05; done')
    if (verb === 'start') await out('stop', '-t', '0', name)
    const attached = machine.tscrun([verb, flag, '--sig-proxy=false', name])
    await new Promise((resolve) => attached.stdout.once('data', resolve))
    attached.kill('SIGTERM')
    expect((await attached).exitCode).toBe(143)
    expect(await inspected(name, '{{.State.Running}}')).toBe('true')
    expect(await out('logs', name)).not.toContain('told')
  })

  it('with a terminal has its size, its changes and its mode back; the detach keys leave the container running', async () => {
    const { name } = await detach('while read line; do stty size; done', ['-it'])
    const pty = openPty([TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, 'attach', name], {
      rows: 31,
      columns: 97,
    })
    try {
      // All but the size, which is changed below.
      const mode = (): string => pty.settings().replace(/rows.*?;.*?;/, '')
      const before = mode()
      // What is typed before the terminal is attached may be lost, or answered with the size that it has until then.
      await until(() => {
        pty.type('\n')
        return pty.output().includes('31 97')
      })
      pty.resize(20, 50)
      await until(() => {
        pty.type('\n')
        return pty.output().includes('20 50')
      })
      pty.type('\u0010\u0011')
      expect(await pty.ended).toBe(0)
      expect(mode()).toBe(before)
    } finally {
      pty.close()
    }
    expect(await inspected(name, '{{.State.Running}}')).toBe('true')
  })

  it('leaves the container running when its terminal is closed', async () => {
    // As a shell does it, which ends by SIGHUP.
    const { name } = await detach('trap "exit 9" HUP; while read line; do echo "<$line>"; done', ['-it'])
    const pty = openPty([TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, 'attach', name], {
      rows: 31,
      columns: 97,
    })
    await until(() => {
      pty.type('hello\n')
      return pty.output().includes('<hello>')
    })
    pty.close()
    expect(await pty.ended).toBe(129)
    expect(await inspected(name, '{{.State.Running}}')).toBe('true')
  })

  it('is refused for what runs in the foreground or has stopped', async () => {
    const { name } = await detach('true')
    await out('wait', name)
    const { exitCode, stderr } = await machine.tscrun(['attach', name])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: attach detached\d+: it is stopped/)
  })
})
