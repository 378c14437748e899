import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Docker, NAME, startDocker } from './fixtures/docker.ts'
import { RUNTIME } from './fixtures/runtimes.ts'
import { untilSized } from './fixtures/terminal.ts'

const SIZE = { rows: 33, columns: 77 } as const

const WITH = ['--runtime', NAME, '--network', 'none'] as const

let docker: Docker
beforeAll(async () => {
  docker = await startDocker(RUNTIME)
})
afterAll(() => docker.dispose())

const run = (args: readonly string[]) => docker.run(['run', '--rm', ...WITH, ...args])
const sh = (script: string, flags: readonly string[] = []) =>
  docker.ok(['run', '--rm', ...WITH, ...flags, 'busybox', 'sh', '-c', script])
const inspect = (name: string, field: string) => docker.ok(['inspect', '-f', `{{${field}}}`, name])

describe('docker run', () => {
  it('knows the runtime by its name', async () => {
    expect(JSON.parse(await docker.ok(['info', '-f', '{{json .Runtimes}}']))).toMatchObject({
      [NAME]: { path: RUNTIME },
    })
  })

  it('hands on both streams and the exit code, and tells the exit as an event', async () => {
    const ended = await run(['--name', 'once', 'busybox', 'sh', '-c', 'echo out; echo err >&2; exit 7'])
    expect(ended).toEqual({ exitCode: 7, stdout: 'out\n', stderr: 'err\n' })
    expect(docker.events()).toContain('container die exitCode=7 name=once')
  })

  it('feeds standard input to the container', async () => {
    const ended = await docker.run(['run', '--rm', '-i', ...WITH, 'busybox', 'sed', 's/^/> /'], { input: 'a\nb\n' })
    expect(ended).toEqual({ exitCode: 0, stdout: '> a\n> b\n', stderr: '' })
  })

  it.each([
    [127, 'a command that is not in PATH', 'nothing-called-this', /executable file .*not found in \$PATH/],
    [127, 'a path that does not exist', '/bin/nothing', /no such file or directory/i],
    [126, 'a file that is no program', '/etc/not-a-program', /permission denied/i],
    [126, 'a directory', '/etc', /permission denied|is a directory/i],
  ])('ends with %i for %s, and leaves no container', async (exitCode, _what, command, text) => {
    const ended = await run(['busybox', command])
    expect(ended).toEqual({ exitCode, stdout: '', stderr: expect.stringMatching(text) })
    expect(await docker.ok(['ps', '-aq'])).toBe('')
  })

  it('gives the command a terminal of the size of the own one', async () => {
    const line = `docker run --rm -it ${WITH.join(' ')} busybox sh -c "${untilSized(SIZE)}; tty; stty size; test -t 0 && test -t 2"`
    const ended = await docker.onTerminal(line, SIZE)
    expect(ended).toEqual({ exitCode: 0, stdout: '/dev/pts/0\n33 77\n', stderr: '' })
  })

  it('applies user, groups, directory, environment, host name and limits', async () => {
    const flags = ['--user', '1000:2000', '--group-add', '3000', '--workdir', '/home', '--env', 'A=b c']
    const more = ['--hostname', 'inside', '--ulimit', 'nofile=100:200']
    const script = 'id -u; id -g; id -G; pwd; echo "$A"; hostname; ulimit -Sn; ulimit -Hn'
    expect(await sh(script, [...flags, ...more])).toBe(
      ['1000', '2000', '2000 3000', '/home', 'b c', 'inside', '100', '200'].join('\n'),
    )
  })

  it('applies capabilities, no_new_privs and a seccomp filter', async () => {
    const status = 'grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status'
    const flags = [
      '--cap-drop',
      'all',
      '--cap-add',
      'CHOWN',
      '--cap-add',
      'KILL',
      '--security-opt',
      'no-new-privileges',
    ]
    expect(await sh(status, flags)).toBe(
      ['CapEff:\t0000000000000021', 'CapBnd:\t0000000000000021', 'NoNewPrivs:\t1', 'Seccomp:\t2'].join('\n'),
    )
  })

  it('makes mounts: a volume, a read-only one, tmpfs, a read-only root, masked files', async () => {
    const { directory } = docker.place
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

  it('joins the network of the host, and the namespaces of another container', async () => {
    const here = await docker.place.run(['readlink', '/proc/self/ns/net'])
    const host = ['run', '--rm', '--runtime', NAME, '--network', 'host', 'busybox', 'readlink', '/proc/self/ns/net']
    expect(`${await docker.ok(host)}\n`).toBe(here.stdout)
    await docker.ok(['run', '-d', '--name', 'first', ...WITH, '--ipc', 'shareable', 'busybox', 'sleep', '1000'])
    const flags = ['pid', 'network', 'ipc'].flatMap((kind) => [`--${kind}`, 'container:first'])
    const names = [
      'run',
      '--rm',
      '--runtime',
      NAME,
      ...flags,
      'busybox',
      'sh',
      '-c',
      'cd /proc; readlink self/ns/net; ps',
    ]
    const [net, ...processes] = (await docker.ok(names)).split('\n')
    expect(net).toBe(await docker.ok(['exec', 'first', 'readlink', '/proc/self/ns/net']))
    expect(processes.join('\n')).toContain('sleep 1000')
    await docker.ok(['rm', '-f', 'first'])
  })
})

describe('a container in the background of docker', () => {
  const name = 'waiting'
  beforeAll(async () => {
    const script = 'trap "exit 3" TERM; trap "echo usr1" USR1; echo up; while :; do sleep 0.05; done'
    await docker.ok(['run', '-d', '--name', name, ...WITH, 'busybox', 'sh', '-c', script])
    await docker.eventually(['logs', name], /up/)
  })

  it('is run by our runtime', async () => {
    expect(await inspect(name, '.HostConfig.Runtime')).toBe(NAME)
    const pid = await inspect(name, '.State.Pid')
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toContain('trap')
  })

  it('takes further commands, with their exit codes, users, environment and directories', async () => {
    const ended = await docker.run(['exec', name, 'sh', '-c', 'echo out; echo err >&2; exit 5'])
    expect(ended).toEqual({ exitCode: 5, stdout: 'out\n', stderr: 'err\n' })
    const flags = ['--user', '1000', '--workdir', '/tmp', '--env', 'A=b']
    expect(await docker.ok(['exec', ...flags, name, 'sh', '-c', 'id -u; pwd; echo $A'])).toBe('1000\n/tmp\nb')
    expect(await docker.ok(['exec', '-i', name, 'cat'], { input: 'typed\n' })).toBe('typed')
    await docker.ok(['exec', '-d', name, 'sh', '-c', 'echo done >/tmp/detached'])
    await docker.eventually(['exec', name, 'cat', '/tmp/detached'], /done/)
  })

  // docker 20.10 ends with 126 for each; later ones tell them apart.
  it.each([
    ['nothing-called-this', /executable file .*not found in \$PATH/],
    ['/bin/nothing', /no such file or directory/i],
    ['/etc/not-a-program', /permission denied/i],
    ['/etc', /permission denied|is a directory/i],
  ])('says why it cannot run %s', async (command, text) => {
    const { exitCode, stdout, stderr } = await docker.run(['exec', name, command])
    expect([126, 127]).toContain(exitCode)
    expect(stdout + stderr).toMatch(text)
  })

  it('gives a further command a terminal', async () => {
    const line = `docker exec -it ${name} sh -c "${untilSized(SIZE)}; tty; stty size"`
    const ended = await docker.onTerminal(line, SIZE)
    expect(ended).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^\/dev\/pts\/\d+\n33 77\n$/), stderr: '' })
  })

  it('is listed by top', async () => {
    expect(await docker.ok(['top', name, '-o', 'pid,args'])).toMatch(
      new RegExp(`^${await inspect(name, '.State.Pid')} +sh -c trap`, 'm'),
    )
  })

  it('is frozen and thawed', async () => {
    await docker.ok(['pause', name])
    expect(await inspect(name, '.State.Status')).toBe('paused')
    const id = await inspect(name, '.Id')
    const frozen = () => docker.place.run(['cat', `/sys/fs/cgroup/docker/${id}/cgroup.events`])
    expect((await frozen()).stdout).toMatch(/^frozen 1$/m)
    await docker.ok(['unpause', name])
    expect((await frozen()).stdout).toMatch(/^frozen 0$/m)
  })

  it('changes a limit', async () => {
    const controllers = readFileSync(join(docker.place.cgroup, 'cgroup.controllers'), 'utf8').split(/\s+/)
    const ended = await docker.run(['update', '--memory', '64m', '--memory-swap', '64m', name])
    expect(ended).toMatchObject({ exitCode: 0 })
    // Without the controller docker leaves the limit out.
    if (!controllers.includes('memory')) return expect(await inspect(name, '.State.Status')).toBe('running')
    expect(await docker.ok(['exec', name, 'cat', '/sys/fs/cgroup/memory.max'])).toBe(String(64 << 20))
  })

  it('gets signals', async () => {
    await docker.ok(['kill', '--signal', 'USR1', name])
    expect(await docker.eventually(['logs', name], /usr1/)).toBe('up\nusr1\n')
  })

  it('stops on TERM with its own exit code, starts again, restarts, and ends on KILL', async () => {
    await docker.ok(['stop', name])
    expect(await inspect(name, '.State.Status')).toBe('exited')
    expect(await inspect(name, '.State.ExitCode')).toBe('3')
    expect(docker.events()).toContain(`container die exitCode=3 name=${name}`)
    await docker.ok(['start', name])
    await docker.ok(['restart', '-t', '0', name])
    expect(await inspect(name, '.State.Status')).toBe('running')
    await docker.ok(['kill', name])
    expect(await docker.ok(['wait', name])).toBe('137')
    await docker.ok(['rm', name])
  })

  it('is restarted by its policy when it fails', async () => {
    const flags = ['-d', '--name', 'again', '--restart', 'on-failure:2', ...WITH]
    await docker.ok(['run', ...flags, 'busybox', 'sh', '-c', 'echo try; exit 9'])
    await docker.eventually(['logs', 'again'], /(try\n){3}/)
    const ended = await docker.eventually(
      ['inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'again'],
      /^exited/,
    )
    expect(ended).toBe('exited 9\n')
    await docker.ok(['rm', 'again'])
  })

  it('leaves no cgroup', async () => {
    const { stdout } = await docker.place.run(['find', '/sys/fs/cgroup/docker', '-mindepth', '1', '-type', 'd'])
    expect(stdout).toBe('')
  })
})
