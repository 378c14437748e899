import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { enginePaths } from '../../src/engine/paths.ts'
import { sweep } from '../../src/engine/state/sweep.ts'
import {
  cgroupsOf,
  expectNothingLeft,
  expectOneLine,
  isAlive,
  useMachine,
  pidOf,
  processesWith,
  PROJECT,
  TSCRUN,
  until,
  type Running,
} from './fixtures/machine.ts'

const machine = useMachine()

/** What a test that failed has left must not be in the next one's way. */
afterEach(async () => {
  for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
})

/** A container that runs until it is killed. */
interface Victim {
  readonly subprocess: Running
  readonly id: string
  readonly name: string
  readonly monitor: number
  /** All of the container's processes. */
  readonly pids: readonly number[]
}

let count = 0
async function startVictim(
  flags: readonly string[] = [],
  command: readonly string[] = ['probe', 'stay'],
): Promise<Victim> {
  const cidfile = join(machine.directory, `cid${count++}`)
  const name = `victim${count}`
  const subprocess = machine.run(['--cidfile', cidfile, '--name', name, ...flags], command)
  await new Promise((resolve) => subprocess.stdout.once('data', resolve))
  const id = readFileSync(cidfile, 'utf8')
  const monitor = await until(() => pidOf(`tscrun: ${name}`))
  const [cgroup] = cgroupsOf(id)
  const pids =
    cgroup === undefined ? [] : readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number)
  expect(pids.length).toBeGreaterThan(1)
  return { subprocess, id, name, monitor, pids }
}

const allGone = (pids: readonly number[]): boolean => pids.every((pid) => !isAlive(pid))

/** Names, ranges, directories, cgroup: of this container there is nothing. */
function expectAllGone({ id, pids, monitor }: Victim): void {
  expect({ alive: [...pids, monitor].filter(isAlive), cgroups: cgroupsOf(id) }).toEqual({ alive: [], cgroups: [] })
  expectNothingLeft(machine)
}

describe('after --rm', () => {
  it('nothing is left in store, run directory, cgroups and mount table', async () => {
    const before = readFileSync('/proc/self/mountinfo', 'utf8')
    const cidfile = join(machine.directory, 'cid-rm')
    const { exitCode } = await machine.run(
      ['--cidfile', cidfile, '-v', `${machine.directory}:/v`, '--tmpfs', '/t'],
      ['sh', '-c', 'sleep 1060 & mkdir /x; exit 3'],
    )
    expect(exitCode).toBe(3)
    expect(cgroupsOf(readFileSync(cidfile, 'utf8'))).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(before)
    expectNothingLeft(machine)
    await until(() => pidOf('sleep 1060') === undefined)
  })

  it('nothing is left of a command that could not be started', async () => {
    const cidfile = join(machine.directory, 'cid-absent')
    expect((await machine.run(['--cidfile', cidfile], ['absent'])).exitCode).toBe(127)
    expect(cgroupsOf(readFileSync(cidfile, 'utf8'))).toEqual([])
    expectNothingLeft(machine)
  })

  it('nothing is left of twenty at once', async () => {
    const ended = await Promise.all(
      Array.from({ length: 20 }, (_, index) => machine.run([], ['sh', '-c', `exit ${index}`])),
    )
    expect(ended.map(({ exitCode }) => exitCode)).toEqual(Array.from({ length: 20 }, (_, index) => index))
    expectNothingLeft(machine)
  }, 120_000)

  it('cgroups that the container made below its own are gone too', async () => {
    const cidfile = join(machine.directory, 'cid-cgroups')
    const { exitCode, stdout } = await machine.run(
      ['--cidfile', cidfile, '--security-opt', 'seccomp=unconfined', '--cap-add', 'sys_admin'],
      [
        'sh',
        '-c',
        'mkdir /tmp/c && mount -t cgroup2 none /tmp/c && mkdir -p /tmp/c/a/b && echo $$ > /tmp/c/a/b/cgroup.procs && cat /proc/self/cgroup | grep ^0',
      ],
    )
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '0::/a/b\n' })
    expect(cgroupsOf(readFileSync(cidfile, 'utf8'))).toEqual([])
  })
})

describe.each<[string, readonly string[]]>([
  ['', []],
  [' with --init', ['--init']],
  [" in the host's pid namespace", ['--pid', 'host']],
  [" in the host's user namespace", ['--userns', 'host']],
])('a container%s', (_, flags) => {
  let victim: Victim
  beforeEach(async () => {
    victim = await startVictim(flags)
  })
  afterEach(async () => {
    await victim.subprocess
  })

  it('is gone by itself after the SIGKILL of the command line, and the next command removes the rest', async () => {
    victim.subprocess.kill('SIGKILL')
    await until(() => allGone(victim.pids))
    await victim.subprocess
    await until(() => !isAlive(victim.monitor))
    expect((await machine.run([], ['true'])).exitCode).toBe(0)
    expectAllGone(victim)
  })

  it('is gone by itself after the SIGKILL of its monitor, and the command line says so', async () => {
    process.kill(victim.monitor, 'SIGKILL')
    const { exitCode, stderr } = await victim.subprocess
    expect(exitCode).toBe(125)
    expect(stderr).toMatch(/^tscrun: the monitor of the container was killed from outside/)
    await until(() => allGone(victim.pids))
    expectAllGone(victim)
  })

  it('is removed by the next command when both were killed', async () => {
    // Neither hears of the other's end.
    process.kill(victim.monitor, 'SIGSTOP')
    victim.subprocess.kill('SIGKILL')
    process.kill(victim.monitor, 'SIGKILL')
    await victim.subprocess
    await until(() => !isAlive(victim.monitor))
    expect((await machine.tscrun(['ps', '-a', '-q'])).stdout).toBe('')
    await until(() => allGone(victim.pids))
    expectAllGone(victim)
  })

  it('is removed by rm -f', async () => {
    const { exitCode, stderr } = await machine.tscrun(['rm', '-f', victim.id])
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(allGone(victim.pids)).toBe(true)
    expect((await victim.subprocess).exitCode).toBe(137)
    expectAllGone(victim)
  })
})

describe('the next command', () => {
  it('leaves running containers alone', async () => {
    const victim = await startVictim()
    await machine.tscrun(['ps', '-a'])
    await machine.run([], ['true'])
    expect(victim.pids.every(isAlive)).toBe(true)
    await machine.tscrun(['rm', '-f', victim.id])
    await victim.subprocess
    expectAllGone(victim)
  })

  it('gives the name and the range of a killed container to others', async () => {
    const victim = await startVictim()
    expect(victim.id.startsWith(readlinkSync(join(machine.store, 'names', victim.name)))).toBe(true)
    victim.subprocess.kill('SIGKILL')
    await victim.subprocess
    await until(() => !isAlive(victim.monitor))
    await machine.tscrun(['ps', '-a'])
    expect((await machine.run(['--name', victim.name], ['true'])).exitCode).toBe(0)
    expectAllGone(victim)
  })
})

describe('a sweep', () => {
  it('that has seen a container before it was locked leaves alone what its maker makes anew', async () => {
    const paths = enginePaths({ root: machine.store, runRoot: machine.runRoot }, {})
    const [leftover = '', begun = ''] = ['a', 'b'].map((letter) => letter.repeat(64))
    for (const id of [leftover, begun]) mkdirSync(join(paths.containers, id), { recursive: true })
    mkdirSync(join(paths.runRoot, leftover), { recursive: true })
    const swept = sweep(paths, 'all')
    // It is at the first one. Another sweep has removed the second one meanwhile, and its maker begins again.
    rmSync(join(paths.containers, begun), { recursive: true })
    mkdirSync(join(paths.runRoot, begun))
    await swept
    expect(existsSync(join(paths.runRoot, begun))).toBe(true)
    expect(existsSync(join(paths.containers, leftover))).toBe(false)
    await machine.tscrun(['ps', '-a'])
    expectNothingLeft(machine)
  })
})

describe('a reader that does not read', () => {
  // What is not read fills the pipes: the first before the end of the container, the second only after it.
  it.each([1_000_000, 100_000])('keeps no monitor of %i bytes when the command line was killed', async (bytes) => {
    const name = `writer${bytes}`
    const cidfile = join(machine.directory, name)
    const flags = `--name ${name} --cidfile ${cidfile} --rm --rootfs ${machine.rootfs}:O`
    const run = `${TSCRUN} --root ${machine.store} --runroot ${machine.runRoot} run ${flags}`
    const reader = `sleep 1006.${process.pid}`
    const pipeline = execa('sh', ['-c', `${run} sh -c 'yes | head -c ${bytes}' | exec ${reader}`], { reject: false })
    const monitor = await until(() => pidOf(`tscrun: ${name}`))
    const id = await until(() => existsSync(cidfile) && readFileSync(cidfile, 'utf8'))
    const isOver = (): boolean => cgroupsOf(id).every((path) => readFileSync(join(path, 'cgroup.procs'), 'utf8') === '')
    if (bytes < 200_000) await until(isOver)
    for (const pid of processesWith(`--cidfile ${cidfile}`)) if (!isShell(pid)) process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(monitor))
    process.kill(pidOf(reader) ?? expect.fail('the reader has ended'), 'SIGKILL')
    await pipeline
    expect((await machine.tscrun(['ps', '-aq'])).stdout).toBe('')
    expectNothingLeft(machine)
  })
})

const isShell = (pid: number): boolean => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sh\n'

/** Holds a process in its exit, as a device that does not answer would (ptrace(2), PTRACE_O_TRACEEXIT), until it ends. */
const HOLD_IN_EXIT = `
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(0x4206, int(sys.argv[1]), None, ctypes.c_void_p(0x40)) == 0
print('held', flush=True)
sys.stdin.read()
`

describe('a process that was killed and does not end', () => {
  it("fails nobody else's command, is told by rm, and is removed when it has ended", async () => {
    const victim = await startVictim()
    const [first] = victim.pids
    const holder = execa('python3', ['-c', HOLD_IN_EXIT, String(first)], { reject: false })
    await new Promise((resolve) => holder.stdout.once('data', resolve))
    try {
      victim.subprocess.kill('SIGKILL')
      process.kill(victim.monitor, 'SIGKILL')
      await victim.subprocess
      expect(await machine.sh('echo well')).toBe('well')
      const listed = await machine.tscrun(['ps', '-a', '--format', '{{.Names}}'])
      expect(listed).toMatchObject({ exitCode: 0, stdout: `${victim.name}\n` })
      const removed = await machine.tscrun(['rm', victim.name])
      expect(removed.exitCode).toBe(125)
      expectOneLine(
        removed.stderr,
        /^tscrun: rmdir \S+: a process in it was killed and does not end \(EBUSY\) \(it waits/,
      )
    } finally {
      holder.stdin.end()
      await holder
    }
    expect((await machine.tscrun(['ps', '-aq'])).stdout).toBe('')
    expectAllGone(victim)
  })
})

describe('a Node program that uses the library', () => {
  const script = (body: string): string => `
    import { createEngine } from ${JSON.stringify(`file://${join(PROJECT, 'dist/index.js')}`)}
    const engine = createEngine({ root: ${JSON.stringify(machine.store)}, runRoot: ${JSON.stringify(machine.runRoot)} })
    const start = () => engine.run(undefined, ['probe', 'stay'], { rootfs: { path: ${JSON.stringify(machine.rootfs)}, overlay: true } })
    ${body}`

  /** The processes of the one container that this machine runs. */
  async function running(): Promise<{ id: string; pids: number[] }> {
    const id = await until(() => machine.containers().find((id) => cgroupsOf(id).length > 0))
    const [cgroup = ''] = cgroupsOf(id)
    const pids = await until(() => {
      const found = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number)
      return found.length === 2 && found
    })
    return { id, pids }
  }

  it('killed inside `await run()` leaves no process, without a next command', async () => {
    const path = join(machine.directory, 'killed.mjs')
    writeFileSync(path, script('await start()'))
    const subprocess = execa(process.execPath, [path], { reject: false })
    const { id, pids } = await running()
    subprocess.kill('SIGKILL')
    await subprocess
    await until(() => allGone(pids) && processesWith(machine.store).length === 0)
    await until(() => cgroupsOf(id).length === 0)
    await machine.tscrun(['ps', '-a'])
    expectNothingLeft(machine)
  })

  it('that ends its Worker leaves no process, and goes on', async () => {
    const worker = join(machine.directory, 'worker.mjs')
    const main = join(machine.directory, 'main.mjs')
    writeFileSync(worker, script('await start()'))
    writeFileSync(
      main,
      `import { Worker } from 'node:worker_threads'
       const worker = new Worker(${JSON.stringify(worker)})
       process.stdin.once('data', async () => { await worker.terminate(); console.log('terminated'); process.stdin.once('data', () => process.exit(0)) })`,
    )
    const subprocess = execa(process.execPath, [main], { reject: false, stdin: 'pipe' })
    const { id, pids } = await running()
    subprocess.stdin.write('x')
    await new Promise((resolve) => subprocess.stdout.once('data', resolve))
    await until(() => allGone(pids))
    await until(() => cgroupsOf(id).length === 0)
    subprocess.stdin.write('x')
    expect((await subprocess).exitCode).toBe(0)
    await machine.tscrun(['ps', '-a'])
    expectNothingLeft(machine)
  })

  it('goes on after Workers that were ended in the moment a container began', async () => {
    const worker = join(machine.directory, 'worker.mjs')
    const main = join(machine.directory, 'main.mjs')
    writeFileSync(worker, script('await start()'))
    writeFileSync(
      main,
      `import { Worker } from 'node:worker_threads'
       let worker
       process.stdin.on('data', async () => {
         await worker?.terminate()
         worker = new Worker(${JSON.stringify(worker)})
       })
       process.stdin.on('end', async () => { await worker.terminate(); process.exit(0) })`,
    )
    const subprocess = execa(process.execPath, [main], { reject: false, stdin: 'pipe' })
    subprocess.stdin.write('x')
    for (let round = 0; round < 20; round++) {
      const { id } = await running()
      subprocess.stdin.write('x')
      await until(() => cgroupsOf(id).length === 0)
    }
    await running()
    subprocess.stdin.end()
    expect(await subprocess).toMatchObject({ exitCode: 0, stderr: '' })
    await until(() => machine.containers().every((id) => cgroupsOf(id).length === 0))
    await machine.tscrun(['ps', '-a'])
    expectNothingLeft(machine)
  })

  it('that exits without waiting leaves nothing running', async () => {
    const path = join(machine.directory, 'exits.mjs')
    writeFileSync(
      path,
      script('const handle = start(); handle.stdout.once("data", () => process.exit(0)); await handle'),
    )
    expect((await execa(process.execPath, [path], { reject: false })).exitCode).toBe(0)
    await until(() => machine.containers().every((id) => cgroupsOf(id).length === 0))
    await machine.tscrun(['ps', '-a'])
    expectNothingLeft(machine)
  })
})
