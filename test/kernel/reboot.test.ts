import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { startTimeOf } from '../../src/syscall/process.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { cgroupsOf, expectNothingLeft, expectOneLine, isAlive, useMachine, pidOf, until } from './fixtures/machine.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', '-v', id])
  await out('volume', 'prune', '-f', '-a')
  expectNothingLeft(machine)
})

const { out } = backgroundOf(() => machine)

const rootfs = (): readonly string[] => ['--rootfs', `${machine.rootfs}:O`]
const detach = async (name: string, ...flags: readonly string[]): Promise<string> =>
  (
    await out(
      'run',
      '-d',
      '--name',
      name,
      '-v',
      `of-${name}:/v`,
      ...flags,
      ...rootfs(),
      'sh',
      '-c',
      'echo up >> /v/x; sleep 19315',
    )
  ).trim()

/** Every process, mount and cgroup of the containers ends at once, as the machine does. */
async function loseProcesses(names: readonly string[]): Promise<void> {
  for (const name of names) process.kill(pidOf(`tscrun: ${name}`) ?? 0, 'SIGKILL')
  for (const id of readdirSync(machine.runRoot)) {
    for (const cgroup of cgroupsOf(id)) {
      await until(() => readFileSync(join(cgroup, 'cgroup.events'), 'latin1').includes('populated 0'))
      rmdirSync(cgroup)
    }
  }
}

/** What tells one boot from another. */
function changeBoot(): void {
  writeFileSync(join(machine.store, 'boot'), '00000000-0000-0000-0000-000000000000\n')
}

const states = async (): Promise<Readonly<Record<string, string>>> => {
  const lines = (await out('ps', '-a', '--format', '{{.Names}}={{.State}} {{.Status}}')).trim().split('\n')
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
}

describe('after a boot of the machine', () => {
  it('what ran has ended, what rested rests, names and ids are kept, and all can be started and removed', async () => {
    await detach('ran', '-v', '/anonymous')
    await detach('gone', '--rm', '-v', '/anonymous')
    await out('create', '--name', 'made', ...rootfs(), 'true')
    await out('run', '--name', 'ended', ...rootfs(), 'sh', '-c', 'exit 0')
    const map = await out('inspect', '-f', '{{.IDMappings.UidMap}}', 'ran')
    await loseProcesses(['ran', 'gone'])
    rmSync(machine.runRoot, { recursive: true })
    changeBoot()
    expect(await states()).toEqual({
      ran: expect.stringMatching(/^exited Exited \(255\) /) as string,
      made: 'created Created',
      ended: expect.stringMatching(/^exited Exited \(0\) /) as string,
    })
    expect(await out('inspect', '-f', '{{.State.ExitCode}} {{.State.Error}} {{.IDMappings.UidMap}}', 'ran')).toBe(
      `255 the machine went down while it ran ${map}`,
    )
    // The anonymous volume of `gone` went with it, that of `ran` did not.
    expect((await out('volume', 'ls', '-q')).trim().split('\n')).toEqual([
      expect.stringMatching(/^[0-9a-f]{64}$/),
      'of-gone',
      'of-ran',
    ])
    const taken = await machine.tscrun(['run', '--name', 'ran', ...rootfs(), 'true'])
    expectOneLine(taken.stderr, /^tscrun: name "ran": it is in use/)
    await out('start', 'ran', 'made')
    expect(await out('exec', 'ran', 'cat', '/v/x')).toBe('up\nup\n')
    expect(await out('inspect', '-f', '{{.IDMappings.UidMap}}', 'ran')).toBe(map)
    await out('rm', '-f', 'ran')
    await out('rm', 'made', 'ended')
  })

  it('any first command sees it: start and rm of what ran', async () => {
    await detach('first')
    await detach('second')
    await loseProcesses(['first', 'second'])
    rmSync(machine.runRoot, { recursive: true })
    changeBoot()
    await out('start', 'first')
    expect(await out('exec', 'first', 'cat', '/v/x')).toBe('up\nup\n')
    await out('rm', 'second')
    expect(Object.keys(await states())).toEqual(['first'])
  })

  it('so does one that finds the run directory emptied, and the cgroups still there', async () => {
    for (const name of ['first', 'second', 'third']) await detach(name)
    for (const name of ['first', 'second', 'third']) process.kill(pidOf(`tscrun: ${name}`) ?? 0, 'SIGKILL')
    rmSync(machine.runRoot, { recursive: true })
    await out('start', 'first')
    expect(await states()).toMatchObject({ first: expect.stringMatching(/^running/) as string })
    expect((await states())['second']).toMatch(/^exited Exited \(255\) /)
    await out('start', 'second')
    expect(await out('exec', 'second', 'cat', '/v/x')).toBe('up\nup\n')
    await out('rm', 'third')
  })

  it('a process that has the number of one from before is left alone, where the run directory outlives a boot', async () => {
    const id = await detach('kept')
    await loseProcesses(['kept'])
    const bystander = execFileSync('sh', ['-c', 'sleep 19316 >/dev/null 2>&1 & echo $!'], { encoding: 'utf8' })
    const pid = Number(bystander)
    try {
      const state = { version: 1, id, pid, startTime: startTimeOf(pid), startedMs: 1 }
      mkdirSync(join(machine.runRoot, id), { recursive: true })
      writeFileSync(join(machine.runRoot, id, 'state.json'), JSON.stringify(state))
      changeBoot()
      expect(await states()).toEqual({ kept: expect.stringMatching(/^exited Exited \(255\) /) as string })
      expect(isAlive(pid)).toBe(true)
      expect(readdirSync(machine.runRoot)).toEqual([])
    } finally {
      process.kill(pid, 'SIGKILL')
    }
  })

  it('is noted once: later ones are killed as ever', async () => {
    changeBoot()
    await out('ps')
    expect(readFileSync(join(machine.store, 'boot'), 'utf8')).toBe(
      readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'),
    )
    await detach('killed')
    await loseProcesses(['killed'])
    expect((await states())['killed']).toMatch(/^exited Exited \(137\) /)
  })
})
