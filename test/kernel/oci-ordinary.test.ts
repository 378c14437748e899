import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { OciConfig } from '../../src/model/config.ts'
import type { Ended } from '../oci/fixtures/place.ts'
import { until } from './fixtures/machine.ts'
import { hasEnded, makeOciHost, type OciHost, RUNTIME, running } from './fixtures/oci.ts'

let host: OciHost
beforeAll(async () => {
  host = await makeOciHost()
})
afterAll(() => host.dispose())
afterEach(() => host.clear())

/** Whoever needs Node fails here. */
const WITHOUT_NODE = { env: { TSCRUN_NODE: '/nowhere/node' } }
const BY_NODE = { env: { TSCRUN_BY_NODE: '1' } }
/** What a container is in at the start of a test. */
const STATES = ['created', 'running', 'paused', 'stopped'] as const

async function make(
  id: string,
  state: (typeof STATES)[number],
  change?: (config: OciConfig) => OciConfig,
): Promise<void> {
  await host.create(id, host.bundle(change))
  if (state === 'created') return
  await host.ok(['start', id])
  if (state === 'paused') await host.ok(['pause', id])
  if (state === 'stopped') {
    const pid = await pidOf(id)
    await host.ok(['kill', id, 'KILL'])
    await until(() => hasEnded(pid))
  }
}

const pidOf = async (id: string): Promise<number> => (JSON.parse(await host.ok(['state', id])) as { pid: number }).pid

describe('what engines call again and again', () => {
  it('is done without Node, and a log is there afterwards', async () => {
    await make('plain', 'created')
    const pid = await pidOf('plain')
    const log = join(host.place.directory, 'plain.log')
    const done = async (...words: string[]): Promise<string> => {
      const flags = [`--log=${log}`, '--log-format', 'json', '--systemd-cgroup']
      const ended = await host.place.run([RUNTIME, ...flags, '--root', host.root, ...words], WITHOUT_NODE)
      expect([words, ended.exitCode, ended.stderr]).toEqual([words, 0, ''])
      return ended.stdout
    }
    expect(JSON.parse(await done('state', 'plain'))).toMatchObject({ id: 'plain', status: 'created', pid })
    expect(fs.readFileSync(log, 'utf8')).toBe('')
    await done('start', 'plain')
    expect(fs.readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('sleep\n')
    expect(JSON.parse(await done('state', 'plain'))).toMatchObject({ status: 'running', pid })
    await done('kill', 'plain', 'SIGSTOP')
    await until(() => /^State:\s+T/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8')))
    await done('kill', 'plain', '9')
    await until(() => hasEnded(pid))
    expect(JSON.parse(await done('state', 'plain'))).toMatchObject({ status: 'stopped', pid: 0 })
    await done('delete', 'plain')
    expect(host.traces()).toEqual([])
    await done('delete', '--force', 'plain')
  })

  it.each(STATES)('of a container that is %s says what Node says, and does the same', async (state) => {
    const calls = [
      ['state', '@'],
      ['kill', '@', '0'],
      ['kill', '@', 'SIGNOSUCH'],
      ['kill', '--all', '@', '0'],
      ['start', '@'],
      ['state', '@'],
      ['delete', '@'],
      ['delete', '-f', '@'],
      ['state', '@'],
      ['delete', '@'],
      ['delete', '--force', '@'],
    ]
    const said = async (id: string, options?: typeof BY_NODE): Promise<unknown[]> => {
      await make(id, state, (config) => ({ ...config, annotations: { 'a\u0001"b': 'c\n"pid": 7,\n' } }))
      const pid = await pidOf(id)
      const answers: unknown[] = []
      for (const call of calls) {
        const words = call.map((word) => word.replace('@', id))
        const { exitCode, stdout, stderr }: Ended = await host.oci(words, options)
        const plain = (text: string): string =>
          text
            .replaceAll(id, 'ID')
            .replace(`"pid": ${pid}`, '"pid": PID')
            .replace(/bundle\d+|T[0-9:.]+Z/g, '')
        answers.push([call.join(' '), exitCode, plain(stdout), plain(stderr)])
      }
      return answers
    }
    expect(await said('ours')).toEqual(await said('nodes', BY_NODE))
    expect(host.traces()).toEqual([])
  })

  it('tells why a command does not run, and holds the lock until then', async () => {
    const slow = 'sleep 0.5; echo the reason; exit 3'
    const failing = (config: OciConfig): OciConfig => ({
      ...config,
      hooks: { startContainer: [{ path: '/bin/sh', args: ['sh', '-c', slow], env: ['PATH=/bin'] }] },
    })
    await make('fails', 'created', failing)
    const start = host.oci(['start', 'fails'])
    await until(() => !fs.existsSync(join(host.root, 'fails', 'gate')) || heldBySomebody(join(host.root, 'fails')))
    // It waits for the first one, and then there is nothing to start.
    const second = await host.oci(['start', 'fails'])
    const first = await start
    expect([first.exitCode, first.stderr]).toEqual([
      1,
      expect.stringContaining('hooks.startContainer[0] /bin/sh: exit status 3: the reason'),
    ])
    expect([second.exitCode, second.stderr]).toEqual([1, expect.stringContaining('that is stopped')])
  })

  it('is left to Node where there is more to it: hooks, or a form that is newer', async () => {
    const said = join(host.place.directory, 'hooks')
    const hook = { path: '/bin/sh', args: ['sh', '-c', `echo $0 >>${said}`] }
    const named = (name: string) => [{ ...hook, args: [...hook.args, name] }]
    await make('hooks', 'created', (config) => ({
      ...config,
      hooks: { poststart: named('poststart'), poststop: named('poststop') },
    }))
    const brief = join(host.root, 'hooks', 'brief')
    for (const verb of ['start', 'delete']) {
      const ended = await host.oci([verb, 'hooks'], WITHOUT_NODE)
      expect([verb, ended.exitCode, ended.stderr]).toEqual([verb, 125, expect.stringContaining('/nowhere/node')])
    }
    await host.ok(['start', 'hooks'])
    fs.writeFileSync(brief, fs.readFileSync(brief, 'latin1').replace(/^1\n/, '2\n'))
    expect((await host.oci(['state', 'hooks'], WITHOUT_NODE)).exitCode).toBe(125)
    expect(await host.status('hooks')).toBe('running')
    await host.ok(['delete', '--force', 'hooks'])
    expect(fs.readFileSync(said, 'utf8')).toBe('poststart\npoststop\n')
  })

  it('goes on where a delete was interrupted, and empties a cgroup that is not empty', async () => {
    await make('half', 'stopped')
    fs.rmSync(join(host.root, 'half', 'brief'))
    await host.ok(['delete', 'half'])
    await make('full', 'stopped', running('sleep', '1000'))
    fs.mkdirSync(join(host.place.cgroup, 'tscrun-runtime/full/inner'))
    await host.ok(['delete', 'full'])
    expect(host.traces()).toEqual([])
  })
})

/** Of the locks of all processes (proc_locks(5)), by inode. */
function heldBySomebody(directory: string): boolean {
  return fs.readFileSync('/proc/locks', 'utf8').includes(`:${fs.statSync(directory).ino} `)
}
