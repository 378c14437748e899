import { readFileSync } from 'node:fs'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Container, createEngine, type Engine, ExitError, TscrunError, waitFor } from '../../src/index.ts'
import { makeHostNetwork } from './fixtures/host-network.ts'
import { expectNothingLeft, isAlive, makeMachine, useMachine, pidOf, until } from './fixtures/machine.ts'

const machine = useMachine()
let engine: Engine
beforeAll(() => {
  engine = createEngine({ root: machine.store, runRoot: machine.runRoot })
})
afterEach(async () => {
  for (const id of machine.containers()) await engine.remove(id, { force: true })
  expectNothingLeft(machine)
})

const SERVER = 'echo starting; sleep 0.2; echo "listening on 80"; exec sleep 1000'
const start = (script: string, name?: string): Promise<Container> =>
  engine.start(undefined, ['sh', '-c', script], {
    rootfs: { path: machine.rootfs, overlay: true },
    ...(name === undefined ? {} : { name }),
  })
const pidIn = async (container: Container): Promise<number> =>
  ((await container.inspect())['State'] as { Pid: number }).Pid

describe('a container that a program starts', () => {
  it('is waited for by its log, used, and gone with its disposal', async () => {
    let pid = 0
    {
      await using container = await start(SERVER)
      expect(await waitFor.log(container, /listening on (\d+)/)).toBe('listening on 80')
      pid = await pidIn(container)
      expect(isAlive(pid)).toBe(true)
      const { stdout } = await container.exec(['sh', '-c', 'tr a-z A-Z'], { input: 'shout' })
      expect(stdout).toBe('SHOUT')
    }
    expect(isAlive(pid)).toBe(false)
    expectNothingLeft(machine)
  })

  it('leaves no zombie of its monitor behind in the program', async () => {
    const container = await start('exec sleep 1000', 'collected')
    const monitor = pidOf('tscrun: collected') ?? 0
    await container.stop({ timeoutMs: 50 })
    await until(() => !existsInProc(monitor))
    expect(monitor).toBeGreaterThan(0)
    await container.remove()
    await container.remove()
  })

  it('goes on where the test suite has stopped the clock', async () => {
    vi.useFakeTimers()
    try {
      const once = { rootfs: { path: machine.rootfs, overlay: true }, timeoutMs: 60_000 }
      for (const word of ['one', 'two', 'three', 'four']) {
        expect((await engine.run(undefined, ['sh', '-c', `sleep 0.05; echo ${word}`], once)).stdout).toBe(`${word}\n`)
      }
      await using container = await start('sleep 0.2; echo later; exec sleep 1000')
      expect(await waitFor.log(container, 'later')).toBe('later')
      expect((await container.exec(['echo', 'x'])).stdout).toBe('x\n')
      await container.stop({ timeoutMs: 50 })
      expect(await container.wait()).toMatchObject({ exitCode: 137 })
    } finally {
      vi.useRealTimers()
    }
  })

  it('is not there where its start was given up, however late', async () => {
    for (const ms of [1, 2, 4, 8, 16]) {
      const controller = new AbortController()
      const { signal } = controller
      const rootfs = { path: machine.rootfs, overlay: true }
      const starting = engine.start(undefined, ['sleep', '1000'], { rootfs, signal })
      setTimeout(() => controller.abort(), ms)
      const outcome = await starting.then(
        (container) => ({ container, aborted: signal.aborted }),
        (error: unknown) => error,
      )
      if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'ABORTED' })
      else expect(outcome).toMatchObject({ aborted: false })
      await Promise.all((await engine.list({ all: true })).map((container) => container.remove()))
    }
  })

  it('gives every line it wrote, and ends with it', async () => {
    await using container = await start('echo one; echo two >&2; exit 6')
    expect(await container.wait()).toMatchObject({ exitCode: 6 })
    const lines: string[] = []
    for await (const { stream, bytes } of container.logs({ follow: true })) lines.push(`${stream}:${bytes.toString()}`)
    expect(lines.toSorted()).toEqual(['stderr:two\n', 'stdout:one\n'])
  })

  it('is waited for however close to its end', async () => {
    const codes = await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        await using container = await start(`exit ${index}`)
        return (await container.wait()).exitCode
      }),
    )
    expect(codes).toEqual(codes.map((_, index) => index))
  })

  it('starts again, is found by its name, and is frozen and thawed', async () => {
    await using container = await start('exec sleep 1000', 'found')
    await container.stop({ timeoutMs: 50 })
    await container.start()
    const again = await engine.get('found')
    expect(again.id).toBe(container.id)
    await again.pause()
    expect((await engine.ps({ all: false }))[0]?.status).toBe('paused')
    await again.unpause()
    await again.kill('SIGKILL')
    expect(await container.wait()).toMatchObject({ exitCode: 137 })
  })

  it('has a name, is listed, and knows the port of the host that leads to it', async () => {
    // What a network leaves in the directories is not for the other tests.
    const own = makeMachine()
    const net = await makeHostNetwork(own)
    try {
      const listed = createEngine({ root: own.store, runRoot: own.runRoot })
      const image = ['--rootfs', `${own.rootfs}:O`]
      await net.tscrun(['run', '-d', '--name', 'served', '--network', 'bridge', '-p', '80', ...image, 'sleep', '1000'])
      const [container, ...others] = await listed.list({ filter: { name: ['^served$'] } })
      expect(others).toEqual([])
      await container?.rename('renamed')
      expect(container?.name).toBe('renamed')
      expect((await listed.get('renamed')).name).toBe('renamed')
      const port = (await container?.port(80)) ?? 0
      expect(await net.host('nft list table inet tscrun')).toContain(` ${port} `)
      await expect(container?.port(80, 'udp')).rejects.toMatchObject({ code: 'USAGE' })
      await net.tscrun(['rm', '-f', 'renamed'])
      expect(await listed.list({ all: true })).toEqual([])
    } finally {
      net.dispose()
      own.dispose()
    }
  })

  it('tells that it was ended by its time, however one asks', async () => {
    const rootfs = { path: machine.rootfs, overlay: true }
    const late = { exitCode: 255, signal: 'SIGKILL', oomKilled: false, timedOut: true }
    await using container = await engine.start(undefined, ['sleep', '1000'], { rootfs, timeoutMs: 300 })
    expect(await waitFor.exit(container)).toEqual(late)
    expect(await container.wait()).toEqual(late)
    await using other = await start('exec sleep 1000')
    await expect(other.exec(['sleep', '1000'], { timeoutMs: 50 })).rejects.toMatchObject({
      message: expect.stringMatching(/ timed out after 50 ms$/),
      result: { timedOut: true },
    })
    await other.kill()
    expect(await other.wait()).toEqual({ exitCode: 137, signal: 'SIGKILL', oomKilled: false, timedOut: false })
  })

  it('tells a command that fails from one that cannot be run', async () => {
    await using container = await start('exec sleep 1000')
    await expect(container.exec(['sh', '-c', 'exit 4'])).rejects.toBeInstanceOf(ExitError)
    expect((await container.exec(['sh', '-c', 'exit 4'], { reject: false })).exitCode).toBe(4)
    await expect(container.exec(['nosuch'])).rejects.toMatchObject({ code: 'COMMAND_NOT_FOUND' })
    const controller = new AbortController()
    const endless = container.exec(['sleep', '1000'], { signal: controller.signal })
    setTimeout(() => controller.abort(), 100)
    await expect(endless).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('that never writes what is waited for is told', async () => {
    await using container = await start('echo other; exec sleep 1000')
    await expect(waitFor.log(container, 'ready', { timeoutMs: 200 })).rejects.toMatchObject({ code: 'ABORTED' })
    await using ended = await start('echo other')
    await expect(waitFor.log(ended, 'ready')).rejects.toMatchObject({ code: 'CONTAINER_STATE' })
  })

  it('is found in its log by a pattern that remembers, and in a last line without a newline', async () => {
    await using container = await start('echo one; echo two; exec sleep 1000')
    const pattern = /o/g
    expect(await waitFor.log(container, pattern)).toBe('one')
    expect(await waitFor.log(container, pattern)).toBe('one')
    await using ended = await start('printf "ready now"')
    expect(await waitFor.log(ended, 'ready')).toBe('ready now')
    expect(await waitFor.log(ended, /^ready/)).toBe('ready now')
  })

  it('that cannot be started rejects and leaves nothing', async () => {
    await expect(start('x').then((container) => container.exec(['true']))).rejects.toBeInstanceOf(TscrunError)
    const failing = engine.start(undefined, ['/nosuch'], { rootfs: { path: machine.rootfs, overlay: true } })
    await expect(failing).rejects.toMatchObject({ code: 'COMMAND_NOT_FOUND' })
    await expect(engine.get('nosuch')).rejects.toMatchObject({ code: 'NO_SUCH_CONTAINER' })
  })
})

function existsInProc(pid: number): boolean {
  try {
    readFileSync(`/proc/${pid}/stat`)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

describe('waitFor', () => {
  const rootfs = (): { path: string; overlay: boolean } => ({ path: machine.rootfs, overlay: true })

  it('resolves when something listens on a port, without connecting to it', async () => {
    const script = 'sleep 0.3; nc -l -p 8080; exec sleep 1000'
    await using container = await engine.start(undefined, ['sh', '-c', script], { rootfs: rootfs() })
    await waitFor.port(container, 8080)
    expect(await container.exec(['nc', '127.0.0.1', '8080'], { input: 'x' })).toMatchObject({ exitCode: 0 })
    await expect(waitFor.port(container, 81, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('resolves when a health check has passed', async () => {
    const health = { command: 'test -e /ready', intervalMs: 30 }
    const script = 'sleep 0.3; touch /ready; exec sleep 1000'
    await using container = await engine.start(undefined, ['sh', '-c', script], { rootfs: rootfs(), health })
    await waitFor.healthy(container)
    expect(await container.checkHealth()).toBe(true)
    await using plain = await engine.start(undefined, ['sleep', '1000'], { rootfs: rootfs() })
    await expect(waitFor.healthy(plain)).rejects.toMatchObject({ code: 'CONTAINER_STATE' })
    await expect(plain.checkHealth()).rejects.toMatchObject({ code: 'CONTAINER_STATE' })
  })

  it('resolves to the exit code; a time or a signal ends the waiting, not the container', async () => {
    const options = { rootfs: rootfs(), interactive: true }
    await using container = await engine.start(undefined, ['sh', '-c', 'read x; exit 6'], options)
    await expect(waitFor.exit(container, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ABORTED' })
    const abort = new AbortController()
    const waiting = waitFor.exit(container, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED', message: 'wait for its end: aborted' })
    const end = waitFor.exit(container)
    await container.kill('SIGKILL')
    expect(await end).toMatchObject({ exitCode: 137 })
    await expect(waitFor.port(container, 80)).rejects.toMatchObject({ code: 'CONTAINER_STATE' })
  })
})
