import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { PROJECT } from './fixtures/containers.ts'

it('--systemd-cgroup says in one line that systemd does not run here, and leaves nothing', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tscrun-bundle-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const config = {
    ociVersion: '1.2.0',
    root: { path: '/', readonly: true },
    process: { user: { uid: 0, gid: 0 }, args: ['true'], cwd: '/' },
    linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }], cgroupsPath: 'system.slice:x:y' },
  }
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  const states = join(directory, 'states')
  const runtime = (...args: string[]): [number | null, string] => {
    const { status, stderr } = spawnSync(`${PROJECT}/bin/tscrun-runtime`, ['--root', states, ...args], {
      encoding: 'utf8',
    })
    return [status, stderr]
  }
  expect(runtime('--systemd-cgroup', 'create', '--bundle', directory, 'nobody')).toEqual([
    1,
    'tscrun-runtime: --systemd-cgroup: systemd is not running here (no /run/systemd/system) (leave --systemd-cgroup out)\n',
  ])
  expect(runtime('state', 'nobody')).toEqual([1, expect.stringMatching(/does not exist/) as string])
})
