import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { until } from './fixtures/machine.ts'
import { makeOciHost, type OciHost, RUNTIME, running } from './fixtures/oci.ts'
import { openPty } from './fixtures/pty.ts'

let host: OciHost
beforeAll(async () => {
  host = await makeOciHost()
})
afterAll(() => host.dispose())

/** Outside of the place, where the test's own terminals are. */
const OUTSIDE = ['--cgroup-manager', 'disabled', '--root']

const onTerminal = (config: Parameters<NonNullable<Parameters<OciHost['bundle']>[0]>>[0]): typeof config => ({
  ...config,
  ...(config.process && { process: { ...config.process, terminal: true } }),
})

it('run in the foreground ends as its command, hands the streams on, and leaves nothing', async () => {
  const bundle = host.bundle(running('sh', '-c', 'cat; echo err >&2; exit 3'))
  const ended = await host.oci(['run', '--bundle', bundle, 'streams'], { input: 'in\n' })
  expect(ended).toEqual({ exitCode: 3, stdout: 'in\n', stderr: 'err\n' })
  const missing = await host.oci(['run', '--bundle', host.bundle(running('absent')), 'missing'])
  expect([missing.exitCode, missing.stderr]).toEqual([1, expect.stringContaining('executable file not found in $PATH')])
  expect(host.traces()).toEqual([])
})

it('run --keep leaves a stopped container, and --config names another file', async () => {
  const bundle = host.bundle(running('true'))
  fs.renameSync(join(bundle, 'config.json'), join(bundle, 'other.json'))
  await host.ok(['run', '--keep', '--bundle', bundle, '--config', 'other.json', 'kept'])
  expect(await host.status('kept')).toBe('stopped')
  await host.ok(['delete', 'kept'])
  expect(host.traces()).toEqual([])
})

it('a container in the foreground is found by others, who can exec into it and end it', async () => {
  const words = ['run', '--bundle', host.bundle(), '--pid-file', join(host.place.directory, 'fg.pid'), 'shared']
  const running = host.oci(words)
  await until(() => fs.existsSync(join(host.place.directory, 'fg.pid')))
  expect(await host.status('shared')).toBe('running')
  expect(await host.ok(['exec', 'shared', 'cat', '/proc/1/comm'])).toBe('sleep\n')
  const taken = await host.oci(['run', '--bundle', host.bundle(), 'shared'])
  expect([taken.exitCode, taken.stderr]).toEqual([1, expect.stringContaining('already exists')])
  await host.ok(['kill', 'shared', 'KILL'])
  expect((await running).exitCode).toBe(137)
  expect(host.traces()).toEqual([])
})

it('signals to run go to its command', async () => {
  const script = 'trap "echo got; exit 5" TERM; echo ready; while :; do sleep 0.05; done'
  const log = join(host.place.directory, 'forward.log')
  const child = host.place.start(
    [RUNTIME, '--root', host.root, 'run', '--bundle', host.bundle(running('sh', '-c', script)), 'forward'],
    log,
  )
  await until(() => fs.readFileSync(log, 'utf8') === 'ready\n')
  const code = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  expect(await code).toBe(5)
  expect([fs.readFileSync(log, 'utf8'), host.traces()]).toEqual(['ready\ngot\n', []])
})

it("a terminal is the caller's own: its size, its keys, and it is as before afterwards", async () => {
  const bundle = host.bundle((config) =>
    onTerminal(running('sh', '-c', 'tty; stty size; read line; echo "got $line"; exit 4')(config)),
  )
  const pty = openPty([RUNTIME, ...OUTSIDE, host.root, 'run', '--bundle', bundle, 'terminal'], {
    rows: 31,
    columns: 97,
  })
  try {
    const before = pty.settings()
    await until(() => pty.output().includes('31 97'))
    pty.type('keys\r')
    expect([await pty.ended, pty.output()]).toEqual([4, expect.stringContaining('got keys')])
    expect(pty.settings()).toBe(before)
  } finally {
    pty.close()
  }
  expect(fs.readdirSync(host.root)).toEqual([])
})

it('exec --tty has a terminal of the container, whose size is that of the caller', async () => {
  const create = [...OUTSIDE, host.root, 'run', '--detach', '--bundle', host.bundle(), 'tty']
  expect(spawnSync(RUNTIME, create, { stdio: 'ignore' }).status).toBe(0)
  const pty = openPty(
    [RUNTIME, ...OUTSIDE, host.root, 'exec', '--tty', 'tty', 'sh', '-c', 'tty; stty size; echo via > /dev/tty; exit 6'],
    { rows: 31, columns: 97 },
  )
  try {
    expect([await pty.ended, pty.output()]).toEqual([6, '/dev/pts/0\r\n31 97\r\nvia\r\n'])
  } finally {
    pty.close()
  }
  await host.ok(['delete', '--force', 'tty'])
})

it('a console socket is given the master of the terminal, by run --detach and by exec --detach', async () => {
  const receiver = join(host.place.directory, 'receive.py')
  fs.writeFileSync(receiver, RECEIVE)
  const receive = async (name: string, words: readonly string[]): Promise<string> => {
    const socket = join(host.place.directory, `${name}.sock`)
    const log = join(host.place.directory, `${name}.log`)
    const listening = host.place.start(['python3', receiver, socket], log)
    const ended = new Promise((resolve) => listening.once('exit', resolve))
    await until(() => fs.existsSync(socket))
    await host.ok(words.map((word) => (word === '@' ? socket : word)))
    await ended
    return fs.readFileSync(log, 'utf8')
  }
  const bundle = host.bundle((config) => onTerminal(running('sh', '-c', 'echo hello; sleep 1000')(config)))
  expect(await receive('run', ['run', '--detach', '--console-socket', '@', '--bundle', bundle, 'console'])).toBe(
    '/dev/pts/ptmx hello\n',
  )
  expect(await receive('exec', ['exec', '--detach', '--tty', '--console-socket', '@', 'console', 'echo', 'more'])).toBe(
    '/dev/pts/ptmx more\n',
  )
  for (const [words, says] of [
    [['run', '--detach', '--bundle', bundle, 'x'], 'cannot allocate a terminal'],
    [['create', '--console-socket', '/x', '--bundle', host.bundle(), 'x'], 'the process has no terminal'],
    [['exec', '--detach', '--tty', 'console', 'true'], 'cannot allocate a terminal'],
  ] as const) {
    const { exitCode, stderr } = await host.oci(words)
    expect([words, exitCode > 0, stderr]).toEqual([words, true, expect.stringContaining(says)])
  }
  await host.ok(['delete', '--force', 'console'])
  expect(host.traces()).toEqual([])
})

/** Takes one message with a descriptor, and the first line from there. */
const RECEIVE = `import array, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(1)
connection, _ = server.accept()
text, fds, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
master = array.array('i', fds[0][2])[0]
said = b''
while b'\\n' not in said:
    said += os.read(master, 100)
print(text.decode(), said.decode().replace('\\r', '').split('\\n')[0])
`

it('a caller that is killed takes its foreground container along, and its state can be cleared away', async () => {
  const pidFile = join(host.place.directory, 'killed.pid')
  const words = [...OUTSIDE, host.root, 'run', '--bundle', host.bundle(), '--pid-file', pidFile, 'killed']
  const child = spawn(RUNTIME, words, { stdio: 'ignore' })
  await until(() => fs.existsSync(pidFile))
  const pid = Number(fs.readFileSync(pidFile, 'latin1'))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
  await until(() => !fs.existsSync(`/proc/${pid}/cwd`))
  await host.ok(['delete', '--force', 'killed'])
  expect(fs.readdirSync(host.root)).toEqual([])
})
