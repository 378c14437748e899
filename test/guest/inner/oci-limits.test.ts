import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { PROJECT, until } from './fixtures/containers.ts'

const RUNTIME = join(PROJECT, 'bin/tscrun-runtime')
const ROOT = '/run/oci-limits'
const MIB = 2 ** 20

interface Said {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Through files, not pipes: a container inherits them and outlives its `create`. */
function runtime(words: readonly string[], input = ''): Said {
  writeFileSync('/tmp/oci.in', input)
  const script = 'exec "$@" </tmp/oci.in >/tmp/oci.out 2>/tmp/oci.err'
  const { status } = spawnSync('sh', ['-c', script, 'sh', RUNTIME, '--root', ROOT, ...words])
  return { status, stdout: readFileSync('/tmp/oci.out', 'utf8'), stderr: readFileSync('/tmp/oci.err', 'utf8') }
}

function done(words: readonly string[], input = ''): string {
  const { status, stdout, stderr } = runtime(words, input)
  expect({ words, status, stderr }).toEqual({ words, status: 0, stderr: '' })
  return stdout
}

/** A sleeping container with these limits; answers how to read its cgroup. */
function started(id: string, resources: object, cgroupNamespace?: string): (file: string) => string {
  const bundle = mkdtempSync('/tmp/oci-bundle-')
  for (const path of ['bin', 'proc', 'dev']) mkdirSync(join(bundle, 'rootfs', path), { recursive: true })
  copyFileSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'))
  for (const applet of ['sh', 'sleep', 'cat', 'true', 'tail'])
    symlinkSync('busybox', join(bundle, 'rootfs/bin', applet))
  const config = {
    ociVersion: '1.2.0',
    root: { path: 'rootfs' },
    process: { user: { uid: 0, gid: 0 }, args: ['sleep', '1000'], env: ['PATH=/bin'], cwd: '/' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
    ],
    linux: {
      namespaces: [
        ...['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })),
        { type: 'cgroup', ...(cgroupNamespace === undefined ? {} : { path: cgroupNamespace }) },
      ],
      cgroupsPath: `/tscrun/oci-${id}`,
      resources,
    },
  }
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config))
  done(['create', '--bundle', bundle, id])
  onTestFinished(() => {
    done(['delete', '--force', id])
  })
  done(['start', id])
  return (file) => readFileSync(`/sys/fs/cgroup/tscrun/oci-${id}/${file}`, 'utf8').trim()
}

describe('update of an OCI container', () => {
  it('changes what is given by flags, in units of cgroup v1, and leaves the rest', () => {
    const read = started('flags', {
      memory: { limit: 64 * MIB, swap: 96 * MIB },
      pids: { limit: 50 },
      cpu: { quota: 20_000, period: 50_000 },
    })
    const limits = (): string[] => ['memory.max', 'memory.swap.max', 'pids.max', 'cpu.max'].map(read)
    expect(limits()).toEqual([String(64 * MIB), String(32 * MIB), '50', '20000 50000'])
    done(['update', '--memory-swap', '128m', '--pids-limit', '30', '--cpu-quota', '40000', 'flags'])
    expect(limits()).toEqual([String(64 * MIB), String(64 * MIB), '30', '40000 50000'])
    done([
      'update',
      '--memory',
      '32m',
      '--memory-swap',
      '-1',
      '--cpu-period',
      '100000',
      '--memory-reservation',
      '8m',
      '--cpu-share',
      '2048',
      'flags',
    ])
    expect([...limits(), read('memory.low')]).toEqual([String(32 * MIB), 'max', '30', '40000 100000', String(8 * MIB)])
    done(['update', '--cpuset-cpus', '0', '--cpu-idle', '1', '--pids-limit', '-1', 'flags'])
    expect([read('cpuset.cpus'), read('cpu.idle'), read('pids.max')]).toEqual(['0', '1', 'max'])
  })

  it('takes the document that containerd and docker send on standard input', () => {
    const read = started('document', {})
    const document = {
      memory: { limit: 48 * MIB },
      cpu: { shares: 512, quota: 30_000, period: 100_000 },
      pids: { limit: 12 },
      blockIO: { weight: 0 },
    }
    done(['update', '--resources=-', 'document'], JSON.stringify(document))
    expect([read('memory.max'), read('cpu.max'), read('pids.max')]).toEqual([String(48 * MIB), '30000 100000', '12'])
    const { status, stderr } = runtime(
      ['update', '-r', '-', 'document'],
      JSON.stringify({ memory: { limit: 4096, checkBeforeUpdate: true } }),
    )
    expect([status, stderr]).toEqual([1, expect.stringContaining('bytes are in use')])
    expect(read('memory.max')).toBe(String(48 * MIB))
  })
})

it("joins another container's cgroup namespace, also where the hierarchy guards those (nsdelegate)", () => {
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).toMatch(/ cgroup2 .*nsdelegate/)
  started('holder', {})
  const { pid } = JSON.parse(done(['state', 'holder'])) as { pid: number }
  const cgroup = `/proc/${pid}/ns/cgroup`
  started('guest', {}, cgroup)
  const joined = JSON.parse(done(['state', 'guest'])) as { pid: number }
  expect(readlinkSync(`/proc/${joined.pid}/ns/cgroup`)).toBe(readlinkSync(cgroup))
  expect(done(['exec', 'guest', 'cat', '/proc/1/cgroup'])).toBe('0::/../oci-guest\n')
})

describe('a container at its limits', () => {
  it('that may use hardly any processor lets exec in, and answers for its state', () => {
    started('throttled', { cpu: { quota: 20_000, period: 1_000_000 } })
    done(['exec', '--detach', 'throttled', 'true'])
    expect(done(['state', 'throttled'])).toContain('"running"')
    expect(done(['exec', 'throttled', 'cat', '/proc/self/cgroup'])).toBe('0::/\n')
  })

  it('has its kills for want of memory told by events, beside what it uses', async () => {
    started('hungry', { memory: { limit: 16 * MIB, swap: 16 * MIB } })
    const stats = JSON.parse(done(['events', '--stats', 'hungry'])) as {
      data: { memory: { usage: { limit: number } } }
    }
    expect(stats.data.memory.usage.limit).toBe(16 * MIB)
    const events = spawn(RUNTIME, ['--root', ROOT, 'events', '--interval', '1h', 'hungry'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    events.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    await until(() => said.includes('"stats"'))
    expect(runtime(['exec', 'hungry', 'tail', '/dev/zero']).status).not.toBe(0)
    await until(() => said.includes('{"type":"oom","id":"hungry"}\n'))
    const ended = new Promise((resolve) => events.once('exit', resolve))
    done(['kill', 'hungry', 'KILL'])
    expect(await ended).toBe(0)
  })
})
