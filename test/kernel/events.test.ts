import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createEngine } from '../../src/index.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { expectNothingLeft, expectOneLine, isAlive, useMachine, pidOf, until } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

let count = 0
const newName = (): string => `told${count++}`
const { out } = backgroundOf(() => machine)
const detach = (name: string, script: string, ...flags: string[]): Promise<string> =>
  out('run', '-d', '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script)
/** What has happened to containers of these names, in order. */
async function told(format: string, ...names: string[]): Promise<string[]> {
  const filters = names.map((name) => `--filter=container=${name}`)
  return (await out('events', '--stream=false', ...filters, '--format', format)).split('\n').slice(0, -1)
}
const gone = (name: string): Promise<true> => until(() => pidOf(`tscrun: ${name}`) === undefined)

describe('events', () => {
  it('of a foreground run are its whole life, for the owner of the store alone', async () => {
    const name = newName()
    await machine.run(['--name', name, '--label', 'a=b'], ['sh', '-c', 'exit 3'])
    expect(await told('{{.Action}} {{.Actor.Attributes.a}} {{.ContainerExitCode}}', name)).toEqual(
      ['create b <nil>', 'start b <nil>', 'die b 3', 'destroy b <nil>'].map((line) =>
        line.replace('<nil>', '<no value>'),
      ),
    )
    expect(statSync(join(machine.store, 'events.log')).mode & 0o777).toBe(0o600)
  })

  it('tell nothing of a command that could not be executed but that there was one', async () => {
    for (const flags of [['--rm'], ['-d'], ['-d', '--restart', 'always']]) {
      const name = newName()
      const root = `${machine.rootfs}:O`
      const ended = await machine.tscrun(['run', ...flags, '--name', name, '--rootfs', root, '/bin/no-such-command'])
      expect(ended).toMatchObject({ exitCode: 127 })
      expect(await told('{{.Action}}', name)).not.toContain('start')
      expect(await told('{{.Action}}', name)).not.toContain('die')
    }
  })

  it('tell of each life of one that is started again, with no Node alive, and of what people do', async () => {
    const name = newName()
    await detach(name, 'exit 2', '--restart', 'on-failure:1')
    await gone(name)
    await out('start', name)
    await gone(name)
    await out('rm', name)
    const lives = ['start', 'die', 'start', 'die']
    expect(await told('{{.Action}}', name)).toEqual(['create', ...lives, ...lives, 'destroy'])
    const other = newName()
    await detach(other, 'exec sleep 1000')
    await out('pause', other)
    await out('unpause', other)
    await machine.tscrun(['exec', other, 'sh', '-c', 'exit 5'])
    await out('stop', '-t', '0', other)
    await out('rm', other)
    const actions = (await told('{{.Action}}', other)).map((action) => action.replace(/:.*/, ''))
    expect(actions.slice(0, 7)).toEqual([
      'create',
      'start',
      'pause',
      'unpause',
      'exec_create',
      'exec_start',
      'exec_die',
    ])
    expect(actions.slice(7)).toEqual(['kill', 'kill', 'die', 'stop', 'destroy'])
    expect(await told('{{.ContainerExitCode}}', other)).toContain('5')
  })

  it('tell how a command in the background ended, and what happened to volumes and networks', async () => {
    const [name, volume, network] = [newName(), newName(), newName()]
    await out('volume', 'create', volume)
    await detach(name, 'exec sleep 1000', '-v', `${volume}:/data`)
    await out('exec', '-d', name, 'sh', '-c', 'exit 6')
    const exits = (): Promise<string[]> => told('{{.Action}} {{.ContainerExitCode}}', name)
    while (!(await exits()).includes('exec_die 6'));
    await out('exec', '-d', name, 'sleep', '1000')
    await out('rm', '-f', name)
    // Its monitor tells it, when the container has gone.
    while (!(await exits()).includes('exec_die 137'));
    await out('volume', 'rm', volume)
    await out('network', 'create', network)
    await out('network', 'rm', network)
    const toldOf = (kind: string, which: string): Promise<string> =>
      out('events', '--stream=false', '--filter', `${kind}=${which}`, '--format', '{{.Action}}')
    expect(await toldOf('volume', volume)).toBe('create\nmount\nunmount\ndestroy\n')
    expect(await toldOf('network', network)).toBe('create\ndestroy\n')
  })

  it('of volumes are told by the monitor in each life, and when it removes one with the container', async () => {
    const [name, volume] = [newName(), newName()]
    const flags = ['-v', `${volume}:/data:ro`, '-v', '/anonymous']
    await detach(name, 'exec sleep 1000', '--rm', '--restart', 'always', ...flags)
    const pid = async (): Promise<number> => Number((await out('inspect', '-f', '{{.State.Pid}}', name)).trim())
    const [first, id] = [await pid(), (await out('inspect', '-f', '{{.Id}}', name)).trim()]
    process.kill(first, 'SIGKILL')
    while ([0, first].includes(await pid()));
    await out('stop', '-t', '0', name)
    await gone(name)
    const events = (await out('events', '--stream=false', '--filter', 'type=volume', '--format', 'json'))
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { Action: string; Actor: { ID: string; Attributes: Record<string, string> } })
    const lives = ['create', 'mount', 'unmount', 'mount', 'unmount']
    const named = events.filter(({ Actor: { ID } }) => ID === volume)
    expect(named.map(({ Action }) => Action)).toEqual(lives)
    const driver = 'local'
    expect(named.slice(1, 3).map(({ Actor }) => Actor.Attributes)).toEqual([
      { driver, container: id, destination: '/data', 'read/write': 'false' },
      { driver, container: id },
    ])
    const anonymous = events.find(({ Actor }) => Actor.Attributes['destination'] === '/anonymous')?.Actor.ID
    expect(events.flatMap(({ Action, Actor: { ID } }) => (ID === anonymous ? Action : []))).toEqual([
      ...lives,
      'destroy',
    ])
  })

  it('are followed while they happen, over a rotation that a monitor makes, to the end by a signal', async () => {
    const name = newName()
    const since = String(Date.now() / 1000)
    const flags = ['--since', since, '--filter', `container=${name}`, '--format', '{{.Action}}']
    const follower = machine.tscrun(['events', ...flags])
    let seen = ''
    follower.stdout.on('data', (chunk: Buffer) => {
      seen += String(chunk)
    })
    await detach(name, 'exec sleep 1000', '--rm')
    await until(() => seen === 'create\nstart\n')
    const log = join(machine.store, 'events.log')
    appendFileSync(log, `${'x'.repeat(2 ** 20)}\n`)
    process.kill(Number((await out('inspect', '-f', '{{.State.Pid}}', name)).trim()), 'SIGKILL')
    await gone(name)
    expect(existsSync(`${log}.1`)).toBe(true)
    await until(() => seen.endsWith('die\ndestroy\n'))
    follower.kill('SIGINT')
    expect((await follower).exitCode).toBe(130)
  })

  it('tell of a container whose monitor was killed, when it is put right', async () => {
    const name = newName()
    await detach(name, 'exec sleep 1000')
    const pid = Number((await out('inspect', '-f', '{{.State.Pid}}', name)).trim())
    process.kill(pidOf(`tscrun: ${name}`) ?? 0, 'SIGKILL')
    await until(() => !isAlive(pid))
    await out('ps')
    expect((await told('{{.Action}} {{.ContainerExitCode}}', name)).at(-1)).toBe('die 137')
  })

  it('are an iterable of the library', async () => {
    const engine = createEngine({ root: machine.store, runRoot: machine.runRoot })
    const container = await engine.create(undefined, ['true'], { rootfs: { path: machine.rootfs, overlay: true } })
    await container.start()
    await container.wait()
    await container.remove()
    const actions: string[] = []
    for await (const { action } of engine.events({ follow: false, filter: { container: [container.id] } }))
      actions.push(action)
    expect(actions).toEqual(['create', 'start', 'die', 'destroy'])
  })
})

describe('rename', () => {
  it('gives a stopped and a running container a name that no other has', async () => {
    const [first, second, third] = [newName(), newName(), newName()]
    await out('create', '--name', first, '--rootfs', `${machine.rootfs}:O`, 'true')
    const id = (await detach(second, 'exec sleep 1000')).trim()
    await out('rename', first, third)
    await out('rename', second, first)
    expect((await out('ps', '-a', '--format', '{{.Names}} {{.State}}')).split('\n').toSorted()).toEqual(
      ['', `${first} running`, `${third} created`].toSorted(),
    )
    expect(await out('inspect', '-f', '{{.Id}}', first)).toBe(`${id}\n`)
    const taken = await machine.tscrun(['rename', first, third])
    expect(taken.exitCode).toBe(125)
    expectOneLine(taken.stderr, /^tscrun: name "told\d+": it is in use by container/)
    const old = await machine.tscrun(['rename', second, newName()])
    expectOneLine(old.stderr, /^tscrun: container told\d+: there is none/)
    const bad = await machine.tscrun(['rename', first, 'no/name'])
    expectOneLine(bad.stderr, /^tscrun: name "no\/name": not a container name/)
  })

  it('of one with --rm is what its monitor removes, and leaves its old name to another', async () => {
    const [first, second] = [newName(), newName()]
    await detach(first, 'exec sleep 1000', '--rm')
    const monitor = pidOf(`tscrun: ${first}`) ?? 0
    await out('rename', first, second)
    await detach(first, 'exec sleep 1000')
    const pid = Number((await out('inspect', '-f', '{{.State.Pid}}', second)).trim())
    process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(monitor))
    expect(readdirSync(join(machine.store, 'names'))).toEqual([first])
    expect((await told('{{.Action}}', second)).slice(-2)).toEqual(['die', 'destroy'])
  })

  it('of one in the foreground holds when it has ended', async () => {
    const [first, second] = [newName(), newName()]
    const running = machine.tscrun(
      ['run', '-i', '--name', first, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', 'echo up; read x'],
      { stdin: 'pipe' },
    )
    await new Promise((resolve) => running.stdout.once('data', resolve))
    await out('rename', first, second)
    running.stdin?.end('\n')
    expect((await running).exitCode).toBe(0)
    expect(await out('ps', '-a', '--format', '{{.Names}} {{.Status}}')).toMatch(new RegExp(`^${second} Exited \\(0\\)`))
    expect(readdirSync(join(machine.store, 'names'))).toEqual([second])
  })

  it('that was killed half way is mended by ps', async () => {
    const [first, second] = [newName(), newName()]
    const id = (await out('create', '--name', first, '--rootfs', `${machine.rootfs}:O`, 'true')).trim()
    // The link first, then the record.
    renameSync(join(machine.store, 'names', first), join(machine.store, 'names', second))
    expect(await out('inspect', '-f', '{{.Id}}', second)).toBe(`${id}\n`)
    await out('ps', '-a')
    expect(JSON.parse(readFileSync(join(machine.store, 'containers', id, 'container.json'), 'utf8'))).toMatchObject({
      name: second,
    })
  })
})
