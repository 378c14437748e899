import { mkdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { busyboxRootfs, hold, run, SHARE, start } from './fixtures/containers.ts'

const NAMESPACES = ['mnt', 'pid', 'net', 'ipc', 'uts', 'user', 'cgroup']
const FULL_MAP = /^ *0 +0 +4294967295$/

function statusOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').trim().split('\n')
  return Object.fromEntries(lines.map((line) => line.split(':\t') as [string, string]))
}

describe('a container whose root filesystem is on ext4', () => {
  it('has a range of user ids of its own, seven namespaces, few capabilities and a filter', async () => {
    const held = await hold([])
    const map = readFileSync(`/proc/${held.pid}/uid_map`, 'utf8').trim().split(/\s+/).map(Number)
    const groups = readFileSync(`/proc/${held.pid}/gid_map`, 'utf8').trim().split(/\s+/).map(Number)
    const shared = NAMESPACES.filter(
      (type) => readlinkSync(`/proc/${held.pid}/ns/${type}`) === readlinkSync(`/proc/self/ns/${type}`),
    )
    const status = statusOf(held.pid)
    await held.end()
    expect(map).toEqual([0, expect.any(Number), 65536])
    expect(map[1]).toBeGreaterThan(65536)
    expect(groups).toEqual(map)
    expect(shared).toEqual([])
    expect(status).toMatchObject({
      CapEff: '00000000a80425fb',
      CapBnd: '00000000a80425fb',
      CapInh: '0000000000000000',
      CapAmb: '0000000000000000',
      Seccomp: '2',
    })
    expect(status['Uid']?.split('\t')).toEqual(Array.from({ length: 4 }, () => String(map[1])))
  })

  it('shows the owners that its files have on the disk, although it is somebody else there', async () => {
    const { stdout } = await run([], 'stat -c %u:%g /bin/busybox; touch /tmp/new; stat -c %u:%g /tmp/new')
    expect(stdout).toBe('0:0\n0:0')
  })

  it("is in the host's mount table neither while it runs nor after", async () => {
    const before = readFileSync('/proc/self/mountinfo', 'utf8')
    const held = await hold(['--tmpfs', '/scratch', '-v', `${busyboxRootfs()}:/volume:ro`])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(before)
    expect(readFileSync('/proc/1/mountinfo', 'utf8')).toBe(before)
    await held.end()
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(before)
  })

  it('has volumes whose files belong to the same ids on both sides', async () => {
    const volume = `${busyboxRootfs()}-volume`
    mkdirSync(volume)
    const { exitCode, stdout } = await run(['-v', `${volume}:/volume`], 'touch /volume/new && stat -c %u /volume/new')
    const { stdout: outside } = await run(['--userns', 'host', '-v', `${volume}:/volume`], 'stat -c %u /volume/new')
    rmSync(volume, { recursive: true })
    expect({ exitCode, stdout, outside }).toEqual({ exitCode: 0, stdout: '0', outside: '0' })
  })

  it("is refused no wish: --userns host is the host's", async () => {
    expect((await run(['--userns', 'host'], 'cat /proc/self/uid_map')).stdout).toMatch(FULL_MAP)
  })
})

describe('a root filesystem whose owners cannot be shifted', () => {
  const onOverlay = '/var/lib/tscrun-guest-rootfs'
  const on9p = join(SHARE, 'rootfs')
  afterAll(() => {
    for (const path of [onOverlay, on9p]) rmSync(path, { recursive: true, force: true })
  })

  it.each([
    ['overlay', onOverlay],
    ['9p', on9p],
  ])('is run as root of the host with one line of warning: %s', async (filesystem, path) => {
    const rootfs = busyboxRootfs(path)
    const warnings: string[] = []
    const { exitCode, stdout } = await run([], 'cat /proc/self/uid_map', {
      rootfs,
      call: { onWarning: (line) => warnings.push(line) },
    })
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(FULL_MAP)
    expect(warnings).toEqual([
      `root in the container is root of the host: the filesystem of ${rootfs} (${filesystem}) cannot be id-mapped`,
    ])
  })

  it('is an error where a range of its own was asked for', async () => {
    const { handle } = await start(['--userns', 'auto'], ':', { rootfs: busyboxRootfs(onOverlay) })
    await expect(handle).rejects.toMatchObject({ code: 'USERNS_UNAVAILABLE' })
  })
})
