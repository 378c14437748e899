import { createReadStream, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { execa } from 'execa'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type * as Tscrun from '../../src/index.ts'
import { expectNothingLeft, useMachine, PROJECT, until } from './fixtures/machine.ts'

const machine = useMachine()
let tscrun: typeof Tscrun
let engine: Tscrun.Engine
beforeAll(async () => {
  // As a program gets it: the built file, through the package's own exports.
  tscrun = (await import(join(PROJECT, 'dist/index.js'))) as typeof Tscrun
  engine = tscrun.createEngine({ root: machine.store, runRoot: machine.runRoot })
})
afterEach(() => expectNothingLeft(machine))

const run = (args: readonly string[], options: Tscrun.RunCallOptions = {}): Tscrun.RunHandle =>
  engine.run(undefined, args, { rootfs: { path: machine.rootfs, overlay: true }, ...options })

describe('run()', () => {
  it('resolves to how the container ended and what it wrote', async () => {
    expect(await run(['sh', '-c', 'echo out; echo err >&2'])).toEqual({
      exitCode: 0,
      signal: undefined,
      oomKilled: false,
      timedOut: false,
      stdout: 'out\n',
      stderr: 'err\n',
    })
  })

  it('rejects with ExitError where the exit code is not 0, with the whole result', async () => {
    const error = await run(['sh', '-c', 'echo out; echo "what went wrong" >&2; exit 7']).catch(
      (error: unknown) => error,
    )
    expect(error).toBeInstanceOf(tscrun.ExitError)
    expect(error).toMatchObject({
      name: 'ExitError',
      result: { exitCode: 7, stdout: 'out\n', stderr: 'what went wrong\n' },
    })
    expect((error as Error).message).toMatch(/exited with 7: what went wrong$/)
  })

  it('resolves with reject: false', async () => {
    expect(await run(['sh', '-c', 'exit 7'], { reject: false })).toMatchObject({ exitCode: 7, signal: undefined })
    expect(await run(['sh', '-c', 'kill -9 $$'], { reject: false, init: true })).toMatchObject({ exitCode: 137 })
  })

  it('gives each of many equal containers an identity of its own, and those that fail the same words', async () => {
    const script =
      'hostname; cat /etc/hostname /proc/self/uid_map; stat -c %u:%g /dev/shm /proc/1/fd/1; grep -c "$(hostname)" /etc/hosts'
    const seen = new Set<string>()
    for (let count = 0; count < 8; count++) {
      const { stdout } = await run(['sh', '-c', script], { user: 'alice', stdin: true })
      const [hostname, file, map, shm, stream, ...rest] = stdout.trimEnd().split('\n')
      expect([file, shm, stream, ...rest]).toEqual([hostname, '0:0', '1000:1000', '1'])
      seen.add(`${hostname} ${map}`)
    }
    expect(seen.size).toBe(8)
    for (let count = 0; count < 5; count++) {
      await expect(run(['nowhere'])).rejects.toMatchObject({ code: 'COMMAND_NOT_FOUND', subject: 'nowhere' })
    }
  })

  it('rejects with TscrunError where it cannot be started', async () => {
    await expect(run(['absent'])).rejects.toMatchObject({
      name: 'TscrunError',
      code: 'COMMAND_NOT_FOUND',
      syscall: 'execve',
      errno: 'ENOENT',
      subject: 'absent',
      hint: expect.any(String),
    })
    await expect(run(['true'], { user: 'mallory', reject: false })).rejects.toMatchObject({ code: 'USER_NOT_FOUND' })
    await expect(engine.run(undefined, ['true'])).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('takes input as text, bytes and a stream', async () => {
    expect((await run(['cat'], { input: 'text' })).stdout).toBe('text')
    expect((await run(['wc', '-c'], { input: new Uint8Array(300_000) })).stdout).toBe('300000\n')
    expect((await run(['cat'], { input: Readable.from(['a', 'b', 'c']) })).stdout).toBe('abc')
    expect((await run(['true'], { input: Buffer.alloc(1_000_000) })).exitCode).toBe(0)
  })

  it('kills where its input fails, also one that has failed before', async () => {
    const missing = createReadStream(join(machine.directory, 'gone'))
    await expect(run(['cat'], { input: missing })).rejects.toMatchObject({
      code: 'ABORTED',
      message: expect.stringMatching(/: its input failed: ENOENT: /),
      cause: { code: 'ENOENT' },
    })
    const breaking = Readable.from(
      (async function* () {
        yield 'a'
        throw new Error('broken')
      })(),
    )
    await expect(run(['cat'], { input: breaking, reject: false })).rejects.toMatchObject({
      cause: { message: 'broken' },
    })
    const destroyed = Readable.from(['a'])
    destroyed.destroy()
    await expect(run(['cat'], { input: destroyed })).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(run(['cat'], { input: Readable.from(['a', 5]) })).rejects.toMatchObject({
      code: 'ABORTED',
      message: expect.stringMatching(/: its input failed: it brings a value of type number, not bytes or text$/),
    })
  })

  it('destroys an input that is not read to its end, and only that', async () => {
    const endless = (): Readable => createReadStream('/dev/zero')
    const streams = [endless(), endless(), endless()]
    const [ended, closed, failed] = streams
    await run(['true'], { input: ended! })
    const { stdout } = await run(['sh', '-c', 'exec <&-; sleep 0.2; echo goes on'], { input: closed! })
    expect(stdout).toBe('goes on\n')
    await run(['/no/such/program'], { input: failed! }).catch(() => undefined)
    await until(() => streams.every(({ destroyed }) => destroyed))
    const read = new PassThrough({ autoDestroy: false })
    read.end('all')
    expect((await run(['cat'], { input: read })).stdout).toBe('all')
    expect(read.destroyed).toBe(false)
  })

  it('refuses what is no option, and starts nothing', async () => {
    for (const [options, words] of [
      [{ input: 42 }, 'option input: 42 is not a string, bytes or a Readable'],
      [{ readonly: true }, 'option readonly: there is none of this name'],
      [{ network: 'nonne' }, 'option network: "nonne" is not none, host or bridge'],
    ] as const) {
      const wrong = options as unknown as Tscrun.RunCallOptions
      await expect(run(['sleep', '1000'], wrong)).rejects.toMatchObject({ code: 'USAGE', message: words })
      await expect(engine.start('gone', [], wrong)).rejects.toMatchObject({ code: 'USAGE' })
      await expect(engine.dryRun('gone', [], wrong)).rejects.toMatchObject({ code: 'USAGE' })
    }
    expect(machine.containers()).toEqual([])
  })

  it('gives no input unless asked to', async () => {
    const handle = run(['sh', '-c', 'readlink /proc/self/fd/0; cat'])
    expect(handle.stdin).toBe(null)
    expect((await handle).stdout).toBe('/dev/null\n')
  })

  it('has streams while it runs', async () => {
    const handle = run(['sh', '-c', 'while read line; do echo "<$line>"; done'], { stdin: true })
    const answer = (): Promise<string> =>
      new Promise((resolve) => handle.stdout.once('data', (chunk: Buffer) => resolve(String(chunk))))
    handle.stdin?.write('one\n')
    expect(await answer()).toBe('<one>\n')
    handle.stdin?.write('two\n')
    expect(await answer()).toBe('<two>\n')
    handle.stdin?.end()
    expect((await handle).stdout).toBe('<one>\n<two>\n')
  })

  it('collects what its caller reads as text, too', async () => {
    const handle = run(['printf', '\\303\\244 \\303\\266'])
    let text = ''
    handle.stdout.setEncoding('utf8').on('data', (part: string) => (text += part))
    expect((await handle).stdout).toBe('ä ö')
    expect(text).toBe('ä ö')
  })

  it('does not collect with buffer: false, and waits for the reader', async () => {
    const handle = run(['probe', 'count', '20'], { buffer: false })
    let size = 0
    for await (const chunk of handle.stdout) size += (chunk as Buffer).length
    expect(size).toBe(20 * 65536 * 16)
    expect(await handle).toMatchObject({ exitCode: 0, stdout: '' })
  })

  it('kills what writes more than maxBuffer', async () => {
    await expect(run(['yes'], { maxBuffer: 10_000 })).rejects.toMatchObject({ code: 'OUTPUT_LIMIT' })
  })

  it('kills when timeoutMs is over', async () => {
    await expect(run(['sleep', '1000'], { timeoutMs: 200 })).rejects.toMatchObject({
      name: 'ExitError',
      message: expect.stringMatching(/timed out after 200 ms$/),
      result: { timedOut: true, exitCode: 137, signal: 'SIGKILL' },
    })
    expect(await run(['sleep', '1000'], { timeoutMs: 200, reject: false })).toMatchObject({ timedOut: true })
  })

  it('waits for a time that is longer than a timer of Node', async () => {
    expect(await run(['echo', 'done'], { timeoutMs: 2 ** 31 })).toMatchObject({ stdout: 'done\n', timedOut: false })
  })

  it('kills, cleans up and then rejects when aborted', async () => {
    const controller = new AbortController()
    const handle = run(['sh', '-c', 'echo up; exec sleep 1000'], { signal: controller.signal })
    handle.stdout.once('data', () => controller.abort(new Error('enough')))
    await expect(handle).rejects.toMatchObject({ code: 'ABORTED', cause: { message: 'enough' } })
    expectNothingLeft(machine)
  })

  it('starts nothing where it was aborted before', async () => {
    await expect(run(['true'], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
      cause: { name: 'AbortError' },
    })
    expect(machine.containers()).toEqual([])
  })

  it('kill() signals the container', async () => {
    const handle = run(['probe', 'signals'], { reject: false })
    const seen: string[] = []
    handle.stdout.on('data', (chunk: Buffer) => seen.push(String(chunk)))
    await until(() => seen.join('').includes('ready'))
    expect(() => handle.kill('SIGFOO' as NodeJS.Signals)).toThrow(/"SIGFOO" is not the name of a signal/)
    handle.kill('SIGUSR1')
    await until(() => seen.join('').includes('signal 10'))
    handle.kill()
    expect(await handle).toMatchObject({ exitCode: 3 })
  })

  it('takes the options of the command line', async () => {
    const options = {
      user: 'alice',
      env: ['A=b'],
      workdir: '/tmp',
      hostname: 'box',
      readOnly: true,
      capDrop: ['ALL'],
      volumes: [{ source: machine.directory, target: '/v', readonly: true }],
    }
    expect(
      (
        await run(
          [
            'sh',
            '-c',
            'id -un; echo $A; pwd; hostname; touch /x 2>/dev/null || echo ro; touch /v/x 2>/dev/null || echo ro',
          ],
          options,
        )
      ).stdout,
    ).toBe('alice\nb\n/tmp\nbox\nro\nro\n')
  })

  it('lets the user of the container open its streams again by name', async () => {
    expect(await run(['sh', '-c', 'echo out > /dev/stdout; echo err > /dev/stderr'], { user: '1000' })).toMatchObject({
      stdout: 'out\n',
      stderr: 'err\n',
    })
  })

  it('keeps two engines and many runs at once apart', async () => {
    const other = tscrun.createEngine({
      root: join(machine.directory, 'other'),
      runRoot: join(machine.directory, 'other-run'),
    })
    const all = Array.from({ length: 12 }, (_, index) =>
      (index % 2 === 0 ? engine : other).run(undefined, ['sh', '-c', `echo ${index}`], {
        rootfs: { path: machine.rootfs, overlay: true },
      }),
    )
    expect((await Promise.all(all)).map(({ stdout }) => stdout)).toEqual(all.map((_, index) => `${index}\n`))
  })

  it('holds every container of a process to the device rules, also those that share a loaded filter', async () => {
    const open = (node: string): Promise<Tscrun.RunResult> =>
      run(['sh', '-c', `mknod /tmp/node ${node} && head -c 0 /tmp/node`], {
        namespaces: { user: 'host' },
        reject: false,
      })
    for (let round = 0; round < 3; round++) {
      expect(await open('c 1 3')).toMatchObject({ exitCode: 0, stderr: '' })
      expect(await open('c 1 11')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('not permitted') })
    }
  })

  it('leaks no descriptors', async () => {
    // From the second container on a process keeps the device filter.
    await run(['true'])
    await run(['true'])
    const before = readdirSync('/proc/self/fd').length
    for (let round = 0; round < 10; round++) await run(['true'])
    await run(['absent']).catch(() => undefined)
    expect(await until(() => readdirSync('/proc/self/fd').length <= before)).toBe(true)
  })
})

describe('the other verbs', () => {
  it('plan() tells what would be done and touches nothing', async () => {
    expect(String(await engine.dryRun(undefined, ['sh'], { rootfs: { path: machine.rootfs, overlay: true } }))).toMatch(
      /^parent .*\n.*child[\s\S]*exec command=sh/,
    )
  })

  it('plan() has every step of both columns, in order', async () => {
    const { parent, child, teardown } = await engine.dryRun(undefined, ['sh', '-c', 'id'], {
      rootfs: { path: machine.rootfs, overlay: true },
    })
    const ops = child.map(({ op }) => op)
    expect(parent.map(({ op }) => op)).toContain('clone')
    expect(ops.indexOf('pivot_root')).toBeGreaterThan(-1)
    expect(ops.indexOf('exec')).toBe(ops.length - 1)
    expect(child.at(-1)).toMatchObject({ command: 'sh', args: ['sh', '-c', 'id'] })
    expect(teardown.length).toBeGreaterThan(0)
  })

  it('ps() sees a run under way', async () => {
    const handle = run(['cat'], { stdin: true, name: 'seen', labels: { a: 'b' } })
    let container: Tscrun.ContainerSummary | undefined
    while (container === undefined) [container] = await engine.ps({ all: false })
    expect(container).toMatchObject({ name: 'seen', status: 'running', labels: { a: 'b' }, command: ['cat'] })
    handle.stdin?.end()
    await handle
    expect(await engine.ps({ all: true })).toEqual([])
  })
})

describe('the signal of an engine', () => {
  it('ends what its caller waits for, and nothing else', async () => {
    const controller = new AbortController()
    const own = tscrun.createEngine({ root: machine.store, runRoot: machine.runRoot, signal: controller.signal })
    const view = { rootfs: { path: machine.rootfs, overlay: true }, network: 'none' } as const
    await using container = await own.start(undefined, ['sh', '-c', 'echo up; exec sleep 1000'], view)
    await tscrun.waitFor.log(container, /up/)
    const waits = [
      own.run(undefined, ['sleep', '1000'], view),
      container.exec(['sleep', '1000'], { signal: new AbortController().signal }),
      container.wait(),
    ].map((waiting) => waiting.catch((error: unknown) => error))
    expect(await until(async () => (await container.top()).processes.length === 2)).toBe(true)
    controller.abort(new Error('enough'))
    for (const wait of waits) expect(await wait).toMatchObject({ code: 'ABORTED', cause: { message: 'enough' } })
    await expect(own.run(undefined, ['true'], view)).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(own.start(undefined, ['true'], view)).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(container.copyOut('/etc', join(machine.directory, 'copy'))).rejects.toMatchObject({ code: 'ABORTED' })
    expect((await engine.list()).map(({ id }) => id)).toEqual([container.id])
  })
})

describe('a program of its own', () => {
  let project = ''
  beforeAll(() => {
    project = join(machine.directory, 'project')
    mkdirSync(join(project, 'node_modules'), { recursive: true })
    symlinkSync(PROJECT, join(project, 'node_modules/tscrun'))
    writeFileSync(join(project, 'package.json'), '{"name":"consumer"}')
  })

  const body = (): string => `
    const engine = createEngine({ root: ${JSON.stringify(machine.store)}, runRoot: ${JSON.stringify(machine.runRoot)} })
    engine.run(undefined, ['echo', 'hello'], { rootfs: { path: ${JSON.stringify(machine.rootfs)}, overlay: true } }).then(({ stdout }) => process.stdout.write(stdout))`

  it.each([
    ['an ES module', 'esm.mjs', "import { createEngine } from 'tscrun'\n"],
    ['CommonJS', 'cjs.cjs', "const { createEngine } = require('tscrun')\n"],
    [
      'a Worker',
      'worker.mjs',
      "import { createEngine } from 'tscrun'\nimport { isMainThread, Worker } from 'node:worker_threads'\nif (isMainThread) { new Worker(new URL(import.meta.url)) } else\n",
    ],
  ])('as %s runs a container, says nothing else, and ends by itself', async (_, name, head) => {
    const path = join(project, name)
    writeFileSync(path, name.startsWith('worker') ? `${head} {${body()} }` : head + body())
    const { stdout, stderr, exitCode } = await execa(process.execPath, [path], { reject: false, timeout: 30_000 })
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'hello', stderr: '', exitCode: 0 })
  })

  it('too many at once for its open files each reject, none throws, and later ones run', async () => {
    const path = join(project, 'many.mjs')
    const lines = [
      "import { createEngine } from 'tscrun'",
      `const engine = createEngine(${JSON.stringify({ root: machine.store, runRoot: machine.runRoot })})`,
      `const options = ${JSON.stringify({ rootfs: { path: machine.rootfs, overlay: true }, network: 'none' })}`,
      "const one = () => engine.run(undefined, ['echo', 'hello'], options)",
      'await one()',
      'const all = await Promise.allSettled(Array.from({ length: 100 }, one))',
      "const words = all.flatMap(({ reason }) => (reason?.code === 'KERNEL_REFUSED' ? [reason.message] : []))",
      "console.log(new Set(words).size, words[0], '|', (await one()).stdout)",
    ]
    writeFileSync(path, lines.join('\n'))
    const { stdout, stderr } = await execa('sh', ['-c', 'ulimit -n 100; exec "$0" "$1"', process.execPath, path])
    const words = `run ${machine.rootfs}: its streams cannot be made (EMFILE)`
    expect({ stdout: stdout.trim(), stderr }).toEqual({ stdout: `1 ${words} | hello`, stderr: '' })
    expectNothingLeft(machine)
  })

  it('imports it without doing anything', async () => {
    const path = join(project, 'import.mjs')
    writeFileSync(path, "import * as all from 'tscrun'\nconsole.log(Object.keys(all).sort().join())")
    const { stdout, stderr } = await execa(process.execPath, [path])
    expect({ stdout, stderr }).toEqual({
      stdout: 'ExitError,TscrunError,createEngine,createNetwork,createVolume,doctor,plan,pull,run,start,waitFor',
      stderr: '',
    })
  })
})
