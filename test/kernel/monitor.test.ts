import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { afterEach, describe, expect, it } from 'vitest'
import { nativeFile } from '../../src/syscall/ffi.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { expectNothingLeft, isAlive, useMachine, pidOf, TSCRUN, until } from './fixtures/machine.ts'
import { openPty } from './fixtures/pty.ts'

const machine = useMachine()
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
  expectNothingLeft(machine)
})

const { detach, out, inspected, pidIn, monitorOf, ended } = backgroundOf(() => machine)

/** The kernel's own count: what this process has, and of what it shares with others its part. */
function pssKb(pid: number): number {
  return Number(/^Pss: +(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1])
}

describe('the monitor of an idle container', () => {
  it.each([
    ['that has written nothing', 'exec sleep 1000', []],
    ['that has written a lot', 'head -c 3000000 /dev/zero | tr "\\0" x; echo; exec sleep 1000', []],
    ['that will be started again', 'exec sleep 1000', ['--restart', 'always']],
    ['whose health is checked', 'exec sleep 1000', ['--health-cmd', 'true', '--health-interval', '1h']],
  ])('takes at most 0.1 MB of memory: of one %s', async (_, script, flags) => {
    const { name } = await detach(script, flags)
    const pid = monitorOf(name)
    await until(() => pssKb(pid) <= 100)
    // And so it stays.
    await sleep(300)
    expect(pssKb(pid)).toBeLessThanOrEqual(100)
  })

  it('runs the program from its file, which can be written by nobody through it (CVE-2019-5736)', async () => {
    const { name } = await detach('exec sleep 1000')
    const exe = `/proc/${monitorOf(name)}/exe`
    const [own, file] = [statSync(exe), statSync(nativeFile('stage'))]
    expect([own.dev, own.ino]).toEqual([file.dev, file.ino])
    expect(() => writeFileSync(exe, 'x', { flag: 'r+' })).toThrow(/EROFS|ETXTBSY/)
    const script = `for exe in /proc/[0-9]*/exe; do
      [ "$(stat -Lc %i $exe 2>/dev/null)" = ${file.ino} ] || continue
      echo found; (echo x > $exe) 2>/dev/null && echo written; done; true`
    const said = await machine.sh(script, ['--pid', 'host', '--userns', 'host', '--privileged'])
    expect(new Set(said.split('\n'))).toEqual(new Set(['found']))
    // Nor when nobody executes it any more, by whoever has kept it open.
    const kept = openSync(exe, 'r')
    await out('rm', '-f', name)
    expect(() => writeFileSync(`/proc/self/fd/${kept}`, 'x', { flag: 'r+' })).toThrow(/EROFS/)
    closeSync(kept)
  })
})

describe('where memory is short', () => {
  it('the monitor goes last; each life, its checks and commands count as whoever started them', async () => {
    const score = (pid: number | string): string => readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1').trim()
    const say = 'cat /proc/self/oom_score_adj'
    const flags = ['--restart', 'always', '--health-cmd', say, '--health-interval', '50ms']
    const { name } = await detach(`${say}; exec sleep 1000`, flags)
    process.kill(await pidIn(name), 'SIGKILL')
    while ((await out('logs', name)).trim().split('\n').length < 2);
    expect(new Set((await out('logs', name)).trim().split('\n'))).toEqual(new Set([score('self')]))
    // Lowering it takes CAP_SYS_RESOURCE.
    const { exitCode } = await execa('sh', ['-c', 'echo -999 > /proc/self/oom_score_adj'], { reject: false })
    await until(() => score(monitorOf(name)) === (exitCode === 0 ? '-999' : score('self')))
    const checks = (): Promise<string> => out('inspect', '-f', '{{json .State.Health.Log}}', name)
    while (!(await checks()).includes('Output'));
    expect(await checks()).toContain(`"Output":"${score('self')}\\n"`)
    expect((await out('exec', name, 'sh', '-c', say)).trim()).toBe(score('self'))
  })
})

describe('--timeout of a detached container', () => {
  it('kills it when its time is over, and says so', async () => {
    const { name } = await detach('exec sleep 1000', ['--timeout', '1'])
    expect(await out('wait', name)).toBe('255\n')
    expect(await inspected(name, '{{.State.ExitCode}} {{.State.Signal}} {{.State.TimedOut}}')).toBe('255 SIGKILL true')
  })

  it('is the time of each life', async () => {
    const { name } = await detach('echo life; exec sleep 1000', ['--timeout', '1', '--restart', 'on-failure:1'])
    await ended(name)
    expect(await out('logs', name)).toBe('life\nlife\n')
  })
})

describe('--stop-timeout', () => {
  it('is how long stop waits before it kills, unless it is told otherwise', async () => {
    const { name } = await detach('trap "" TERM; while :; do sleep 0.05; done', ['--stop-timeout', '0'])
    await out('stop', name)
    expect(await inspected(name, '{{.State.ExitCode}}')).toBe('137')
  })
})

describe('several who are attached', () => {
  it("may end their input one by one: the last one's end is the container's", async () => {
    const { name } = await detach('cat', ['-i'])
    const other = machine.tscrun(['attach', name], { stdin: 'pipe' })
    other.stdin?.write('zero\n')
    await until(() => readFileSync(logOf(), 'utf8').includes('zero'))
    const first = machine.tscrun(['attach', name], { stdin: 'pipe' })
    first.stdin?.end('one\n')
    await until(() => readFileSync(logOf(), 'utf8').includes('one'))
    expect(isAlive(await pidIn(name))).toBe(true)
    other.stdin?.end('two\n')
    expect((await other).stdout).toContain('two\n')
    expect((await first).exitCode).toBe(0)
    expect(await out('wait', name)).toBe('0\n')
  })

  it('pass keys on that only began like the detach keys', async () => {
    const { name } = await detach(
      'stty raw -echo; echo ready; while :; do dd bs=1 count=1 2>/dev/null | od -An -tx1; done',
      ['-it'],
    )
    await until(() => readFileSync(logOf(), 'utf8').includes('ready'))
    const command = [TSCRUN, '--root', machine.store, '--runroot', machine.runRoot, 'attach', name]
    const pty = openPty(command, { rows: 24, columns: 80 })
    try {
      await until(() => {
        pty.type('a')
        return pty.output().includes('61')
      })
      pty.type('\u0010')
      await sleep(200)
      expect(pty.output()).not.toContain('10')
      pty.type('\u0010x')
      await until(() => pty.output().includes('78'))
      expect(pty.output().replaceAll(/\s+/g, ' ')).toContain('10 10 78')
      pty.type('\u0010')
      await sleep(50)
      pty.type('\u0011')
      expect(await pty.ended).toBe(0)
    } finally {
      pty.close()
    }
    expect(readFileSync(logOf(), 'utf8')).not.toContain(' 11')
  })

  it('and read nothing, are let go: the container goes on, and is open to others all the time', async () => {
    const { name } = await detach(
      'until [ -e /go ]; do sleep 0.05; done; while :; do head -c 9999 /dev/zero; echo; done',
    )
    const monitor = monitorOf(name)
    const attach = `${TSCRUN} --root ${machine.store} --runroot ${machine.runRoot} attach --no-stdin ${name}`
    const reader = `sleep 1011.${process.pid}`
    const stuck = execa('sh', ['-c', `${attach} | exec ${reader}`], { reject: false })
    const pipe = readlinkSync(`/proc/${await until(() => pidOf(reader))}/fd/0`)
    await until(() => readdirSync(`/proc/${monitor}/fd`).some((fd) => linkOf(monitor, fd) === pipe))
    await out('exec', name, 'touch', '/go')
    await until(() => statSync(logOf()).size > 60_000)
    expect(await out('exec', name, 'echo', 'well')).toBe('well\n')
    // A pipe holds 64 KiB, the monitor as much.
    await until(() => statSync(logOf()).size > 1_000_000)
    process.kill(pidOf(reader) ?? expect.fail('the reader has ended'), 'SIGKILL')
    expect((await stuck).stderr).toMatch(/^tscrun: attach: the connection was ended: nothing was read/)
  })

  function linkOf(pid: number, fd: string): string | undefined {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  function logOf(): string {
    return join(machine.store, 'containers', machine.containers()[0] ?? '', 'log')
  }
})
