import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { show } from './fixtures/units.ts'

const TSCRUN = fileURLToPath(new URL('../../../bin/tscrun', import.meta.url))

/** A store on tmpfs, and a root filesystem around Debian's static busybox. */
function place() {
  const directory = mkdtempSync('/mnt/generate-')
  const [rootfs, runRoot] = [join(directory, 'rootfs'), join(directory, 'run')]
  for (const path of ['bin', 'proc', 'sys', 'dev', 'etc', 'tmp']) mkdirSync(join(rootfs, path), { recursive: true })
  copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'))
  for (const applet of ['sh', 'sleep']) symlinkSync('busybox', join(rootfs, 'bin', applet))
  const tscrun = (...args: string[]): string => {
    const flags = ['--root', join(directory, 'store'), '--runroot', runRoot]
    const { status, stdout, stderr } = spawnSync(TSCRUN, [...flags, ...args], { encoding: 'utf8' })
    expect(status, `tscrun ${args.join(' ')}: ${stderr}`).toBe(0)
    return stdout.trim()
  }
  const make = (name: string, ...flags: string[]): string =>
    tscrun('create', '--name', name, '--userns', 'host', ...flags, '--rootfs', `${rootfs}:O`, 'sleep', '1000')
  return { runRoot, tscrun, make, pidOf: (name: string) => Number(tscrun('inspect', '-f', '{{.State.Pid}}', name)) }
}

function systemctl(...args: string[]): void {
  const { status, stderr } = spawnSync('systemctl', args, { encoding: 'utf8' })
  expect(status, `systemctl ${args.join(' ')}: ${stderr}`).toBe(0)
}

/** Installs what `generate` prints, until the test ends. */
function install(unit: string, text: string): void {
  const file = `/run/systemd/system/${unit}`
  writeFileSync(file, text)
  // This machine has no sysinit.target.
  mkdirSync(`${file}.d`)
  writeFileSync(`${file}.d/guest.conf`, '[Unit]\nDefaultDependencies=no\n[Service]\nRestartSec=0\n')
  onTestFinished(() => {
    spawnSync('systemctl', ['kill', '--signal', 'KILL', unit])
    for (const path of [file, `${file}.d`]) rmSync(path, { recursive: true })
    spawnSync('systemctl', ['daemon-reload'])
  })
  systemctl('daemon-reload')
}

// Of the monitors; it stays for the next one.
afterAll(() => rmdirSync('/sys/fs/cgroup/tscrun/monitors'))

describe('generate systemd', () => {
  it('makes a service of a container: started, followed by its monitor, started again when it fails, stopped', async () => {
    const { tscrun, make, pidOf } = place()
    make('web')
    install('container-web.service', tscrun('generate', 'systemd', '--time=0', 'web'))
    systemctl('start', 'container-web')
    const first = pidOf('web')
    expect(show('container-web', 'ActiveState', 'NRestarts')).toEqual({ ActiveState: 'active', NRestarts: '0' })
    expect(
      spawnSync('ps', ['-o', 'args=', '-p', show('container-web', 'MainPID')['MainPID'] ?? ''], {
        encoding: 'utf8',
      }).stdout.trim(),
    ).toBe('tscrun: web')
    process.kill(first, 'SIGKILL')
    await expect
      .poll(() => show('container-web', 'NRestarts', 'ActiveState'), { timeout: 30_000 })
      .toEqual({
        NRestarts: '1',
        ActiveState: 'active',
      })
    expect(pidOf('web')).not.toBe(first)
    systemctl('stop', 'container-web')
    expect(tscrun('ps', '-q')).toBe('')
    expect(existsSync('/run/tscrun-web.pid')).toBe(false)
  })

  it('--all brings up at boot what is to run then, and lets it come back after a shutdown', () => {
    const { tscrun, make, runRoot } = place()
    make('always', '--restart', 'always')
    make('unless', '--restart', 'unless-stopped', '--pid', 'container:always')
    tscrun('start', '--all')
    install('tscrun-containers.service', tscrun('generate', 'systemd', '--all'))
    systemctl('start', 'tscrun-containers')
    systemctl('stop', 'tscrun-containers')
    expect(tscrun('ps', '-q')).toBe('')
    // A boot finds it empty.
    rmSync(runRoot, { recursive: true })
    systemctl('start', 'tscrun-containers')
    expect(tscrun('ps', '--format', '{{.Names}}').split('\n').toSorted()).toEqual(['always', 'unless'])
    systemctl('stop', 'tscrun-containers')
  })
})
