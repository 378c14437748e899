import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Containerd, startContainerd } from './fixtures/containerd.ts'
import { RUNTIME } from './fixtures/runtimes.ts'
import { untilSized } from './fixtures/terminal.ts'

const SIZE = { rows: 33, columns: 77 } as const

let containerd: Containerd
beforeAll(async () => {
  containerd = await startContainerd(RUNTIME)
})
afterAll(() => containerd.dispose())

describe('ctr run', () => {
  it('hands on both streams and the exit code, and tells the exit as an event', async () => {
    const ended = await containerd.runContainer(['--rm'], 'once', ['sh', '-c', 'echo out; echo err >&2; exit 7'])
    expect(ended).toEqual({ exitCode: 7, stdout: 'out\n', stderr: 'err\n' })
    expect(
      containerd
        .events()
        .filter((line) => line.includes('"once"'))
        .join('\n'),
    ).toMatch(/\/tasks\/create.*\n\/tasks\/start.*\n\/tasks\/exit.*"exit_status":7.*\n\/tasks\/delete/)
  })

  it.each([
    ['a command that is not in PATH', 'nothing-called-this', /executable file .*not found in \$PATH/],
    ['a path that does not exist', '/bin/nothing', /no such file or directory/i],
    ['a file that is no program', '/etc/not-a-program', /permission denied/i],
    ['a directory', '/etc', /permission denied|is a directory/i],
  ])('says why %s cannot run, and leaves no task', async (_what, command, text) => {
    const ended = await containerd.runContainer(['--rm'], 'refused', [command])
    expect(ended).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringMatching(text) })
    expect(await containerd.ok(['task', 'ls', '-q'])).toBe('')
    expect(await containerd.ok(['container', 'ls', '-q'])).toBe('')
  })

  it('gives the command a terminal of the size of the own one', async () => {
    const line = `${containerd.runLine} --rm -t localhost/busybox:latest tty sh -c "${untilSized(SIZE)}; tty; stty size"`
    const ended = await containerd.onTerminal(line, SIZE)
    expect(ended).toEqual({ exitCode: 0, stdout: '/dev/pts/0\n33 77\n', stderr: '' })
  })

  it('applies capabilities, a seccomp filter, mounts, a read-only root, environment and directory', async () => {
    const { directory } = containerd.place
    const mount = `type=bind,src=${directory},dst=/mnt,options=rbind:ro`
    const flags = ['--seccomp', '--cap-drop', 'CAP_CHOWN', '--read-only', '--env', 'A=b', '--cwd', '/home']
    const script =
      'grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status; echo $A; pwd; test -e /mnt/socket; touch /x /mnt/x'
    const ended = await containerd.runContainer(['--rm', ...flags, '--mount', mount], 'strict', ['sh', '-c', script])
    expect(ended).toEqual({
      exitCode: 1,
      stdout: 'NoNewPrivs:\t1\nSeccomp:\t2\nb\n/home\n',
      stderr: expect.stringMatching(/^(touch: .*Read-only.*\n){2}$/),
    })
  })

  it('makes a user namespace with the ids that are asked for', async () => {
    const flags = ['--uidmap', '0:100000:65536', '--gidmap', '0:200000:65536']
    const ended = await containerd.runContainer(['--rm', ...flags], 'mapped', ['cat', '/proc/self/uid_map'])
    expect({ ...ended, stdout: ended.stdout.trim().split(/ +/) }).toEqual({
      exitCode: 0,
      stdout: ['0', '100000', '65536'],
      stderr: '',
    })
  })

  it('joins the namespaces of the host that are asked for', async () => {
    const here = await containerd.place.run(['readlink', '/proc/self/ns/net'])
    const ended = await containerd.runContainer(['--rm', '--net-host'], 'host', ['readlink', '/proc/self/ns/net'])
    expect(ended).toEqual({ exitCode: 0, stdout: here.stdout, stderr: '' })
  })
})

describe('a task of containerd', () => {
  const name = 'waiting'
  const pidFile = () => join(containerd.place.directory, 'pid')
  const task = (...args: string[]) => containerd.run(['task', ...args])
  const ok = (...args: string[]) => containerd.ok(['task', ...args])
  beforeAll(async () => {
    const script = 'trap "exit 3" TERM; trap "echo got >/signal" USR1; touch /up; while :; do sleep 0.05; done'
    await containerd.runContainer(['-d', '--pid-file', pidFile()], name, ['sh', '-c', script])
    await containerd.eventually(['task', 'exec', '--exec-id', 'up', name, 'ls', '/up'], /up/)
  })

  it('is a child of its shim, with the pid of its pid file', async () => {
    const pid = readFileSync(pidFile(), 'utf8')
    expect(await ok('ls')).toMatch(new RegExp(`^${name} +${pid} +RUNNING`, 'm'))
    const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    expect(readFileSync(`/proc/${parent}/comm`, 'utf8')).toBe('containerd-shim\n')
  })

  it('takes further commands, with their exit codes, users and directories', async () => {
    const flags = ['--exec-id', 'more', '--user', '1000:2000', '--cwd', '/tmp']
    const ended = await task('exec', ...flags, name, 'sh', '-c', 'id -u; id -g; pwd; echo err >&2; exit 5')
    expect(ended).toEqual({ exitCode: 5, stdout: '1000\n2000\n/tmp\n', stderr: 'err\n' })
    const missing = await task('exec', '--exec-id', 'missing', name, 'nothing-called-this')
    expect(missing).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringMatching(/executable file .*not found/) })
  })

  it('gives a further command a terminal', async () => {
    const line = `ctr task exec --exec-id tty -t ${name} sh -c "${untilSized(SIZE)}; tty; stty size"`
    const ended = await containerd.onTerminal(line, SIZE)
    expect(ended).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^\/dev\/pts\/\d+\n33 77\n$/), stderr: '' })
  })

  it('is frozen and thawed', async () => {
    await ok('pause', name)
    expect(await ok('ls')).toContain('PAUSED')
    const events = (await containerd.place.run(['cat', `/sys/fs/cgroup/default/${name}/cgroup.events`])).stdout
    expect(events).toMatch(/^frozen 1$/m)
    await ok('resume', name)
    expect(await ok('ls')).toContain('RUNNING')
  })

  it('tells its processes and its use of resources', async () => {
    expect(await ok('ps', name)).toMatch(new RegExp(`^${readFileSync(pidFile(), 'utf8')} `, 'm'))
    expect(await ok('metrics', name)).toMatch(/^pids\.current +\d+/m)
  })

  it('cannot be checkpointed, and says so', async () => {
    const ended = await task('checkpoint', name)
    expect(ended).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/checkpoint|criu/i) })
    expect(await ok('ls')).toContain('RUNNING')
  })

  it('gets a signal', async () => {
    await ok('kill', '-s', 'SIGUSR1', name)
    const read = ['task', 'exec', '--exec-id', 'signal', name, 'cat', '/signal']
    expect(await containerd.eventually(read, /got/)).toBe('got\n')
  })

  it('is not deleted while it runs', async () => {
    expect(await task('delete', name)).toMatchObject({ exitCode: 1 })
    expect(await ok('ls')).toContain('RUNNING')
  })

  it('ends on TERM with its own exit code, and is deleted without a trace', async () => {
    await ok('kill', '-s', 'SIGTERM', name)
    await containerd.eventually(['task', 'ls'], /STOPPED/)
    expect(containerd.events().join('\n')).toMatch(/\/tasks\/exit .*"waiting".*"exit_status":3/)
    expect(await task('delete', name)).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('exit code 3') })
    await containerd.ok(['container', 'delete', name])
    const { stdout } = await containerd.place.run(['find', '/sys/fs/cgroup/default', '-mindepth', '1', '-type', 'd'])
    expect(stdout).toBe('')
  })

  it('of several processes is ended as a whole by kill --all', async () => {
    await containerd.runContainer(['-d'], 'many', ['sh', '-c', 'sleep 1000 & sleep 1000 & wait'])
    await ok('kill', '--all', '-s', 'SIGKILL', 'many')
    await containerd.eventually(['task', 'ls'], /STOPPED/)
    expect(await task('delete', 'many')).toMatchObject({ stderr: expect.stringContaining('exit code 137') })
  })
})
