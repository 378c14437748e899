import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { backgroundOf } from './fixtures/detached.ts'
import { cgroupsOf, expectNothingLeft, expectOneLine, useMachine, pidOf } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

const { out } = backgroundOf(() => machine)

const create = (flags: readonly string[], ...command: readonly string[]): Promise<string> =>
  out('create', ...flags, '--rootfs', `${machine.rootfs}:O`, ...command)
const state = (name: string): Promise<string> =>
  out('inspect', '-f', '{{.State.Status}} {{.State.Running}} {{.State.Pid}} {{.State.ExitCode}}', name)

describe('tscrun create', () => {
  it('makes a container that does not run, and prints its id', async () => {
    const cidfile = join(machine.directory, 'cid')
    const id = (await create(['--name', 'made', '--cidfile', cidfile], 'true')).trim()
    expect(id).toMatch(/^[0-9a-f]{64}$/)
    expect(readFileSync(cidfile, 'utf8')).toBe(id)
    expect(await state('made')).toBe('created false 0 0\n')
    expect(await out('ps', '-a', '--format', '{{.Names}} {{.State}} {{.Status}}')).toBe('made created Created\n')
    expect(await out('ps', '-q')).toBe('')
    expect({ cgroups: cgroupsOf(id), monitor: pidOf('tscrun: made') }).toEqual({ cgroups: [], monitor: undefined })
    expect(await out('logs', 'made')).toBe('')
    expect(await out('stop', 'made')).toBe('made\n')
    expect(await out('rm', 'made')).toBe('made\n')
  })

  it('is started with what it was made with, and then is like any other', async () => {
    await create(['--name', 'made', '-e', 'A=b', '-w', '/tmp', '-i'], 'sh', '-c', 'echo $A; pwd; read x; exit $x')
    const started = machine.tscrun(['start', '-a', '-i', 'made'], { stdin: 'pipe', input: '7\n' })
    const { exitCode, stdout } = await started
    expect({ exitCode, stdout }).toEqual({ exitCode: 7, stdout: 'b\n/tmp\n' })
    await out('wait', 'made')
    expect(await state('made')).toBe('exited false 0 7\n')
  })

  it('with --rm is there until it has run once', async () => {
    await create(['--name', 'once', '--rm'], 'echo', 'once')
    // Commands that put right what others left do not take it for a leftover.
    expect(await out('ps', '-a', '--format', '{{.Names}} {{.State}}')).toBe('once created\n')
    expect((await machine.tscrun(['start', '-a', 'once'])).stdout).toBe('once\n')
    expect((await machine.tscrun(['wait', 'once'])).stderr).toMatch(/there is none|^$/)
    expectNothingLeft(machine)
  })

  it('tells at the start what is wrong with the command', async () => {
    await create(['--name', 'wrong'], '/nosuch')
    const { exitCode, stderr } = await machine.tscrun(['start', 'wrong'])
    expect(exitCode).toBe(127)
    expectOneLine(stderr, /^tscrun: exec "\/nosuch": no such file or directory/)
    expect(await state('wrong')).toBe('exited false 0 127\n')
  })

  it.each([
    ['kill', []],
    ['pause', []],
    ['attach', []],
    ['exec', ['true']],
  ] as const)('refuses to %s one that has not been started', async (verb, more) => {
    await create(['--name', 'made'], 'true')
    const { exitCode, stderr } = await machine.tscrun([verb, 'made', ...more])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, new RegExp(`^tscrun: ${verb} made: (it|the container) is created`))
  })

  it('leaves nothing where it fails', async () => {
    await create(['--name', 'made'], 'true')
    const again = await machine.tscrun(['create', '--name', 'made', '--rootfs', `${machine.rootfs}:O`, 'true'])
    expectOneLine(again.stderr, /^tscrun: name "made": it is in use by container/)
    await out('rm', 'made')
    const cidfile = join(machine.directory, 'cid')
    expect(existsSync(cidfile)).toBe(true)
    const taken = await machine.tscrun(['create', '--cidfile', cidfile, '--rootfs', `${machine.rootfs}:O`, 'true'])
    expectOneLine(taken.stderr, /^tscrun: --cidfile .*: the file exists/)
  })
})
