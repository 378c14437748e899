import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import type { DoctorCheck } from '../../src/engine/api.ts'
import { expectNothingLeft, useMachine, TSCRUN } from './fixtures/machine.ts'

const machine = useMachine()

/** What doctor says, started below the given words (`unshare ...`). */
async function doctor(before: readonly string[] = [], root = machine.store): Promise<ReadonlyMap<string, DoctorCheck>> {
  const words = [...before, TSCRUN, '--root', root, '--runroot', machine.runRoot, 'doctor', '--format', 'json']
  const { stdout, stderr } = await execa(words[0] ?? '', words.slice(1), { reject: false })
  expect(stderr).toBe('')
  return new Map((JSON.parse(stdout) as DoctorCheck[]).map((check) => [check.name, check]))
}

describe('doctor', () => {
  it('finds nothing that keeps containers from running where they run, and leaves nothing behind', async () => {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    const checks = await doctor()
    expect([...checks.values()].filter(({ result }) => result === 'fail')).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(mounts)
    expectNothingLeft(machine)
    expect(await machine.sh('echo runs')).toBe('runs')
  })

  it('tells id-mapped mounts as a container then finds them', async () => {
    const checks = await doctor()
    const works = checks.get('id-mapped mounts')?.result === 'ok'
    const [, hostId] = (await machine.sh('cat /proc/self/uid_map')).trim().split(/\s+/)
    expect(hostId !== '0').toBe(works)
  })

  it('calls a filesystem that cannot be id-mapped by what the kernel answers', async () => {
    const checks = await doctor([], '/proc/nowhere')
    expect(checks.get('id-mapped mounts')).toMatchObject({ result: 'warn' })
    expect(checks.get('id-mapped mounts')?.detail).toContain('EINVAL')
    expect(checks.get('writable layer')).toMatchObject({ result: 'warn' })
  })

  it('names the setting that switched user namespaces off', async () => {
    // The limit belongs to the user namespace that it is written in: only this doctor sees it.
    const off = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    const checks = await doctor(['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', off, 'sh'])
    expect(checks.get('user namespaces')).toMatchObject({ result: 'warn' })
    expect(checks.get('user namespaces')?.remedy).toContain('user.max_user_namespaces')
    expect(checks.get('nesting')).toMatchObject({ result: 'fail' })
  })

  it('names the setting that switched network namespaces off, without which nothing runs', async () => {
    const off = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    const checks = await doctor(['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', off, 'sh'])
    expect(checks.get('namespaces')).toMatchObject({
      result: 'fail',
      remedy: 'sysctl -w user.max_net_namespaces=15000',
    })
  })

  it('sees a read-only store', async () => {
    const script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    const checks = await doctor(['unshare', '--mount', 'sh', '-c', script, machine.directory])
    expect(checks.get('store')).toMatchObject({ result: 'fail' })
    expect(checks.get('store')?.detail).toContain(`${join(machine.directory, 'store')} on`)
    expect(checks.get('store')?.detail).toContain('read-only')
  })

  it('tells an ordinary user to be root, and exits with 1', async () => {
    const words = [
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      TSCRUN,
      '--root',
      '/nowhere',
      '--runroot',
      '/nowhere',
      'doctor',
    ]
    const { exitCode, stdout, stderr } = await execa('setpriv', words, { reject: false, env: { HOME: '/' } })
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: '' })
    expect(stdout.split('\n').filter((line) => line.startsWith('FAIL'))).toHaveLength(1)
    expect(stdout).toContain('sudo tscrun doctor')
  })
})
