import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { until } from './fixtures/machine.ts'
import { makeOciHost, type OciHost, RUNTIME, running } from './fixtures/oci.ts'

let host: OciHost
beforeAll(async () => {
  host = await makeOciHost()
})
afterAll(() => host.dispose())
afterEach(async () => {
  for (const name of (await host.ok(['list', '-q'])).split('\n').filter(Boolean)) await host.ok(['delete', '-f', name])
  await until(() => host.traces().length === 0)
})

const quietly = (words: readonly string[]): Promise<{ exitCode: number }> => host.quietly(words, { timeoutMs: 60_000 })

it('twenty containers can be made and removed at once', async () => {
  const bundle = host.bundle()
  const ids = Array.from({ length: 20 }, (_, index) => `many${index}`)
  const created = await Promise.all(ids.map((id) => quietly(['create', '--bundle', bundle, id])))
  expect(created.map(({ exitCode }) => exitCode)).toEqual(ids.map(() => 0))
  expect((await host.ok(['list', '-q'])).trim().split('\n').sort()).toEqual(ids.toSorted())
  expect((await Promise.all(ids.map((id) => quietly(['start', id])))).every(({ exitCode }) => exitCode === 0)).toBe(
    true,
  )
  expect(
    (await Promise.all(ids.map((id) => quietly(['delete', '--force', id])))).every(({ exitCode }) => exitCode === 0),
  ).toBe(true)
  expect(host.traces()).toEqual([])
})

it('of many who create the same id one has it, and of many who delete it none fails with --force', async () => {
  const bundles = Array.from({ length: 5 }, () => host.bundle())
  const created = await Promise.all(bundles.map((bundle) => quietly(['create', '--bundle', bundle, 'same'])))
  expect(created.map(({ exitCode }) => exitCode).filter((code) => code === 0)).toEqual([0])
  expect(await host.status('same')).toBe('created')
  const deleted = await Promise.all(bundles.map(() => quietly(['delete', '--force', 'same'])))
  expect(deleted.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0, 0])
})

it('create and delete --force that race leave the container whole or nothing of it', async () => {
  const bundle = host.bundle()
  for (let round = 0; round < 6; round++) {
    const create = quietly(['create', '--bundle', bundle, 'race'])
    await sleep(10 * round)
    await quietly(['delete', '--force', 'race'])
    const { exitCode } = await create
    const left = (await host.ok(['list', '-q'])) !== ''
    if (left) expect([exitCode, await host.status('race')]).toEqual([0, 'created'])
    await host.ok(['delete', '--force', 'race'])
    expect(host.traces()).toEqual([])
  }
})

it('a create that is killed, whenever it is, leaves what state and delete --force can handle', async () => {
  const bundle = host.bundle()
  for (let delayMs = 5; delayMs < 90; delayMs += 4) {
    const id = `killed${delayMs}`
    const child = host.place.start([RUNTIME, '--root', host.root, 'create', '--bundle', bundle, id], '/dev/null')
    const ended = new Promise((resolve) => child.once('exit', resolve))
    await sleep(delayMs)
    child.kill('SIGKILL')
    await ended
    const { exitCode, stdout, stderr } = await host.oci(['state', id])
    if (exitCode === 0) expect(['created', 'stopped']).toContain((JSON.parse(stdout) as { status: string }).status)
    else expect(stderr).toContain('does not exist')
    await host.ok(['delete', '--force', id])
    expect([id, fs.existsSync(join(host.root, id))]).toEqual([id, false])
    expect((await quietly(['create', '--bundle', bundle, id])).exitCode).toBe(0)
    await host.ok(['delete', '--force', id])
  }
  await until(() => host.traces().length === 0)
})

it('nobody but the first process has a descriptor, mount or process of a create that has ended', async () => {
  const before = fs.readFileSync('/proc/self/mountinfo', 'utf8')
  await host.start('leaks', host.bundle())
  const { pid } = JSON.parse(await host.ok(['state', 'leaks'])) as { pid: number }
  expect(fs.readdirSync(`/proc/${pid}/fd`)).toEqual(['0', '1', '2'])
  expect(fs.readFileSync(join(host.place.cgroup, 'tscrun-runtime/leaks/cgroup.procs'), 'latin1')).toBe(`${pid}\n`)
  expect(fs.readFileSync('/proc/self/mountinfo', 'utf8')).toBe(before)
})

it('a cgroup with processes that outlive the first one is emptied and removed', async () => {
  const shared = (config: Parameters<NonNullable<Parameters<OciHost['bundle']>[0]>>[0]): typeof config => ({
    ...running('sh', '-c', 'sleep 1000 & exit 0')(config),
    linux: { ...config.linux, namespaces: (config.linux?.namespaces ?? []).filter(({ type }) => type !== 'pid') },
  })
  await host.start('outlived', host.bundle(shared))
  const procs = join(host.place.cgroup, 'tscrun-runtime/outlived/cgroup.procs')
  await until(() => fs.readFileSync(procs, 'latin1').trim().split('\n').length === 1)
  while ((await host.status('outlived')) !== 'stopped') {
    // It has left its cgroup, and is about to be gone.
  }
  await host.ok(['delete', 'outlived'])
  expect(host.traces()).toEqual([])
})

it('an id that another container of this root has is refused, and that one goes on', async () => {
  await host.start('taken', host.bundle())
  const { exitCode, stderr } = await host.oci(['create', '--bundle', host.bundle(), 'taken'])
  expect([exitCode, stderr, await host.status('taken')]).toEqual([
    1,
    expect.stringContaining('container with id taken already exists'),
    'running',
  ])
})

it('a service manager hands its sockets and its ear on', async () => {
  const bundle = host.bundle(
    running(
      'sh',
      '-c',
      'echo $LISTEN_FDS $LISTEN_PID $$; readlink /proc/$$/fd/3; readlink /proc/$$/fd/4; stat -c "%F %i" $NOTIFY_SOCKET',
    ),
  )
  const socket = join(host.place.directory, 'notify')
  const listener = host.place.start(
    [
      'python3',
      '-c',
      'import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\ns.recv(1)',
      socket,
    ],
    '/dev/null',
  )
  await until(() => fs.existsSync(socket))
  const env = { LISTEN_FDS: '1', NOTIFY_SOCKET: socket }
  const { stdout } = await host.place.run(
    [
      'sh',
      '-c',
      '"$@" 3</etc/hostname 4</etc/passwd',
      'sh',
      RUNTIME,
      '--root',
      host.root,
      'run',
      '--bundle',
      bundle,
      'activated',
    ],
    { env },
  )
  expect(stdout).toBe(`1 1 1\n/etc/hostname\nsocket ${fs.statSync(socket).ino}\n`)
  listener.kill()
})
