import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { createEngine } from '../../src/index.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { expectNothingLeft, expectOneLine, useMachine, until } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

const { out } = backgroundOf(() => machine)
const detach = (name: string, script: string, ...flags: string[]): Promise<string> =>
  out('run', '-d', '--name', name, ...flags, '--rootfs', `${machine.rootfs}:O`, 'sh', '-c', script)
const cells = (text: string): string[][] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => line.trim().split(/\s{2,}/))

describe('tscrun top', () => {
  it("shows the container's processes with the host's numbers, as docker does, and by podman's words with its own", async () => {
    await detach('busy', 'sleep 1001 & exec sleep 1002', '--user', '1000:29')
    const pid = (await out('inspect', '-f', '{{.State.Pid}}', 'busy')).trim()
    const [titles, ...rows] = cells(await out('top', 'busy'))
    expect(titles).toEqual(['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'])
    expect(rows.map((row) => `${row[0]} ${row.at(-1)}`).toSorted()).toEqual(['1000 sleep 1001', '1000 sleep 1002'])
    expect(rows.find((row) => row.at(-1) === 'sleep 1002')?.[1]).toBe(pid)
    const theirs = cells(await out('top', 'busy', 'pid', 'ppid', 'user', 'group', 'hpid', 'huser', 'seccomp', 'args'))
    const host = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    expect(theirs.find((row) => row[0] === '1')).toEqual(['1', '0', '1000', '29', pid, host, 'filter', 'sleep 1002'])
    expect(theirs.find((row) => row.at(-1) === 'sleep 1001')?.slice(1, 2)).toEqual(['1'])
  })

  it('runs nothing of the container and trusts none of its files', async () => {
    await detach('liar', 'exec sh -c "sleep 1000; :" "$(printf "\\033[2Jroot")"')
    const { stdout } = await machine.tscrun(['top', 'liar', 'user', 'args'])
    expect(stdout).not.toContain('\x1b')
    // Not even its exec would work.
    await out('pause', 'liar')
    expect(cells(await out('top', 'liar', 'pid'))).toMatchObject([['PID'], ['1'], [expect.stringMatching(/^\d+$/)]])
  })

  it('is refused for what does not run', async () => {
    await detach('short', 'true')
    await out('wait', 'short')
    const { exitCode, stderr } = await machine.tscrun(['top', 'short'])
    expect(exitCode).toBe(125)
    expectOneLine(stderr, /^tscrun: top short: it is stopped/)
  })
})

describe('tscrun stats', () => {
  it('measures processor time, and what each container carried on its own network', async () => {
    await detach('spinner', 'while :; do :; done')
    await detach('sleeper', 'exec sleep 1000', '--network', 'host')
    const rows = (await out('stats', '--no-stream', '--format', 'json'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string>)
    const [spinner, sleeper] = ['spinner', 'sleeper'].map((name) => rows.find((row) => row['Name'] === name))
    expect(Number.parseFloat(spinner?.['CPUPerc'] ?? '')).toBeGreaterThan(5)
    expect(Number.parseFloat(sleeper?.['CPUPerc'] ?? '')).toBeLessThan(5)
    expect({ own: spinner?.['NetIO'], host: sleeper?.['NetIO'] }).toEqual({ own: '0B / 0B', host: '-- / --' })
    const table = await out('stats', '--no-stream', '--format', 'table {{.Name}}\t{{.PIDs}}', 'sleeper')
    expect(table.split('\n').map((line) => line.split(/\s+/)[0])).toEqual(['NAME', 'sleeper', ''])
  })

  it('goes on until a signal, and leaves those out that have gone', async () => {
    await detach('one', 'exec sleep 1000', '--rm')
    const stats = machine.tscrun(['stats', '--format', '{{.Name}} {{.CPUPerc}}'])
    let seen = ''
    stats.stdout.on('data', (chunk: Buffer) => {
      seen += String(chunk)
    })
    await until(() => seen.startsWith('one '))
    await detach('two', 'exec sleep 1000')
    await until(() => seen.includes('two '))
    stats.kill('SIGINT')
    expect((await stats).exitCode).toBe(130)
    await out('rm', '-f', 'two')
    expect(await out('stats', '-a', '--no-stream', '--format', '{{.Name}}')).toBe('one\n')
    const { stderr } = await machine.tscrun(['stats', 'two'])
    expectOneLine(stderr, /^tscrun: container two: there is none/)
  })

  it('and top are there for programs', async () => {
    const engine = createEngine({ root: machine.store, runRoot: machine.runRoot })
    const rootfs = { path: machine.rootfs, overlay: true }
    await using container = await engine.start(undefined, ['sleep', '1000'], { rootfs })
    expect((await container.stats()).cpuPercent).toBeLessThan(50)
    expect(await container.top(['pid', 'args'])).toEqual({
      titles: ['PID', 'COMMAND'],
      processes: [['1', 'sleep 1000']],
    })
  })
})
