import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { busyboxRootfs, CGROUPS, cgroups, hold, run, RUN_ROOT, STORE, tscrun, until } from './fixtures/containers.ts'

function containersOf(store: string): string[] {
  return readdirSync(join(store, 'containers'))
}

/** Pids whose command line is exactly this. */
function pidsOf(command: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => textOf(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim() === command)
    .map(Number)
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ESRCH') throw error
    return ''
  }
}

function parentOf(pid: number): number {
  return Number(/^PPid:\t(\d+)$/m.exec(textOf(`/proc/${pid}/status`))?.[1])
}

describe('the cgroup of a container', () => {
  it('is where its first process is born: /tscrun/<id> outside, / inside', async () => {
    const held = await hold(['--memory', '64m'], 'cat /proc/self/cgroup; cat /proc/1/cgroup')
    expect(textOf(`/proc/${held.pid}/cgroup`)).toBe(`0::/tscrun/${held.id}\n`)
    expect(held.id).toMatch(/^[0-9a-f]{64}$/)
    expect(held.read('cgroup.procs')).toBe(String(held.pid))
    const { stdout } = await held.end()
    expect(stdout).toBe('0::/\n0::/\nready\n')
    expect(existsSync(held.cgroup)).toBe(false)
  })

  it('holds the container alone: who looks after it is elsewhere', async () => {
    const held = await hold(['--memory', '16m'])
    const monitor = parentOf(held.pid)
    expect(textOf(`/proc/${monitor}/comm`)).toBe('tscrun-monitor\n')
    expect(textOf(`/proc/${monitor}/cgroup`)).not.toContain(held.id)
    await held.end()
  })

  it('is removed with those the container made in it', async () => {
    const script = `cd /sys/fs/cgroup && mkdir a a/b a/b/c && echo $$ > a/b/c/cgroup.procs
      cat /proc/self/cgroup && echo '+pids +memory' > cgroup.subtree_control && cat a/cgroup.controllers`
    const held = await hold(['--privileged'], script)
    expect(existsSync(join(held.cgroup, 'a/b/c'))).toBe(true)
    const { stdout } = await held.end()
    expect(stdout).toBe('0::/a/b/c\nmemory pids\nready\n')
    expect(existsSync(held.cgroup)).toBe(false)
  })

  it("is removed when --pid host leaves a process behind: it ends with the container's first", async () => {
    const { exitCode } = await run(['--pid', 'host'], 'setsid sleep 7001 & sleep 7001 & exit 4')
    expect(exitCode).toBe(4)
    expect(pidsOf('sleep 7001')).toEqual([])
    expect(cgroups()).toEqual([])
  })

  it("cannot be changed from inside: its files are read-only and its limits are not the container's", async () => {
    const script = 'echo max > /sys/fs/cgroup/memory.max; mkdir /sys/fs/cgroup/sub; cat /sys/fs/cgroup/memory.max'
    const { stdout, stderr } = await run(['--memory', '64m'], script)
    expect(stdout).toBe(String(64 * 2 ** 20))
    expect(stderr).toMatch(/memory\.max: Read-only file system[^]*sub': Read-only file system/)
  })

  it('belongs to the root of the container as far as it may divide it', async () => {
    const held = await hold(['--memory', '64m'])
    const range = Number(/^ *0 +(\d+)/.exec(textOf(`/proc/${held.pid}/uid_map`))?.[1])
    const owners = await run(
      ['--pid', 'host', '--userns', 'host', '-v', `${held.cgroup}:/held`],
      'stat -c "%n %u" /held /held/cgroup.* /held/memory.max',
    )
    await held.end()
    const mine = owners.stdout
      .split('\n')
      .filter((line) => line.endsWith(` ${range}`))
      .map((line) => line.split(' ')[0] ?? '')
    expect(mine.toSorted()).toEqual([
      '/held',
      '/held/cgroup.procs',
      '/held/cgroup.subtree_control',
      '/held/cgroup.threads',
    ])
  })
})

describe('a killed', () => {
  const argv = ['run', '--rm', '--memory', '64m', '--rootfs', `${busyboxRootfs()}:O`]

  it('command takes its container along, frozen and with processes outside its pid namespace; nothing of it stays', async () => {
    const [run, ...flags] = argv
    const cli = tscrun([run ?? '', '--pid', 'host', ...flags, 'sh', '-c', 'setsid sleep 7002 & exec sleep 7002'])
    await until(() => pidsOf('sleep 7002').length === 2)
    expect(cgroups()).toHaveLength(1)
    const cgroup = join(CGROUPS, cgroups()[0] ?? '')
    writeFileSync(join(cgroup, 'cgroup.freeze'), '1')
    await until(() => textOf(join(cgroup, 'cgroup.events')).includes('frozen 1'))
    cli.kill('SIGKILL')
    await cli
    await until(() => pidsOf('sleep 7002').length === 0)
    await until(() => cgroups().length === 0)
    // Its files are what the next command finds.
    await tscrun(['ps'])
    expect([...containersOf(STORE), ...readdirSync(RUN_ROOT)]).toEqual([])
  })

  it('monitor takes the container along, and the command that waited removes the cgroup', async () => {
    const cli = tscrun([...argv, 'sleep', '7003'])
    const pid = await until(() => pidsOf('sleep 7003')[0])
    process.kill(parentOf(pid), 'SIGKILL')
    const { exitCode, stderr } = await cli
    expect(exitCode).toBe(125)
    expect(stderr).toMatch(/monitor/)
    expect(pidsOf('sleep 7003')).toEqual([])
    expect(cgroups()).toEqual([])
    expect([...containersOf(STORE), ...readdirSync(RUN_ROOT)]).toEqual([])
  })

  it('monitor and command at once leave a cgroup that the next command removes', async () => {
    // With processes that do not end with process 1, and cgroups of its own.
    const script =
      'mkdir /sys/fs/cgroup/own; (echo 0 > /sys/fs/cgroup/own/cgroup.procs; exec setsid sleep 7004) & exec sleep 7005'
    const cli = tscrun([
      ...argv.slice(0, 2),
      '--memory',
      '64m',
      '--privileged',
      '--pid',
      'host',
      ...argv.slice(4),
      'sh',
      '-c',
      script,
    ])
    const pid = await until(() => pidsOf('sleep 7005')[0])
    await until(() => pidsOf('sleep 7004')[0])
    const monitor = parentOf(pid)
    process.kill(cli.pid ?? 0, 'SIGSTOP')
    process.kill(monitor, 'SIGKILL')
    process.kill(cli.pid ?? 0, 'SIGKILL')
    await cli
    expect(cgroups()).toHaveLength(1)
    expect(existsSync(join(CGROUPS, cgroups()[0] ?? '', 'own'))).toBe(true)
    expect((await tscrun(['ps', '-aq'])).stdout).toBe('')
    expect(pidsOf('sleep 7004')).toEqual([])
    expect(cgroups()).toEqual([])
    expect([...containersOf(STORE), ...readdirSync(RUN_ROOT)]).toEqual([])
  })
})
