import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Client } from './fixtures/client.ts'
import { makePodman } from './fixtures/podman.ts'
import { RUNTIME } from './fixtures/runtimes.ts'
import { untilSized } from './fixtures/terminal.ts'

const SIZE = { rows: 33, columns: 77 } as const

/** Ends with 3 on TERM, says `usr1` on USR1; a second process sleeps. */
const WAITING = 'trap "exit 3" TERM; trap "echo usr1" USR1; echo up; while :; do sleep 0.05; done'
const NONE = ['--network', 'none'] as const

let podman: Client
beforeAll(async () => {
  podman = await makePodman(RUNTIME)
})
afterAll(() => podman.dispose())

/** `podman run --rm` without a network. */
const run = (args: readonly string[]) => podman.run(['run', '--rm', ...NONE, ...args])
const sh = (script: string, flags: readonly string[] = []) =>
  podman.ok(['run', '--rm', ...NONE, ...flags, 'busybox', 'sh', '-c', script])
const inspect = (name: string, field: string) => podman.ok(['inspect', '-f', `{{${field}}}`, name])

describe('podman run', () => {
  it('knows the runtime by its path, and its version', async () => {
    expect(await podman.ok(['info', '-f', '{{.Host.OCIRuntime.Path}}'])).toBe(RUNTIME)
    expect(await podman.ok(['info', '-f', '{{.Host.OCIRuntime.Version}}'])).toMatch(
      / version [0-9.]+.*\n(.*\n)*spec: 1\./,
    )
  })

  it('hands on both streams and the exit code', async () => {
    const ended = await run(['busybox', 'sh', '-c', 'echo out; echo err >&2; exit 7'])
    expect(ended).toEqual({ exitCode: 7, stdout: 'out\n', stderr: 'err\n' })
  })

  it('feeds standard input to the container', async () => {
    const ended = await podman.run(['run', '--rm', '-i', ...NONE, 'busybox', 'sed', 's/^/> /'], { input: 'a\nb\n' })
    expect(ended).toEqual({ exitCode: 0, stdout: '> a\n> b\n', stderr: '' })
  })

  it.each([
    [127, 'a command that is not in PATH', 'nothing-called-this', /executable file .*not found in \$PATH/],
    [127, 'a path that does not exist', '/bin/nothing', /no such file or directory/i],
    [126, 'a file that is no program', '/etc/not-a-program', /permission denied/i],
    [126, 'a directory', '/etc', /permission denied/i],
  ])('ends with %i for %s, and leaves no container', async (exitCode, _what, command, text) => {
    const ended = await run(['--name', 'refused', 'busybox', command])
    expect(ended).toEqual({ exitCode, stdout: '', stderr: expect.stringMatching(text) })
    expect((await podman.run(['container', 'exists', 'refused'])).exitCode).toBe(1)
  })

  it('ends with 125 for a configuration that the runtime refuses', async () => {
    const ended = await run(['--sysctl', 'net.nothing.called.this=1', 'busybox', 'true'])
    expect({ ...ended, exitCode: [125, 126, 127].includes(ended.exitCode) }).toEqual({
      exitCode: true,
      stdout: '',
      stderr: expect.stringContaining('net'),
    })
  })

  it('gives the command a terminal of the size of the own one', async () => {
    const inside = `podman run --rm -it --network none --name tty busybox sh -c "${untilSized(SIZE)}; tty; stty size; test -t 0 && test -t 2"`
    const ended = await podman.onTerminal(inside, SIZE)
    expect(ended).toEqual({ exitCode: 0, stdout: '/dev/pts/0\n33 77\n', stderr: '' })
  })

  it('applies user, groups, directory, environment, host name and limits', async () => {
    const flags = ['--user', '1000:2000', '--group-add', '3000', '--workdir', '/home', '--env', 'A=b c']
    const more = ['--hostname', 'inside', '--ulimit', 'nofile=100:200', '--ulimit', 'nproc=99:99', '--umask', '0027']
    const script = 'id -u; id -g; id -G; pwd; echo "$A"; hostname; ulimit -Sn; ulimit -Hn; umask'
    expect(await sh(script, [...flags, ...more])).toBe(
      ['1000', '2000', '2000 3000', '/home', 'b c', 'inside', '100', '200', '0027'].join('\n'),
    )
  })

  it('applies capabilities, no_new_privs and a seccomp filter', async () => {
    const status = 'grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status'
    const flags = ['--cap-drop', 'all', '--cap-add', 'CHOWN,KILL', '--security-opt', 'no-new-privileges']
    expect(await sh(status, flags)).toBe(
      ['CapEff:\t0000000000000021', 'CapBnd:\t0000000000000021', 'NoNewPrivs:\t1', 'Seccomp:\t2'].join('\n'),
    )
  })

  it('makes mounts: a volume, a read-only one, tmpfs, a read-only root, masked files', async () => {
    const { directory } = podman.place
    const volumes = ['-v', `${directory}:/rw`, '-v', `${directory}:/ro:ro`]
    const flags = [...volumes, '--tmpfs', '/t:size=64k', '--read-only', '--shm-size', '128k']
    const script = `echo x >/rw/made; cat /ro/made; touch /ro/no; touch /no; echo y >/t/f; cat /t/f; wc -c </proc/keys`
    const ended = await run([...flags, 'busybox', 'sh', '-c', script])
    expect(ended).toEqual({
      exitCode: 0,
      stdout: 'x\ny\n0\n',
      stderr: expect.stringMatching(/^(touch: .*Read-only.*\n){2}$/),
    })
    expect(readFileSync(join(directory, 'made'), 'utf8')).toBe('x\n')
  })

  it('makes a user namespace with the ids that are asked for', async () => {
    const flags = ['--uidmap', '0:100000:1000', '--gidmap', '0:200000:1000']
    const out = await sh('cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c %u /etc/passwd', flags)
    expect(out.replace(/^ +| +(?= )/gm, '')).toBe(['0 100000 1000', '0 200000 1000', '0', '0'].join('\n'))
  })

  it('joins the namespaces of the host that are asked for', async () => {
    const kinds = ['net', 'ipc', 'uts', 'pid', 'cgroup'] as const
    const flags = ['--pid', 'host', '--ipc', 'host', '--uts', 'host', '--network', 'host', '--cgroupns', 'host']
    const script = kinds.map((kind) => `readlink /proc/self/ns/${kind}`).join('; ')
    const inside = await podman.ok(['run', '--rm', ...flags, 'busybox', 'sh', '-c', script])
    expect(`${inside}\n`).toBe((await podman.place.run(['sh', '-c', script])).stdout)
  })

  it('runs a privileged container: every capability that there is, devices, no filter', async () => {
    const bounding = /^CapBnd:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    const script = 'grep -E "^(CapBnd|Seccomp):" /proc/self/status; test -e /dev/loop-control || test -e /dev/kmsg'
    expect((await sh(script, ['--privileged'])).split('\n')).toEqual([`CapBnd:\t${bounding}`, 'Seccomp:\t0'])
  })

  it('with --cgroups=disabled makes no cgroup', async () => {
    const ended = await podman.run(['run', '--rm', ...NONE, '--cgroups=disabled', 'busybox', 'cat', '/proc/1/cgroup'])
    expect(ended).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^0::\/\S*$/m), stderr: '' })
    expect(ended.stdout).not.toContain('libpod-')
  })

  it('hands on descriptors with --preserve-fds', async () => {
    const flags = '--network none --preserve-fds 1'
    const inside = `podman run --rm ${flags} busybox sh -c "cat <&3; ls /proc/self/fd | wc -l" 3</etc/hostname`
    const { exitCode, stdout } = await podman.shell(inside)
    // 0, 1, 2, 3 and that of ls.
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${readFileSync('/etc/hostname', 'utf8')}5\n` })
  })
})

describe('a container in the background of podman', () => {
  const name = 'waiting'
  const logged = (said: RegExp) => podman.eventually(['logs', name], said)
  const pidFile = () => join(podman.place.directory, 'pid')
  beforeAll(async () => {
    const files = ['--pidfile', pidFile(), '--conmon-pidfile', join(podman.place.directory, 'conmon-pid')]
    await podman.ok(['run', '-d', '--name', name, ...files, ...NONE, 'busybox', 'sh', '-c', WAITING])
    await logged(/^up$/m)
  })
  afterAll(() => podman.ok(['rm', '-f', '-t', '0', name]))

  it('is run by our runtime, with the pid of its pid file as the child of conmon', async () => {
    expect(await inspect(name, '.OCIRuntime')).toBe(RUNTIME)
    const pid = readFileSync(pidFile(), 'utf8')
    expect(await inspect(name, '.State.Pid')).toBe(pid)
    const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    expect(readFileSync(`/proc/${parent}/comm`, 'utf8')).toBe('conmon\n')
  })

  it('takes further commands, with their exit codes, users, environment and directories', async () => {
    const ended = await podman.run(['exec', name, 'sh', '-c', 'echo out; echo err >&2; exit 5'])
    expect(ended).toEqual({ exitCode: 5, stdout: 'out\n', stderr: 'err\n' })
    const flags = ['--user', '1000', '--workdir', '/tmp', '--env', 'A=b']
    expect(await podman.ok(['exec', ...flags, name, 'sh', '-c', 'id -u; pwd; echo $A'])).toBe('1000\n/tmp\nb')
    const input = { input: 'typed\n' }
    expect(await podman.ok(['exec', '-i', name, 'cat'], input)).toBe('typed')
  })

  it.each([
    [127, 'nothing-called-this'],
    [127, '/bin/nothing'],
    [126, '/etc/not-a-program'],
    [126, '/etc'],
  ])('exec ends with %i for %s', async (exitCode, command) => {
    expect(await podman.run(['exec', name, command])).toMatchObject({ exitCode, stdout: '' })
  })

  it('gives a further command a terminal, and it shares every namespace', async () => {
    const ended = await podman.onTerminal(`podman exec -it ${name} sh -c "${untilSized(SIZE)}; tty; stty size"`, SIZE)
    expect(ended).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^\/dev\/pts\/\d+\n33 77\n$/), stderr: '' })
    const script = 'cd /proc; for n in cgroup ipc mnt net pid uts; do readlink self/ns/$n; readlink 1/ns/$n; done'
    const names = (await podman.ok(['exec', name, 'sh', '-c', script])).split('\n')
    expect(names).toHaveLength(12)
    for (let at = 0; at < names.length; at += 2) expect(names[at]).toBe(names[at + 1])
  })

  it('runs a further command in the background', async () => {
    await podman.ok(['exec', '-d', name, 'sh', '-c', 'echo done >/tmp/detached'])
    expect(await podman.eventually(['exec', name, 'cat', '/tmp/detached'], /done/)).toBe('done\n')
  })

  it('is listed by top', async () => {
    const lines = (await podman.ok(['top', name, 'pid', 'args'])).split('\n')
    expect(lines.join('\n')).toMatch(/^1\s+sh -c trap/m)
    expect(await podman.ok(['top', name, '-o', 'pid,comm'])).toMatch(/\d+ sh$/m)
  })

  it('freezes and thaws', async () => {
    const pid = await inspect(name, '.State.Pid')
    const frozen = () =>
      podman.place.run(['sh', '-c', `cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/${pid}/cgroup)/cgroup.events`])
    await podman.ok(['pause', name])
    expect(await inspect(name, '.State.Status')).toBe('paused')
    expect((await frozen()).stdout).toMatch(/^frozen 1$/m)
    expect(await podman.run(['exec', name, 'true'])).toMatchObject({ exitCode: expect.toSatisfy((n) => n !== 0) })
    await podman.ok(['unpause', name])
    expect((await frozen()).stdout).toMatch(/^frozen 0$/m)
    expect(await inspect(name, '.State.Status')).toBe('running')
  })

  it('gets signals by name and by number', async () => {
    await podman.ok(['kill', '--signal', 'USR1', name])
    await logged(/usr1\n/)
    await podman.ok(['kill', '--signal', '10', name])
    expect(await logged(/usr1\nusr1\n/)).toBe('up\nusr1\nusr1\n')
  })

  it('shares its namespaces with another container', async () => {
    const flags = ['pid', 'network', 'ipc'].flatMap((kind) => [`--${kind}`, `container:${name}`])
    const script = 'readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; ps'
    const words = ['sh', '-c', script]
    const lines = (await podman.ok(['run', '--rm', ...flags, 'busybox', ...words])).split('\n')
    expect(lines.slice(0, 2)).toEqual((await podman.ok(['exec', name, ...words])).split('\n').slice(0, 2))
    expect(lines.join('\n')).toContain('sh -c trap')
  })

  it('cannot be checkpointed, and says so', async () => {
    expect(await podman.run(['container', 'checkpoint', name])).toMatchObject({
      exitCode: 125,
      stderr: expect.stringMatching(/checkpoint|CRIU/i),
    })
  })

  it('stops on TERM with the exit code of its own, starts again, and ends on KILL', async () => {
    await podman.ok(['stop', name])
    expect(await inspect(name, '.State.Status')).toBe('exited')
    expect(await inspect(name, '.State.ExitCode')).toBe('3')
    await podman.ok(['start', name])
    expect(await inspect(name, '.State.Status')).toBe('running')
    await podman.ok(['restart', '-t', '0', name])
    await podman.ok(['kill', name])
    await podman.ok(['wait', name])
    expect(await inspect(name, '.State.ExitCode')).toBe('137')
    expect(await podman.ok(['events', '--stream=false', '--filter', 'event=died'])).toContain('died')
  })
})

describe('podman in steps', () => {
  it('creates, starts attached, shows the log, and removes without a trace', async () => {
    await podman.ok(['create', '--name', 'steps', ...NONE, 'busybox', 'sh', '-c', 'echo said; exit 4'])
    const started = await podman.run(['start', '-a', 'steps'])
    expect(started).toEqual({ exitCode: 4, stdout: 'said\n', stderr: '' })
    expect(await podman.ok(['logs', 'steps'])).toBe('said')
    await podman.ok(['rm', 'steps'])
  })

  it('removes a running container with all of its processes', async () => {
    await podman.ok(['run', '-d', '--name', 'doomed', ...NONE, 'busybox', 'sh', '-c', 'sleep 1000 & sleep 1000'])
    const pid = await inspect('doomed', '.State.Pid')
    await podman.ok(['rm', '-f', '-t', '0', 'doomed'])
    expect(await podman.place.run(['test', '-d', `/proc/${pid}`])).toMatchObject({ exitCode: 1 })
  })

  it('changes a limit, or says which controller is missing', async () => {
    // One of its own: podman 5 keeps also what could not be set.
    await podman.ok(['run', '-d', '--name', 'limited', ...NONE, 'busybox', 'sleep', '1000'])
    const controllers = readFileSync(join(podman.place.cgroup, 'cgroup.controllers'), 'utf8').split(/\s+/)
    const ended = await podman.run(['update', '--memory', '64m', 'limited'])
    const limit = await podman.run(['exec', 'limited', 'cat', '/sys/fs/cgroup/memory.max'])
    await podman.ok(['rm', '-f', '-t', '0', 'limited'])
    if (!controllers.includes('memory')) {
      return expect(ended).toMatchObject({ exitCode: 125, stderr: expect.stringContaining('memory') })
    }
    expect({ ...ended, limit: limit.stdout }).toMatchObject({ exitCode: 0, limit: `${64 << 20}\n` })
  })

  it('leaves no cgroup of a container', async () => {
    const { stdout } = await podman.place.run(['find', '/sys/fs/cgroup', '-name', 'libpod-*'])
    expect(stdout).toBe('')
  })
})
