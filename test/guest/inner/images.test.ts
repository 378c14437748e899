import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pushBusybox } from '../../clients/fixtures/images.ts'
import { readmeBlock } from '../../clients/fixtures/readme.ts'
import { startRegistry, type TestRegistry } from '../../clients/fixtures/registry.ts'
import { openImageStore } from '../../../src/images/store.ts'
import { createEngine } from '../../../src/index.ts'
import { DEPTHS, expectedFiles } from '../many-layers.ts'
import { cgroups, PROJECT, run, RUN_ROOT, STORE, tscrun } from './fixtures/containers.ts'

async function nameOf(ending: string): Promise<string> {
  const images = await createEngine({ root: STORE, runRoot: RUN_ROOT }).images()
  const found = images.map(({ repository, tag }) => `${repository}:${tag}`).find((name) => name.endsWith(ending))
  return found ?? expect.fail(`no image ${ending} in ${STORE}`)
}

describe('an image of many layers', () => {
  it.each(DEPTHS)('of %i shows each file, whiteout and opaque directory as its layers say', async (depth) => {
    const image = await nameOf(`/deep:${depth}`)
    const { exitCode, stdout, stderr } = await run([], 'grep . /current /kept/* /reset/*; ls -d /gone', { image })
    expect(stderr).toMatch(/gone: No such file/)
    expect(exitCode).toBe(1)
    expect(stdout.split('\n').toSorted()).toEqual(expectedFiles(depth))
  })

  it('is one overlay mount of that many layers', async () => {
    const image = await nameOf('/deep:200')
    const { stdout } = await run([], 'grep " / overlay " /proc/mounts', { image })
    // One option for all of them, or (Linux 6.8) one for each.
    expect(/lowerdir=([^,]*)/.exec(stdout)?.[1]?.split(':') ?? stdout.match(/lowerdir\+=/g)).toHaveLength(200)
  })

  it('can be written: removed, replaced and new files, with owners of the container', async () => {
    const image = await nameOf('/deep:101')
    const script =
      'rm /kept/1; echo new > /current; mkdir /kept/sub; stat -c %u /kept/3 /kept/sub; ls -d /kept/1; cat /current'
    const { stdout, stderr } = await run([], script, { image })
    expect(stdout.split('\n')).toEqual(['1003', '0', 'new'])
    expect(stderr).toMatch(/kept\/1: No such file/)
    // The next container sees the image again.
    expect((await run([], 'cat /kept/1 /current', { image })).stdout).toBe('1100')
  })

  it('is written on the disk: more than the memory limit', async () => {
    const image = await nameOf('/deep:101')
    // In pieces, each on the disk before the next: Linux 6.7 to 6.13 may kill a group whose memory is all unwritten.
    const piece = 'dd if=/dev/zero of=/file bs=1M count=4 seek=$((i * 4)) conv=notrunc,fsync 2>/dev/null'
    const script = `i=0; while [ $i -lt 25 ]; do ${piece} || exit; i=$((i + 1)); done; stat -c %s /file`
    const { exitCode, stdout, oomKilled } = await run(['--memory', '32m'], script, { image })
    expect({ exitCode, stdout, oomKilled }).toEqual({ exitCode: 0, stdout: String(100 * 2 ** 20), oomKilled: false })
  })
})

describe('an image from a registry on loopback', () => {
  let registry: TestRegistry
  let image: string
  beforeAll(async () => {
    registry = await startRegistry()
    image = await pushBusybox(registry, 'pulled:1', {
      layers: [
        [
          { name: 'a', type: 'directory', mode: 0o755 },
          { name: 'a/one', content: 'one' },
          { name: 'a/two', content: 'two' },
        ],
        [{ name: 'a/.wh.one', content: '' }],
      ],
    })
  })
  afterAll(async () => registry.stop())

  it('is pulled and run; what it writes stays on the disk, owned by its own range, until it is removed', async () => {
    const argv = ['run', '--name', 'kept', '--pull', 'always', '--tls-verify=false', '-q', image]
    const command = 'ls /a; echo text > /written; cat /proc/self/uid_map; cat /proc/mounts'
    const { exitCode, stdout, stderr } = await tscrun([...argv, 'sh', '-c', command])
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    const [listing, map = '', ...mounts] = String(stdout).split('\n')
    const rootMount = mounts.find((line) => line.includes(' / '))
    expect(listing).toBe('two')
    expect(rootMount).toMatch(/^overlay \/ overlay /)
    // Not volatile: the container is kept.
    expect(rootMount).not.toContain('volatile')
    const [id = ''] = readdirSync(join(STORE, 'containers'))
    const written = join(STORE, 'containers', id, 'upper/written')
    expect(readFileSync(written, 'utf8')).toBe('text\n')
    expect(String(statSync(written).uid)).toBe(map.trim().split(/\s+/)[1])
    expect((await tscrun(['rm', 'kept'])).exitCode).toBe(0)
    expect(existsSync(written)).toBe(false)
    expect(cgroups()).toEqual([])
  })

  it('is limited as README.md shows it', async () => {
    await openImageStore({ root: STORE }).tag(image, 'alpine')
    const program = `${PROJECT}/bin/tscrun --root ${STORE} --runroot ${RUN_ROOT}`
    const command = readmeBlock('limits').replace('sudo ./bin/tscrun', program)
    const { exitCode, stdout, stderr } = await execa('sh', ['-c', command], { reject: false, stdin: 'ignore' })
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: String(256 * 2 ** 20), stderr: '' })
  })

  it('in a store on overlay is root of the host and written to memory; each is said once', async () => {
    const store = mkdtempSync('/var/lib/tscrun-guest-store-')
    try {
      const plain = await pushBusybox(registry, 'plain:1')
      const argv = ['--root', store, 'run', '--rm', '--tls-verify=false', '-q', plain]
      const { exitCode, stdout, stderr } = await tscrun([
        ...argv,
        'sh',
        '-c',
        'cat /proc/self/uid_map; echo text > /written && cat /written',
      ])
      expect(exitCode, String(stderr)).toBe(0)
      expect(stdout).toMatch(/^ *0 +0 +4294967295\ntext$/)
      const lines = String(stderr).split('\n')
      expect(lines).toHaveLength(2)
      expect(lines[0]).toMatch(/root in the container is root of the host: .*\(overlay\) cannot be id-mapped$/)
      expect(lines[1]).toMatch(/what the container writes is kept in memory: .*\(overlay\) cannot hold it$/)
      expect(await tscrun([...argv, 'true'])).toMatchObject({ exitCode: 0, stderr: '' })
    } finally {
      rmSync(store, { recursive: true })
    }
  })
})
