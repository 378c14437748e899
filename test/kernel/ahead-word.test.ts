import { cpSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type * as Tscrun from '../../src/index.ts'
import { cgroupsOf, expectNothingLeft, isAlive, PROJECT, until, useMachine } from './fixtures/machine.ts'
import { untilOneWaits } from './fixtures/waiting.ts'

const machine = useMachine()
let engine: Tscrun.Engine
let plain: Tscrun.Engine
beforeAll(async () => {
  const { createEngine } = (await import(join(PROJECT, 'dist/index.js'))) as typeof Tscrun
  const at = { root: machine.store, runRoot: machine.runRoot }
  engine = createEngine(at)
  plain = createEngine({ ...at, ahead: false })
})

const run = (script: string, options: Tscrun.RunCallOptions = {}, which = engine): Tscrun.RunHandle =>
  which.run(undefined, ['sh', '-c', script], {
    rootfs: { path: machine.rootfs, overlay: true },
    network: 'none',
    ...options,
  })

/** Refuses what the first process waits by: a wait behind it would be the end of each start. */
function deafFilter(): string {
  const path = join(machine.directory, 'deaf.json')
  const syscalls = [{ names: ['recvmsg', 'recvfrom'], action: 'SCMP_ACT_KILL_PROCESS' }]
  writeFileSync(path, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }))
  return path
}

describe('a container that was begun goes as far as to its command, which waits for the word of its caller', () => {
  it.each([
    ['behind the default filter', {}],
    ['behind no filter', { security: { seccomp: 'unconfined' } }],
    ['behind no_new_privs', { security: { noNewPrivileges: true } }],
    ['as another user', { user: '1000:1000' }],
    ['under a reaper', { init: true }],
    ['with its input', { input: 'in' }],
  ] as const)('%s', async (name, options) => {
    const script = `: ${name}; cat; grep -E "^(Seccomp|NoNewPrivs|Uid|CapEff|Cpus_allowed):" /proc/self/status; cat /proc/1/comm`
    const expected = (await run(script, options, plain)).stdout
    const waiting = await untilOneWaits(() => run(script, options))
    expect((await run(script, options)).stdout).toBe(expected)
    await until(() => !isAlive(waiting.init))
  })

  it('before a filter of the user, behind which it could not', async () => {
    const options = { security: { seccomp: deafFilter() } }
    for (let round = 0; round < 3; round++) {
      const { stdout } = await run('grep ^Seccomp: /proc/self/status', options)
      expect(stdout).toBe('Seccomp:\t2\n')
    }
  })

  it('is begun anew where a step before the command fails, which then says so', async () => {
    const rootfs = join(machine.directory, 'changing')
    cpSync(machine.rootfs, rootfs, { recursive: true, verbatimSymlinks: true })
    const place = join(rootfs, 'place')
    mkdirSync(place)
    const options = { rootfs: { path: rootfs, overlay: true }, workdir: '/place' }
    const failure = (which: Tscrun.Engine): Promise<unknown> =>
      run('pwd', options, which).catch((error: unknown) => error)
    const waiting = await untilOneWaits(() => run('pwd', options))
    rmdirSync(place)
    writeFileSync(place, '')
    const failed = await failure(engine)
    expect(failed).toMatchObject({ code: 'KERNEL_REFUSED', errno: 'ENOTDIR' })
    expect(failed).toEqual(await failure(plain))
    await until(() => !isAlive(waiting.init))
    expect(cgroupsOf(waiting.id)).toEqual([])
    expectNothingLeft(machine)
    rmSync(place)
    expect((await run('pwd', options)).stdout).toBe('/place\n')
  })

  it('is begun anew where its stage, which was stopped, is killed when it is called', async () => {
    const waiting = await untilOneWaits(() => run('echo fine'))
    process.kill(waiting.stage, 'SIGSTOP')
    const called = run('echo fine')
    await new Promise((resolve) => setTimeout(resolve, 50))
    process.kill(waiting.stage, 'SIGKILL')
    expect((await called).stdout).toBe('fine\n')
    expect(isAlive(waiting.init)).toBe(false)
    expect(cgroupsOf(waiting.id)).toEqual([])
    expectNothingLeft(machine)
  })

  it('is begun anew where its first process was killed, and it has not read the signal that it was sent', async () => {
    const waiting = await untilOneWaits(() => run('echo fine'))
    process.kill(waiting.stage, 'SIGSTOP')
    process.kill(waiting.init, 'SIGKILL')
    const called = run('echo fine')
    called.kill('SIGCONT')
    await new Promise((resolve) => setTimeout(resolve, 50))
    process.kill(waiting.stage, 'SIGCONT')
    // All that the stage says, and its end, are found at once.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
    expect((await called).stdout).toBe('fine\n')
    expect(cgroupsOf(waiting.id)).toEqual([])
    expectNothingLeft(machine)
  })
})
