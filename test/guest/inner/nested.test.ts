import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { busyboxRootfs, cgroups, DATA, PROJECT, run } from './fixtures/containers.ts'

const TSCRUN = join(PROJECT, 'bin/tscrun')

/** A `tscrun run` with a store of its own on the disk. */
function inner(flags: string, script: string): string {
  return `${TSCRUN} --root ${DATA}/inner --runroot /tmp/tscrun-inner run --network none ${flags} --rootfs ${busyboxRootfs()}:O sh -c '${script}'`
}

describe('tscrun in a privileged container of tscrun', () => {
  it('limits its containers: it moves the processes that stand in the way one level down', async () => {
    const script = `cat /proc/self/cgroup
      ${inner('--memory 64m --rm', 'cat /sys/fs/cgroup/memory.max /proc/self/cgroup; exec dd if=/dev/zero of=/dev/null bs=200M count=1')}
      echo $?; cat /proc/self/cgroup; ls -d /sys/fs/cgroup/tscrun /sys/fs/cgroup/tscrun/*/; exit 5`
    const flags = ['--privileged', '-v', `${PROJECT}:${PROJECT}:ro`, '-v', `${DATA}:${DATA}`, '--memory', '1g']
    const { exitCode, stdout, stderr, oomKilled } = await run(flags, script, { rootfs: '/' })
    expect(stderr).toBe("ls: cannot access '/sys/fs/cgroup/tscrun/*/': No such file or directory")
    expect(stdout.split('\n')).toEqual([
      '0::/',
      String(64 * 2 ** 20),
      '0::/',
      '137',
      '0::/init',
      '/sys/fs/cgroup/tscrun',
    ])
    expect(exitCode).toBe(5)
    // The kernel counts what happened below, too.
    expect(oomKilled).toBe(true)
    expect(cgroups()).toEqual([])
  })
})

it('a privileged container has every controller for containers of its own', async () => {
  const limits = '--cpuset-cpus 0 --cgroup-conf hugetlb.2MB.max=4194304 --rm'
  const shown = inner(limits, 'cat /sys/fs/cgroup/cpuset.cpus.effective /sys/fs/cgroup/hugetlb.2MB.max')
  const flags = ['--privileged', '-v', `${PROJECT}:${PROJECT}:ro`, '-v', `${DATA}:${DATA}`]
  const { exitCode, stdout, stderr } = await run(flags, shown, { rootfs: '/' })
  expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: '0\n4194304', stderr: '' })
})

describe('tscrun in a container of tscrun without privileges', () => {
  it('says in one line what it lacks', async () => {
    const script = `${inner('--rm', 'echo never')}; echo $?; ${inner('--rm --memory 64m', 'echo never')}; echo $?`
    const flags = ['--userns', 'host', '-v', `${PROJECT}:${PROJECT}:ro`, '-v', `${DATA}:${DATA}`]
    const { stdout, stderr } = await run(flags, script, { rootfs: '/' })
    expect(stdout).toBe('125\n125')
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/^tscrun: clone3 .*: ENOSYS \(.*--privileged.*\)$/),
      expect.stringMatching(/^tscrun: cgroup \/sys\/fs\/cgroup: mounted read-only \(.*--privileged.*\)$/),
    ])
  })
})

describe('where a controller is not handed down', () => {
  const above = '/sys/fs/cgroup/tscrun-test-bare'
  const bare = join(above, 'inner')
  beforeAll(() => {
    mkdirSync(bare, { recursive: true })
    writeFileSync(join(above, 'cgroup.subtree_control'), '+pids')
  })
  afterAll(() => {
    for (const path of [join(bare, 'tscrun'), join(bare, 'init'), bare, above]) if (existsSync(path)) rmdirSync(path)
  })

  /** Sees this cgroup as the root of everything, as in a container or a delegated slice. */
  async function below(command: string) {
    const script = `echo $$ > ${bare}/cgroup.procs && exec unshare --cgroup --mount sh -c 'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && ${command.replaceAll("'", `'\\''`)}'`
    return execa('sh', ['-c', script], { reject: false })
  }

  it('its limit is refused in one line that names it', async () => {
    const { exitCode, stderr } = await below(inner('--rm --memory 64m', 'echo never'))
    expect(exitCode).toBe(125)
    expect(stderr).toMatch(/^tscrun: limit memory\S*: the memory controller is not in this host's cgroup v2 hierarchy/)
    expect(stderr.split('\n').length).toBeLessThanOrEqual(2)
  })

  it('another limit holds, and the container runs', async () => {
    const { exitCode, stdout } = await below(
      `${inner('--rm --pids-limit 7', 'cat /sys/fs/cgroup/pids.max; ls /sys/fs/cgroup/memory.max')} 2>/dev/null`,
    )
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '7' })
    expect(readFileSync(join(bare, 'cgroup.subtree_control'), 'utf8').trim()).toBe('pids')
  })
})
