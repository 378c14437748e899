import { once } from 'node:events'
import { cpSync, lutimesSync, readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, describe, expect, it } from 'vitest'
import type * as Tscrun from '../../src/index.ts'
import { type HostNetwork, useHostNetwork } from './fixtures/host-network.ts'
import { cgroupsOf, expectNothingLeft, isAlive, useMachine, PROJECT, until } from './fixtures/machine.ts'
import { childrenOf, commandOf, ENOUGH, seen, untilOneWaits, type Waiting } from './fixtures/waiting.ts'

const machine = useMachine()
let tscrun: typeof Tscrun
let engine: ReturnType<typeof Tscrun.createEngine>
beforeAll(async () => {
  tscrun = (await import(join(PROJECT, 'dist/index.js'))) as typeof Tscrun
  engine = tscrun.createEngine({ root: machine.store, runRoot: machine.runRoot })
})

const view = (): Tscrun.RunCallOptions => ({ rootfs: { path: machine.rootfs, overlay: true }, network: 'none' })
const show = (script: string, which = engine): Promise<string> =>
  which.run(undefined, ['sh', '-c', script], view()).then(({ stdout }) => stdout)

/** Runs it until one waits: a machine that is busy may need longer than one does. */
const warmUp = (script: string): Promise<Waiting> => untilOneWaits(() => show(script))

async function expectGone({ stage, init, id }: Waiting): Promise<void> {
  const gone = (): boolean => !isAlive(stage) && !isAlive(init) && cgroupsOf(id).length === 0
  await until(gone)
}

const EVERYTHING = [
  'sort -k 5 /proc/self/mountinfo; cat /proc/self/limits /proc/self/cgroup /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups',
  'cat /proc/self/oom_score_adj /proc/self/coredump_filter /proc/1/cmdline',
  'grep -vE "^(Vm|Rss|Hugetlb|voluntary|nonvoluntary)" /proc/self/status',
  'cut -d" " -f 3-9,18,19,40,41 /proc/self/stat',
  'env; umask; pwd; id; hostname',
  'ls -lanR --full-time /dev | sed "s/ [0-9-]* [0-9:.]* +0000//"; ls -la /proc/self/fd | wc -l; ls -la / /sys/firmware /proc/acpi',
  'cat /etc/hosts /etc/hostname /etc/resolv.conf /proc/sys/kernel/domainname',
  'cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start; ip addr; cat /proc/net/dev',
  'for n in mnt pid net ipc uts user cgroup time; do readlink /proc/self/ns/$n; done',
  'echo x > /x && cat /x; echo x > /proc/sys/kernel/hostname || echo read-only; mknod /tmp/n c 1 3 && cat /tmp/n || echo no device',
].join('; ')

/** Numbers that the kernel counts up, and what is each container's own. */
function normal(text: string): string {
  const hostname = /^HOSTNAME=([0-9a-f]{12})$/m.exec(text)?.[1] ?? 'none'
  return text
    .replaceAll(/^\d+ \d+ 0:\d+ /gm, 'mount ')
    .replaceAll(hostname, 'HOSTNAME')
    .replaceAll(/\b[a-z]+_[a-z]+_[0-9a-f]{4}\b/g, 'NAME')
    .replaceAll(/upperdir=\S+|workdir=\S+/g, 'dir')
    .replaceAll(/\b[12]\d{9}\b/g, 'RANGE')
    .replaceAll(/\b[A-Z][a-z]{2} +\d+ +\d\d:\d\d\b/g, 'DATE')
    .replaceAll(/^(d.{9}) +\d+ (nobody.*) DATE /gm, '$1 $2 ')
    .replaceAll(/:\[(?!4026531834)\d+\]/g, ':[own]')
}

describe('the next container of a process that runs many', () => {
  it('is begun when one has ended, and shows the command what any other one does', async () => {
    const plain = tscrun.createEngine({ root: machine.store, runRoot: machine.runRoot, ahead: false })
    const expected = normal(await show(EVERYTHING, plain))
    expect(expected).toContain('mount / / rw')
    const before = await warmUp(EVERYTHING)
    expect(normal(await show(EVERYTHING))).toBe(expected)
    // Its first process was born before it was called for, and it has the id that it was born with.
    expect(isAlive(before.init)).toBe(false)
    expect(cgroupsOf(before.id)).toEqual([])
  })

  it('is the one that waited: what was begun becomes the command', async () => {
    const script = 'echo up; sleep 0.05; true'
    const waiting = await warmUp(script)
    const handle = engine.run(undefined, ['sh', '-c', script], view())
    await new Promise((resolve) => handle.stdout.once('data', resolve))
    expect(machine.containers()).toEqual([waiting.id])
    expect(commandOf(waiting.init)).toBe(`sh -c ${script}`)
    expect(commandOf(waiting.stage)).toMatch(/^tscrun: [a-z]+_[a-z]+_[0-9a-f]{4}$/)
    await handle
  })

  it('may run wherever its process may, though it was woken where its process was not', async () => {
    const allowed = (pid: number | 'self'): string | undefined =>
      readFileSync(`/proc/${pid}/status`, 'latin1').match(/^Cpus_allowed:.*$/m)?.[0]
    const script = 'grep Cpus_allowed: /proc/1/status'
    const { stage, init } = await warmUp(script)
    expect([allowed(stage), allowed(init)]).toEqual([allowed('self'), allowed('self')])
    const shown = await Promise.all(Array.from({ length: 8 }, () => show(script)))
    for (let round = 0; round < 16; round++) shown.push(await show(script))
    expect(new Set(shown)).toEqual(new Set([`${allowed('self')}\n`]))
  })

  it('is another one where another one is wanted', async () => {
    const waiting = await warmUp('cat; hostname')
    const input = await engine.run(undefined, ['sh', '-c', 'cat; hostname'], { ...view(), input: 'in ' })
    expect(input.stdout).toMatch(/^in [0-9a-f]{12}\n$/)
    expect(input.stdout).not.toContain(waiting.id.slice(0, 12))
    const named = await engine.run(undefined, ['sh', '-c', 'cat; hostname'], { ...view(), hostname: 'other' })
    expect(named.stdout).toBe('other\n')
  })

  it('has nothing on the disk as long as it waits, and goes when nobody wants it', async () => {
    const waiting = await warmUp('true')
    expectNothingLeft(machine)
    await expectGone(waiting)
  })

  it.each(['stage', 'init'] as const)('is made anew where its %s was killed meanwhile', async (which) => {
    const waiting = await warmUp(`: ${which}; echo fine`)
    process.kill(waiting[which], 'SIGKILL')
    await until(() => !isAlive(waiting[which]))
    expect(await show(`: ${which}; echo fine`)).toBe('fine\n')
    await expectGone(waiting)
    expectNothingLeft(machine)
  })

  it('has a record of its own, which says what the kernel says', async () => {
    // One write: what is read is complete.
    const script = 'echo $(hostname) $(cat /proc/self/uid_map); cat'
    await warmUp(script)
    const handle = engine.run(undefined, ['sh', '-c', script], { ...view(), stdin: true })
    try {
      const [said] = (await once(handle.stdout, 'data')) as [Buffer]
      const [id = ''] = machine.containers()
      const [hostname, ...map] = String(said).trim().split(' ')
      const found = await engine.inspect(id)
      expect(id.slice(0, 12)).toBe(hostname)
      const uidMap = [map.join(':')]
      expect(found).toMatchObject({ Id: id, Config: { Hostname: hostname }, IDMappings: { UidMap: uidMap } })
      expect(Math.abs(Date.parse(String(found['Created'])) - Date.now())).toBeLessThan(60_000)
    } finally {
      handle.stdin?.end()
      await handle
    }
  })

  it('is decided anew where what it was decided from has changed', async () => {
    const rootfs = join(machine.directory, 'changing')
    cpSync(machine.rootfs, rootfs, { recursive: true, verbatimSymlinks: true })
    const options = { ...view(), rootfs: { path: rootfs, overlay: true }, user: 'app' }
    const called = async (uid: number): Promise<string> => {
      writeFileSync(join(rootfs, 'etc/passwd'), `app:x:${uid}:${uid}::/:/bin/sh\n`)
      return (await engine.run(undefined, ['sh', '-c', 'id -u'], options)).stdout.trim()
    }
    for (let round = 0; round < ENOUGH; round++) expect(await called(1234)).toBe('1234')
    for (const uid of [1235, 1236, 1236, 1237]) expect(await called(uid)).toBe(String(uid))
    renameSync(join(rootfs, 'bin/sh'), join(rootfs, 'bin/gone'))
    await expect(called(1237)).rejects.toThrow('exec "sh": executable file not found')
  })

  it('is not begun where that is not wanted', async () => {
    const plain = tscrun.createEngine({ root: machine.store, runRoot: machine.runRoot, ahead: false })
    const ours = (): number[] => childrenOf(process.pid).filter((pid) => commandOf(pid).startsWith('tscrun'))
    await until(() => ours().length === 0)
    for (let round = 0; round < 6; round++) await show('true', plain)
    expect(ours()).toEqual([])
  })
})

/** A program of its own: runs containers, then does what it is told line by line and says how it went. */
const PROGRAM = `
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
const { createEngine } = await import(${JSON.stringify(join(PROJECT, 'dist/index.js'))})
const [root, runRoot, path, kind, network] = isMainThread ? process.argv.slice(2) : workerData
const engine = createEngine({ root, runRoot })
const show = async (script) => (await engine.run(undefined, ['sh', '-c', script], { rootfs: { path, overlay: true }, network })).stdout.trim()
const VIEW = (network === 'none' ? '' : 'ping -c 1 -W 3 10.110.0.1 >/dev/null && ') + 'ulimit -c; cat /proc/self/oom_score_adj /proc/self/coredump_filter; cut -d" " -f 19 /proc/self/stat; grep Cpus_allowed_list /proc/self/status | cut -f 2; umask'
const CHANGES = {
  nothing: () => undefined,
  limit: () => execFileSync('prlimit', ['--pid', String(process.pid), '--core=4096:8192']),
  score: () => writeFileSync('/proc/self/oom_score_adj', '321'),
  dumps: () => writeFileSync('/proc/self/coredump_filter', '0x11'),
  priority: () => setPriority(7),
  processors: () => execFileSync('taskset', ['-cp', '1', String(process.pid)]),
  umask: () => process.umask(0o77),
}
if (isMainThread && kind === 'worker') {
  const worker = new Worker(new URL(import.meta.url), { workerData: [root, runRoot, path, kind, network], execArgv: [] })
  worker.on('message', () => console.log('ready'))
  process.stdin.on('data', (text) => String(text).includes('end') ? worker.terminate() : worker.postMessage('again'))
} else {
  for (let round = 0; round < ${ENOUGH}; round++) await show(VIEW)
  if (kind === 'changes') {
    for (const [name, change] of Object.entries(CHANGES)) {
      await show(VIEW)
      change()
      console.log(name, (await show(VIEW)).replaceAll('\\n', ' '))
    }
  } else {
    const tell = () => parentPort === null ? console.log('ready') : parentPort.postMessage('ready')
    const again = () => show(VIEW).then(tell)
    tell()
    if (parentPort !== null) parentPort.on('message', again)
    else process.stdin.on('data', (text) => String(text).includes('end') ? process.stdin.destroy() : again())
  }
}
`

function startProgram(kind: 'ends' | 'waits' | 'worker' | 'changes', host?: HostNetwork) {
  const path = join(machine.directory, 'program.mjs')
  writeFileSync(path, PROGRAM)
  const network = host === undefined ? 'none' : 'bridge'
  const words = [process.execPath, path, machine.store, machine.runRoot, machine.rootfs, kind, network]
  const [program = '', ...args] = [...(host?.enter ?? []), ...words]
  return execa(program, args, { reject: false })
}

/** Started, and what waits in it. */
async function ready(program: ReturnType<typeof startProgram>): Promise<Waiting> {
  for (;;) {
    await new Promise((resolve) => program.stdout.once('data', resolve))
    const waiting = await seen(program.pid ?? 0)
    if (waiting !== undefined) return waiting
    program.stdin.write('again\n')
  }
}

describe('what waits to be wanted', () => {
  it('is gone by itself after the SIGKILL of its process', async () => {
    const program = startProgram('waits')
    const waiting = await ready(program)
    program.kill('SIGKILL')
    await expectGone(waiting)
    await program
    expectNothingLeft(machine)
  })

  it('is gone by itself after the end of its Worker', async () => {
    const program = startProgram('worker')
    const waiting = await ready(program)
    program.stdin?.write('end\n')
    await expectGone(waiting)
    program.kill()
    await program
    expectNothingLeft(machine)
  })

  it('does not keep its process, and goes with it', async () => {
    const program = startProgram('ends')
    const waiting = await ready(program)
    program.stdin?.write('end\n')
    expect(await program).toMatchObject({ exitCode: 0, stderr: '' })
    await expectGone(waiting)
    expectNothingLeft(machine)
  })

  it('is not what the command runs in where its process has changed in what a container inherits', async () => {
    const { stdout, stderr } = await startProgram('changes')
    expect(stderr).toBe('')
    const [nothing, ...changed] = stdout.split('\n').map((line) => line.split(' ').slice(1))
    const now = [...(nothing ?? [])]
    // core in half kilobytes, score, kinds of memory in a dump, nice, processors; the umask is the container's own.
    for (const [at, value] of ['8', '321', '00000011', '7', '1', now[5] ?? ''].entries()) {
      if (at < 5) expect(now[at]).not.toBe(value)
      now[at] = value
      expect(changed[at]).toEqual(now)
    }
  })
})

describe('what waits to be wanted in a network', () => {
  const net = useHostNetwork(machine)

  const leases = (): string[] =>
    readdirSync(join(machine.store, 'leases')).flatMap((network) =>
      readdirSync(join(machine.store, 'leases', network)).map((address) =>
        join(machine.store, 'leases', network, address),
      ),
    )
  const links = (): Promise<string> => net.host('ip -br link show type veth')

  it('is plugged in, under addresses that nobody else can have, and gives them back with its process', async () => {
    const program = startProgram('waits', net)
    const waiting = await ready(program)
    expect(leases().map((lease) => readlinkSync(lease))).toEqual(Array(2).fill(`${waiting.id.slice(0, 32)}+`))
    expect(await links()).toMatch(new RegExp(`^tv0${waiting.id.slice(0, 11)}@\\S+ +UP `, 'm'))
    const inside = await execa('nsenter', ['-t', String(waiting.init), '-n', 'ip', '-o', 'addr', 'show', 'eth0'])
    for (const lease of leases()) expect(inside.stdout).toContain(` ${lease.split('/').at(-1)}/`)
    program.kill('SIGKILL')
    await expectGone(waiting)
    await until(() => leases().length === 0)
    while ((await links()).includes('tv0')) await program
  })

  it('is made anew under its id where its stage was killed: its link and addresses are in nobody’s way', async () => {
    const program = startProgram('waits', net)
    for (let round = 0; round < 3; round++) {
      const waiting = await ready(program)
      process.kill(waiting.stage, 'SIGKILL')
      program.stdin.write('again\n')
    }
    await ready(program)
    program.stdin.write('end\n')
    program.kill()
    expect(await program).toMatchObject({ stderr: '' })
    await until(() => leases().length === 0)
  })

  it('has its addresses and its cgroup taken away by a later command where it was killed with its process', async () => {
    const program = startProgram('waits', net)
    const waiting = await ready(program)
    process.kill(program.pid ?? 0, 'SIGSTOP')
    process.kill(waiting.stage, 'SIGKILL')
    program.kill('SIGKILL')
    await until(() => !isAlive(waiting.stage))
    const list = (): Promise<unknown> => net.tscrun(['ps', '-a'])
    await list()
    const cgroups = cgroupsOf(waiting.id)
    expect(leases()).toHaveLength(2)
    expect(cgroups).toHaveLength(1)
    for (const begun of [...leases(), ...cgroups]) lutimesSync(begun, 0, 0)
    await list()
    expect(leases()).toEqual([])
    expect(cgroupsOf(waiting.id)).toEqual([])
  })
})
