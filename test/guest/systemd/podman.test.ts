import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import type { OciConfig } from '../../../src/model/config.ts'
import { cgroupOf, exists, read, show } from './fixtures/units.ts'

const RUNTIME = fileURLToPath(new URL('../../../bin/tscrun-runtime', import.meta.url))
const MIB = 2 ** 20

/** A directory of podman's own, on tmpfs, and a root filesystem around Debian's static busybox. */
function podmanPlace(): { readonly podman: (...args: string[]) => string; readonly rootfs: string } {
  const directory = mkdtempSync('/mnt/podman-')
  const rootfs = join(directory, 'rootfs')
  for (const path of ['bin', 'proc', 'sys', 'dev', 'etc', 'run', 'tmp'])
    mkdirSync(join(rootfs, path), { recursive: true })
  copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'))
  for (const applet of ['sh', 'sleep', 'cat']) symlinkSync('busybox', join(rootfs, 'bin', applet))
  const places = { '--root': 'root', '--runroot': 'run', '--tmpdir': 'tmp' }
  const flags = [
    Object.entries(places).map(([flag, name]) => [flag, join(directory, name)]),
    ['--cgroup-manager', 'systemd', '--events-backend', 'none', '--runtime', RUNTIME],
  ].flat(2)
  const podman = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync('podman', [...flags, ...args], { encoding: 'utf8' })
    expect(status, `podman ${args.join(' ')}: ${stderr}`).toBe(0)
    return stdout.trim()
  }
  return { podman, rootfs }
}

it('podman with systemd as its cgroup manager runs, limits, changes and removes containers', () => {
  const { podman, rootfs } = podmanPlace()
  const limits = ['--memory', '64m', '--pids-limit', '20', '--cpus', '0.5']
  const id = podman('run', '-d', '--name', 'web', '--network', 'none', ...limits, '--rootfs', rootfs, 'sleep', '1000')
  onTestFinished(() => void spawnSync('systemctl', ['kill', '--signal', 'KILL', `libpod-${id}.scope`]))
  const cgroup = `/machine.slice/libpod-${id}.scope`
  expect(cgroupOf(Number(podman('inspect', '-f', '{{.State.Pid}}', 'web')))).toBe(cgroup)
  expect(['memory.max', 'pids.max', 'cpu.max'].map((file) => read(cgroup, file))).toEqual([
    String(64 * MIB),
    '20',
    '50000 100000',
  ])
  expect(podman('exec', 'web', 'cat', '/proc/self/cgroup')).toBe('0::/')
  podman('update', '--memory', '100m', 'web')
  expect(read(cgroup, 'memory.max')).toBe(String(100 * MIB))
  expect(show(`libpod-${id}.scope`, 'MemoryMax', 'TasksMax')).toEqual({ MemoryMax: String(100 * MIB), TasksMax: '20' })
  // podman 5.4 repeats the device rules with every limit; systemd has a filter of its own beside ours.
  const config = JSON.parse(readFileSync(podman('inspect', '-f', '{{.OCIConfigPath}}', 'web'), 'utf8')) as OciConfig
  const { devices } = config.linux?.resources ?? {}
  expect(devices).not.toEqual([])
  const input = JSON.stringify({ memory: { limit: 96 * MIB }, devices })
  expect(spawnSync(RUNTIME, ['update', '--resources', '-', id], { input, encoding: 'utf8' })).toMatchObject({
    status: 0,
    stderr: '',
  })
  expect(read(cgroup, 'memory.max')).toBe(String(96 * MIB))
  expect(podman('stats', '--no-stream', '--format', '{{.PIDs}}', 'web')).toBe('1')
  podman('rm', '-f', '-t', '0', 'web')
  expect(exists(cgroup)).toBe(false)
  expect(show(`libpod-${id}.scope`, 'LoadState')).toEqual({ LoadState: 'not-found' })
})

it('a parent that podman is given is a slice, and the container a scope in it', () => {
  const { podman, rootfs } = podmanPlace()
  const where = ['--network', 'none', '--cgroup-parent', 'pp-qq.slice', '--rootfs', rootfs]
  const cgroup = podman('run', '--rm', '--cgroupns', 'host', ...where, 'cat', '/proc/self/cgroup')
  expect(cgroup).toMatch(/^0::\/pp\.slice\/pp-qq\.slice\/libpod-[0-9a-f]{64}\.scope$/)
  expect(exists(cgroup.slice('0::'.length))).toBe(false)
})
