import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { backgroundOf } from './fixtures/detached.ts'
import { expectNothingLeft, expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  await machine.tscrun(['rm', '-f', '-a'])
  expectNothingLeft(machine)
})

const { out } = backgroundOf(() => machine)
const make = (verb: 'create' | 'run', name: string, ...flags: string[]): Promise<string> =>
  out(
    verb,
    ...(verb === 'run' ? ['-d'] : []),
    '--name',
    name,
    ...flags,
    '--rootfs',
    `${machine.rootfs}:O`,
    'sleep',
    '1000',
  )
const sorted = (text: string): string[] => text.split('\n').slice(0, -1).toSorted()
const names = async (...flags: string[]): Promise<string[]> =>
  sorted(await out('ps', '--format', '{{.Names}}', ...flags))

describe('containers are chosen', () => {
  it('by state, age, label and number of the newest', async () => {
    await make('create', 'old', '--label', 'tier=back')
    await make('run', 'mid', '--label', 'tier=front', '--network', 'host')
    await make('run', 'new', '--label', 'tier=front')
    expect(await names()).toEqual(['mid', 'new'])
    expect(await names('-a', '--filter', 'before=new')).toEqual(['mid', 'old'])
    expect(await names('-a', '--filter', 'since=old', '--filter', 'label=tier=front')).toEqual(['mid', 'new'])
    expect(await names('--filter', 'network=host')).toEqual(['mid'])
    expect(await names('--filter', 'status=created')).toEqual(['old'])
    expect(await names('--filter', 'status=restarting')).toEqual([])
    expect(await names('-n', '2')).toEqual(['mid', 'new'])
    expect(await names('-l')).toEqual(['new'])
    expect(
      await out('ps', '-a', '--sort', 'names', '--noheading', '--format', 'table {{.Names}}\t{{.Label "tier"}}'),
    ).toMatch(/^mid +front\nnew +front\nold +back\n$/)
    const { stderr } = await machine.tscrun(['ps', '--filter', 'before=nobody'])
    expectOneLine(stderr, /^tscrun: container nobody: there is none/)
  })

  it('all at once, by a filter, as the latest, or by a file with an id', async () => {
    await make('run', 'one', '--label', 'x')
    await make('run', 'two', '--cidfile', join(machine.directory, 'two.cid'))
    expect(sorted(await out('pause', '--all'))).toEqual(['one', 'two'])
    expect(await out('unpause', '--filter', 'label=x')).toBe('one\n')
    expect(await names('--filter', 'status=paused')).toEqual(['two'])
    await out('unpause', '--latest')
    expect(await out('exec', '-l', 'echo', 'hi')).toBe('hi\n')
    expect(await out('inspect', '-l', '-f', '{{.Name}} {{.State.Running}}')).toBe('two true\n')
    expect((await out('top', '-l', 'pid')).split('\n')[1]).toBe('1')
    const id = await out('stop', '-t', '0', '--cidfile', join(machine.directory, 'two.cid'))
    expect(id).toMatch(/^[0-9a-f]{64}\n$/)
    expect(await out('wait', '-l')).toBe('137\n')
    expect(await out('kill', '--all')).toBe('one\n')
    expect(await out('start', '-l')).toBe('two\n')
    expect(await out('start', '--filter', 'label=x')).toBe('one\n')
    expect(await out('stop', '-t', '0', '--filter', 'label=x')).toBe('one\n')
    expect(await names('--filter', 'status=running')).toEqual(['two'])
    const both = await machine.tscrun(['stop', '--filter', 'label=x', 'two'])
    expectOneLine(both.stderr, /^tscrun: stop --filter: no container can be named/)
  })

  it('each with an error of its own; one that is not there is none with --ignore or by force', async () => {
    await make('create', 'there')
    const { exitCode, stdout, stderr } = await machine.tscrun(['rm', 'nowhere', 'there', 'nobody'])
    expect({ exitCode, stdout }).toEqual({ exitCode: 125, stdout: 'there\n' })
    expect(stderr.split('\n').map((line) => line.replace(/ \(.*/, ''))).toEqual([
      'tscrun: container nowhere: there is none',
      'tscrun: container nobody: there is none',
      '',
    ])
    expect(await out('rm', '--ignore', 'nowhere')).toBe('')
    expect(await out('rm', '-f', 'nowhere')).toBe('')
    expect(await out('stop', '--ignore', '--cidfile', join(machine.directory, 'nothing'))).toBe('')
    writeFileSync(join(machine.directory, 'gone.cid'), `${'ab'.repeat(32)}\n`)
    expect(await out('stop', '-i', '--cidfile', join(machine.directory, 'gone.cid'))).toBe('')
  })

  it('one way or the other', async () => {
    for (const [args, message] of [
      [['kill', '--all', 'x'], /^tscrun: kill --all: no container can be named/],
      [['rm', '--latest', 'x'], /^tscrun: rm --latest: no container can be named/],
      [['pause'], /^tscrun: pause: the container is missing/],
      [['logs'], /^tscrun: logs: the container is missing/],
      [['start', '--latest'], /^tscrun: container --latest: there is none/],
    ] as const) {
      const { exitCode, stderr } = await machine.tscrun(args)
      expect(exitCode).toBe(125)
      expectOneLine(stderr, message)
    }
  })

  it('to be pruned: those that do not run, by age and label', async () => {
    await make('create', 'keep', '--label', 'keep')
    await make('create', 'drop')
    await make('run', 'runs')
    expect(await out('container', 'prune', '-f', '--filter', 'until=1h')).toContain('Total reclaimed space: 0B')
    const pruned = await out('container', 'prune', '-f', '--filter', 'label!=keep')
    expect(pruned).toMatch(/^Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space: /)
    expect(await names('-a')).toEqual(['keep', 'runs'])
  })
})

describe('inspect', () => {
  it('has what templates ask for', async () => {
    const volume = join(machine.directory, 'volume')
    await make(
      'run',
      'full',
      '--network',
      'none',
      '-v',
      `${volume}:/volume:ro`,
      '--restart',
      'on-failure:3',
      '-i',
      '--user',
      '1:2',
    )
    const show = async (template: string): Promise<string> => (await out('inspect', '-f', template, 'full')).trim()
    expect(await show('{{.State.Status}} {{.State.Running}} {{.State.Restarting}} {{.State.ExitCode}}')).toBe(
      'running true false 0',
    )
    expect(await show('{{.RestartCount}} {{.Driver}} {{.Config.OpenStdin}} {{.Config.User}}')).toBe(
      '0 overlay true 1:2',
    )
    expect(await show('{{range .Mounts}}{{.Source}}:{{.Destination}}:{{.RW}}{{end}}')).toBe(`${volume}:/volume:false`)
    expect(await show('{{index .HostConfig.Binds 0}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}')).toBe(
      `${volume}:/volume:ro 3`,
    )
    expect(
      await show('{{.NetworkSettings.IPAddress}}|{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}'),
    ).toBe('|none')
    expect(await show('{{.NetworkSettings.SandboxKey}}')).toBe(`/proc/${await show('{{.State.Pid}}')}/ns/net`)
    expect(await show('{{.LogPath}}')).toBe(join(machine.store, 'containers', await show('{{.Id}}'), 'log'))
    expect(await out('inspect', '-s', '-f', '{{.SizeRw}} {{.SizeRootFs}}', 'full')).toBe('0 0\n')
    await out('pause', 'full')
    expect(await show('{{.State.Status}} {{.State.Running}} {{.State.Paused}}')).toBe('paused true true')
    await out('unpause', 'full')
  })
})
