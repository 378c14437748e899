import { copyFileSync, existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import {
  cgroupsOf,
  expectNothingLeft,
  isAlive,
  useMachine,
  pidOf,
  TSCRUN,
  until,
  within,
  type Running,
} from './fixtures/machine.ts'
import { expectNode, preparedFiles, request, WITHOUT_NODE } from './fixtures/prepared.ts'
import { openPty } from './fixtures/pty.ts'

const machine = useMachine()
afterEach(async () => {
  await machine.tscrun(['ps', '-a'])
  expectNothingLeft(machine)
})

/** All that a container can tell about itself. */
const EVERYTHING = `
  grep -E '^(Cap|Seccomp|NoNewPrivs|Uid|Gid|Groups|Sig|Cpus|Mems|NSpid)' /proc/self/status
  cat /proc/self/uid_map /proc/self/gid_map /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj
  cut -d' ' -f4- /proc/self/mountinfo | sort
  env | sort; pwd; umask; hostname; id; ps -o pid,user,args | grep -v 'ps -o\\|grep -v\\|\\[exe\\]\\|\\[sh\\]\\|sh$'
  cat /etc/hosts /etc/hostname /etc/resolv.conf
  ls -lan /dev /dev/pts | sed -E 's/ [A-Z][a-z]{2} +[0-9]+ +[0-9:]+ / /'
  for n in 0 1 2 3 4 5; do readlink /proc/$$/fd/$n; done | tr -d '[0-9]'
  ls -an / | awk '{print $1, $3, $4, $9}'
  cat /proc/sys/net/ipv4/ping_group_range /proc/keys
  ip addr; exit 7`

/** Without what makes each container itself. */
function alike(text: string): string {
  const first = Number(/^\s+0\s+(\d{6,10})\s+65536$/m.exec(text)?.[1] ?? Number.NaN)
  const hostname = /^HOSTNAME=([0-9a-f]{12})$/m.exec(text)?.[1]
  const ranged = text.replaceAll(/\d{6,10}/g, (digits) => {
    const offset = Number(digits) - first
    return offset >= 0 && offset < 65536 ? `FIRST+${offset}` : digits
  })
  return (hostname === undefined ? ranged : ranged.replaceAll(hostname, 'HOST'))
    .replaceAll(/\b[a-z]+_[a-z]+_[0-9a-f]{4}\b/g, 'NAME')
    .replaceAll(/^[0-9a-f]{8} /gm, 'KEY ')
}

describe('a start that was made before', () => {
  it.each<{ readonly flags: readonly string[] }>([
    { flags: [] },
    { flags: ['--init', '--env', 'A=b', '--workdir', '/tmp', '--user', 'alice'] },
    { flags: ['--cap-drop', 'all', '--read-only', '--tmpfs', '/scratch:size=1m', '--hostname', 'fixed'] },
    {
      flags: ['--ulimit', 'nofile=100:200', '--oom-score-adj', '77', '--umask', '027', '--add-host', 'other:10.0.0.1'],
    },
    {
      flags: [
        '--cap-add',
        'net_admin',
        '--shm-size',
        '1m',
        '--sysctl',
        'net.ipv4.ip_forward=1',
        '--group-add',
        'audio',
      ],
    },
    { flags: ['--volume', 'SOURCE:/host:ro', '--label', 'a=b', '--annotation', 'c=d', '--entrypoint', ''] },
  ])('gives the same container without Node: $flags', async ({ flags: words }) => {
    // The filesystem that programs are on may be an overlay, which cannot be id-mapped.
    const flags = words.map((word) => word.replace('SOURCE', machine.rootfs))
    const asked = request(machine, flags, ['sh', '-c', EVERYTHING])
    const first = await asked.prepare()
    const second = await asked.replay()
    expect({ exitCode: first.exitCode, stderr: first.stderr }).toEqual({ exitCode: 7, stderr: '' })
    expect({ exitCode: second.exitCode, stderr: second.stderr }).toEqual({ exitCode: 7, stderr: '' })
    expect(alike(second.stdout)).toBe(alike(first.stdout))
    expect(first.stdout.split('\n').length).toBeGreaterThan(80)
    // Each has an identity of its own.
    if (flags.length === 0) expect(second.stdout).not.toBe(first.stdout)
  })

  it('hands on what is typed, all of both streams, and how it ended', async () => {
    const script = 'cat; seq 200000; seq 100000 >&2; kill -TERM $$; sleep 9'
    const asked = request(machine, ['-i', '--init'], ['sh', '-c', script])
    const typed = { input: 'typed\n', stdin: 'pipe' } as const
    const numbers = (count: number): string => Array.from({ length: count }, (_, index) => `${index + 1}\n`).join('')
    for (const ended of [await asked.prepare(typed), await asked.replay(typed)]) {
      expect(ended.exitCode).toBe(143)
      expect(ended.stdout).toBe(`typed\n${numbers(200_000)}`)
      expect(ended.stderr).toBe(numbers(100_000))
    }
  })

  it('leaves a record that other commands find it by', async () => {
    const asked = request(machine, ['-i', '--label', 'kind=found'], ['sh', '-c', 'echo up; read line; exit 9'])
    await asked.prepare({ input: '\n', stdin: 'pipe' })
    const { TSCRUN_NODE } = WITHOUT_NODE
    const look = async (env: Readonly<Record<string, string>>): Promise<string> => {
      const running = asked.again({ stdin: 'pipe', env })
      await new Promise((resolve) => running.stdout.once('data', resolve))
      const found = await machine.tscrun(['ps', '-q', '--no-trunc', '--filter', 'label=kind=found'])
      const id = found.stdout.trim()
      const read = (name: string): unknown => JSON.parse(readFileSync(join(machine.runRoot, id, name), 'utf8'))
      const record = read('container.json') as { createdMs: number; name: string; idRange: { hostId: number } }
      expect(Math.abs(Date.now() - record.createdMs)).toBeLessThan(60_000)
      const state = (await until(() => machine.containers().length > 0 && read('state.json'))) as { pid: number }
      expect(readFileSync(`/proc/${state.pid}/cgroup`, 'utf8')).toContain(id)
      const inside = await machine.tscrun(['exec', id, 'hostname'])
      expect(inside).toMatchObject({ exitCode: 0, stderr: '', stdout: `${id.slice(0, 12)}\n` })
      running.stdin?.end('\n')
      expect((await running).exitCode).toBe(9)
      return JSON.stringify([{ ...record, createdMs: 0 }, Object.keys(state)])
        .replaceAll(id, 'ID')
        .replaceAll(id.slice(0, 12), 'SHORT')
        .replaceAll(record.name, 'NAME')
        .replaceAll(String(record.idRange.hostId), 'FIRST')
    }
    expect(await look({ TSCRUN_NODE })).toBe(await look({ TSCRUN_PREPARED: '0' }))
  })

  it('works forty at once, each with an id, a name and a range of its own', async () => {
    const asked = request(machine, ['-i'], ['sh', '-c', 'hostname; cat /proc/self/uid_map; read line'])
    await asked.prepare({ input: '\n', stdin: 'pipe' })
    const running = Array.from({ length: 40 }, () => asked.replay({ stdin: 'pipe' }))
    const names = join(machine.store, 'names')
    await until(() => readdirSync(join(machine.store, 'ranges')).length === 40 && readdirSync(names).length === 40)
    expect(new Set(readdirSync(names).map((name) => readlinkSync(join(names, name)))).size).toBe(40)
    for (const { stdin } of running) stdin?.end('\n')
    const ended = await Promise.all(running)
    expect(ended.map(({ exitCode, stderr }) => [exitCode, stderr])).toEqual(ended.map(() => [0, '']))
    expect(new Set(ended.map(({ stdout }) => stdout)).size).toBe(40)
    expectNothingLeft(machine)
  }, 120_000)

  it('is left to Node where a killed command has left something, which is then put right', async () => {
    const asked = request(machine, [], ['true'])
    await asked.prepare()
    const victim = machine.run([], ['probe', 'stay'])
    await new Promise((resolve) => victim.stdout.once('data', resolve))
    expect((await asked.replay()).exitCode).toBe(0)
    victim.kill('SIGKILL')
    await victim
    // The monitor has ended: its lock is free.
    await until(() => readdirSync(join(machine.store, 'containers')).length === 1)
    await expectNode(asked.replay())
    expect((await asked.prepare()).exitCode).toBe(0)
    expectNothingLeft(machine)
  })

  it('is not kept where it failed, and fails in the same words', async () => {
    const before = preparedFiles(machine)
    for (const command of ['absent', 'not-executable']) {
      const [one, other] = [await machine.run([], [command]), await machine.run([], [command])]
      expect([one.exitCode, one.stderr]).toEqual([other.exitCode, other.stderr])
      expect(one.exitCode).toBeGreaterThan(125)
    }
    expect(preparedFiles(machine)).toEqual(before)
  })

  it('that fails now is told by Node', async () => {
    const asked = request(machine, [], ['/tmp/appears'])
    const program = join(machine.rootfs, 'tmp/appears')
    copyFileSync(join(machine.rootfs, 'bin/probe'), program)
    expect((await asked.prepare()).exitCode).toBe(2)
    expect((await asked.replay()).exitCode).toBe(2)
    rmSync(program)
    await expectNode(asked.replay())
    expect((await machine.run([], ['/tmp/appears'])).exitCode).toBe(127)
  })
})

describe('signals of a replayed start', () => {
  let count = 0
  /** A command that runs until it is told to end, prepared by a first one that was killed. */
  async function begin(command: readonly string[]): Promise<{ readonly running: Running }> {
    const asked = request(machine, ['--label', `test=${count++}`], command)
    const before = preparedFiles(machine)
    const isKept = (): boolean => preparedFiles(machine).some((file) => !before.includes(file))
    while (!isKept()) {
      const first = asked.again()
      await new Promise((resolve) => first.stdout.once('data', resolve))
      await within(1000, isKept)
      for (const id of machine.containers()) await machine.tscrun(['rm', '-f', id])
      await first
    }
    const running = asked.replay()
    await new Promise((resolve) => running.stdout.once('data', resolve))
    return { running }
  }

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGALRM'] as const)(
    '%s reaches the command',
    async (signal) => {
      const script = `trap 'echo got; exit 33' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`
      const { running } = await begin(['sh', '-c', script])
      running.kill(signal)
      const { exitCode, stdout, stderr } = await running
      expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 33, stdout: 'ready\ngot\n', stderr: '' })
    },
  )

  it('SIGKILL ends the container, and the next command removes the rest', async () => {
    const { running } = await begin(['probe', 'stay'])
    const [id = ''] = machine.containers()
    const [cgroup = ''] = cgroupsOf(id)
    const pids = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number)
    expect(pids).toHaveLength(2)
    running.kill('SIGKILL')
    await running
    await until(() => !pids.some(isAlive))
    await until(() => cgroupsOf(id).length === 0)
    await machine.tscrun(['ps', '-a'])
    expectNothingLeft(machine)
  })

  it('a killed monitor is told in the same words, and nothing is left', async () => {
    const { running } = await begin(['probe', 'stay'])
    const [id = ''] = machine.containers()
    const path = join(machine.runRoot, id, 'container.json')
    // Written beside the start, not before it.
    await until(() => existsSync(path))
    const record = JSON.parse(readFileSync(path, 'utf8')) as { name: string }
    process.kill(pidOf(`tscrun: ${record.name}`) ?? expect.fail('no monitor'), 'SIGKILL')
    const { exitCode, stderr } = await running
    expect(exitCode).toBe(125)
    expect(stderr).toMatch(/^tscrun: the monitor of the container was killed from outside \(.*\)\n$/)
    expect(cgroupsOf(id)).toEqual([])
    expectNothingLeft(machine)
  })
})

describe('a terminal of a replayed start', () => {
  it("is the container's own, follows the window, and is restored", async () => {
    const line = [
      TSCRUN,
      '--root',
      machine.store,
      '--runroot',
      machine.runRoot,
      'run',
      '--rm',
      '-it',
      '--rootfs',
      `${machine.rootfs}:O`,
      'sh',
    ]
    const shell = openPty(['sh', '-c', '"$@"; TSCRUN_NODE=/nonexistent/node "$@"; echo over $?', 'sh', ...line], {
      rows: 31,
      columns: 97,
    })
    try {
      const before = shell.settings()
      const sees = (text: string | RegExp): Promise<unknown> =>
        until(() => (typeof text === 'string' ? shell.output().includes(text) : text.test(shell.output())))
      await sees('# ')
      shell.type('echo first-$((1+1)); exit\n')
      await sees(/first-2[^]*BusyBox[^]*# /)
      shell.type('stty size; tty; echo second-$((2+2))\n')
      await sees('second-4')
      expect(shell.output()).toMatch(/31 97\r\n\/dev\/pts\/0/)
      shell.resize(20, 60)
      shell.type('until test "$(stty size)" = "20 60"; do :; done; echo resized-$((3+3))\n')
      await sees('resized-6')
      shell.type('exit 5\n')
      await sees('over 5')
      await shell.ended
      expect(shell.settings()).toBe(before.replace(/rows \d+; columns \d+/, 'rows 20; columns 60'))
    } finally {
      shell.child.kill('SIGKILL')
      await shell.ended
      shell.close()
    }
  })
})
