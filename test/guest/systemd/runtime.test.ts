import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { cgroupOf, exists, read, show } from './fixtures/units.ts'

const RUNTIME = fileURLToPath(new URL('../../../bin/tscrun-runtime', import.meta.url))
const STATES = '/run/tscrun-runtime-test'
const MIB = 2 ** 20

function runtime(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const command = ['--systemd-cgroup', '--root', STATES, ...args]
  // A file, not a pipe: the container inherits it and outlives its `create`.
  const script = 'exec "$@" >/tmp/runtime.out 2>/tmp/runtime.err </dev/null'
  const { status } = spawnSync('sh', ['-c', script, 'sh', RUNTIME, ...command])
  return { status, stdout: readFileSync('/tmp/runtime.out', 'utf8'), stderr: readFileSync('/tmp/runtime.err', 'utf8') }
}

/** What `runtime` printed; throws with its words where it fails. */
function done(...args: string[]): string {
  const { status, stdout, stderr } = runtime(...args)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}

interface Wishes {
  readonly cgroupsPath?: string
  readonly resources?: object
  readonly annotations?: object
  readonly script?: string
}

/** A bundle around Debian's static busybox. */
function bundle({ cgroupsPath, resources, annotations = {}, script = 'exec sleep 1000' }: Wishes): string {
  const directory = mkdtempSync('/tmp/bundle-')
  for (const path of ['bin', 'proc', 'dev', 'sys', 'tmp'])
    mkdirSync(join(directory, 'rootfs', path), { recursive: true })
  copyFileSync('/bin/busybox', join(directory, 'rootfs/bin/busybox'))
  for (const applet of ['sh', 'sleep', 'cat']) symlinkSync('busybox', join(directory, 'rootfs/bin', applet))
  const capabilities = { bounding: ['CAP_MKNOD'], permitted: ['CAP_MKNOD'], effective: ['CAP_MKNOD'] }
  const config = {
    ociVersion: '1.2.0',
    root: { path: 'rootfs' },
    process: { user: { uid: 0, gid: 0 }, args: ['sh', '-c', script], env: ['PATH=/bin'], cwd: '/', capabilities },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    ],
    annotations,
    linux: {
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'network', 'cgroup'].map((type) => ({ type })),
      ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
      ...(resources === undefined ? {} : { resources }),
    },
  }
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  return directory
}

let count = 0

/** A created container, which the test's end deletes. */
function create(wishes: Wishes): { readonly id: string; readonly pid: number; readonly bundle: string } {
  const id = `c${++count}`
  const directory = bundle(wishes)
  onTestFinished(() => {
    runtime('delete', '--force', id)
  })
  done('create', '--bundle', directory, '--pid-file', `/tmp/${id}.pid`, id)
  return { id, pid: Number(readFileSync(`/tmp/${id}.pid`, 'utf8')), bundle: directory }
}

describe('tscrun-runtime --systemd-cgroup', () => {
  const resources = {
    memory: { limit: 64 * MIB, swap: 64 * MIB },
    cpu: { quota: 12_345, period: 100_000 },
    pids: { limit: 50 },
    devices: [{ allow: false, access: 'rwm' }],
    unified: { 'memory.high': String(48 * MIB), 'hugetlb.2MB.max': '0' },
  }

  it('leads a container through its life in a scope', () => {
    const { id, pid } = create({ cgroupsPath: 'aa-bb.slice:xx:web', resources })
    const cgroup = '/aa.slice/aa-bb.slice/xx-web.scope'
    expect(cgroupOf(pid)).toBe(cgroup)
    const limits = ['memory.max', 'memory.swap.max', 'memory.high', 'cpu.max', 'pids.max', 'hugetlb.2MB.max']
    const wanted = [String(64 * MIB), '0', String(48 * MIB), '12345 100000', '50', '0']
    expect(limits.map((file) => read(cgroup, file))).toEqual(wanted)
    expect(show('xx-web.scope', 'Description')).toEqual({ Description: `tscrun container ${id}` })
    done('start', id)
    expect(JSON.parse(done('state', id))).toMatchObject({ status: 'running', pid })
    // Its own cgroup is the root of what it sees; a process that comes later is in it too.
    expect(done('exec', id, 'cat', '/proc/1/cgroup', '/proc/self/cgroup')).toBe('0::/\n0::/\n')
    done('update', '--memory', String(128 * MIB), '--memory-swap', String(128 * MIB), id)
    expect(read(cgroup, 'memory.max')).toBe(String(128 * MIB))
    execFileSync('systemctl', ['daemon-reload'])
    expect(show('xx-web.scope', 'MemoryMax', 'MemorySwapMax', 'TasksMax')).toEqual({
      MemoryMax: String(128 * MIB),
      MemorySwapMax: '0',
      TasksMax: '50',
    })
    done('pause', id)
    expect(JSON.parse(done('state', id))).toMatchObject({ status: 'paused' })
    done('resume', id)
    done('kill', id, 'KILL')
    done('delete', '--force', id)
    expect(exists(cgroup)).toBe(false)
    expect(show('xx-web.scope', 'LoadState')).toEqual({ LoadState: 'not-found' })
  })

  it('names the scope after the container where config.json does not, and hears annotations', () => {
    const { id, pid } = create({ annotations: { 'org.systemd.property.TimeoutStopSec': '7' } })
    expect(cgroupOf(pid)).toBe(`/system.slice/tscrun-${id}.scope`)
    expect(show(`tscrun-${id}.scope`, 'TimeoutStopUSec')).toEqual({ TimeoutStopUSec: '7s' })
  })

  it('guards the devices beside systemd: what rules allow can be used, other devices not', async () => {
    const script = `for node in 'null c 1 3' 'kmsg c 1 11' 'vda b 254 0' 'fuse c 10 229'; do
        set -- $node; busybox mknod /tmp/$1 $2 $3 $4; if (: </tmp/$1) 2>/dev/null; then echo $1 0; else echo $1 1; fi; done >/tmp/result; exec sleep 1000`
    const rules = [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'b', major: 254, minor: 0, access: 'r' },
    ]
    const { id, bundle } = create({ script, resources: { devices: rules } })
    done('start', id)
    const result = (): string => {
      const path = join(bundle, 'rootfs/tmp/result')
      return existsSync(path) ? readFileSync(path, 'utf8') : ''
    }
    await expect.poll(result, { timeout: 30_000 }).toBe('null 0\nkmsg 1\nvda 0\nfuse 1\n')
  })

  it('changes the devices beside systemd, which has a filter of its own, as often as it is asked', () => {
    const kmsg = (allow: boolean): object[] => [
      { allow: false, access: 'rwm' },
      { allow, type: 'c', major: 1, minor: 11, access: 'rw' },
    ]
    const { id } = create({ resources: { devices: kmsg(false) } })
    done('start', id)
    const tried = (): string => done('exec', id, 'sh', '-c', 'if (: >/tmp/k) 2>/dev/null; then echo may; fi')
    done('exec', '--cap', 'MKNOD', id, 'busybox', 'mknod', '/tmp/k', 'c', '1', '11')
    expect(tried()).toBe('')
    for (const [allow, seen] of [
      [true, 'may\n'],
      [false, ''],
    ] as const) {
      writeFileSync('/tmp/resources.json', JSON.stringify({ devices: kmsg(allow) }))
      done('update', '--resources', '/tmp/resources.json', id)
      // systemd applies what it was told after it has answered.
      execFileSync('systemctl', ['daemon-reload'])
      expect(tried()).toBe(seen)
    }
  })

  it('leaves a running container of the same cgroupsPath alone', () => {
    const cgroupsPath = 'system.slice:xx:same'
    const first = create({ cgroupsPath })
    done('start', first.id)
    const { status, stderr } = runtime('create', '--bundle', bundle({ cgroupsPath }), 'second')
    expect(status).toBe(1)
    expect(stderr).toMatch(/^tscrun-runtime: .*xx-same\.scope: a unit of this name is there already \(.*\)\n$/)
    expect(runtime('state', 'second').status).toBe(1)
    expect(JSON.parse(done('state', first.id))).toMatchObject({ status: 'running' })
    expect(cgroupOf(first.pid)).toBe('/system.slice/xx-same.scope')
  })

  it.each([
    [
      'a path of the other driver',
      { cgroupsPath: '/a/b' },
      /config\.json: linux\.cgroupsPath: "\/a\/b" is not of the form slice:prefix:name/,
    ],
    [
      'a unit that systemd refuses',
      { annotations: { 'org.systemd.property.NoSuch': 'true' } },
      /Cannot set property NoSuch/,
    ],
  ])('says in one line what is wrong with %s, and leaves nothing', (_, wishes, message) => {
    const { status, stderr } = runtime('create', '--bundle', bundle(wishes), 'wrong')
    expect({ status, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 1, lines: 1 })
    expect(stderr).toMatch(message)
    expect(runtime('state', 'wrong').status).toBe(1)
    expect(show('tscrun-wrong.scope', 'LoadState')).toEqual({ LoadState: 'not-found' })
  })
})
