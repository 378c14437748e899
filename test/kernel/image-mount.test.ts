import * as fs from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { busyboxMembers, type ImageSpec, makeImage, writeLayout } from '../clients/fixtures/images.ts'
import { backgroundOf } from './fixtures/detached.ts'
import { expectOneLine, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
beforeAll(async () => {
  const second = [
    { name: 'etc/motd', content: 'second\n', uid: 1000, gid: 50 },
    { name: 'etc/.wh.group', content: '' },
  ]
  await load('layers', [busyboxMembers(), second])
  await load('one', [[{ name: 'alone', content: '' }]])
  await load(
    'many',
    Array.from({ length: 130 }, (_, i) => [{ name: `file${i}`, content: `${i}` }]),
  )
})
afterEach(() => machine.tscrun(['image', 'unmount', '-a', '-f']))
afterAll(async () => {
  await machine.tscrun(['system', 'reset', '-f'])
})

const { out } = backgroundOf(() => machine)

async function load(name: string, layers: ImageSpec['layers']): Promise<void> {
  const image = await makeImage({ layers })
  writeLayout(join(machine.directory, name), [image])
  await out('load', '-q', '-i', join(machine.directory, name))
  await out('tag', image.config.digest, `${name}:1`)
}

const mount = async (name: string): Promise<string> => (await out('image', 'mount', name)).trim()
const mounted = (): string =>
  fs
    .readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(machine.runRoot))
    .join('\n')

it('shows the tree of an image to the host, as its ids are, and lets nobody write', async () => {
  const path = await mount('layers:1')
  expect(fs.readFileSync(join(path, 'etc/motd'), 'utf8')).toBe('second\n')
  expect(fs.statSync(join(path, 'etc/motd'))).toMatchObject({ uid: 1000, gid: 50 })
  expect(fs.existsSync(join(path, 'etc/group'))).toBe(false)
  expect(() => fs.writeFileSync(join(path, 'new'), '')).toThrow('EROFS')
  // Nothing of an image is run, or opened as a device, by mistake.
  expect(mounted()).toMatch(/ ro,nosuid,nodev,/)
  expect(await mount('layers:1')).toBe(path)
  expect(mounted().split('\n')).toHaveLength(1)
})

it.each([
  ['one layer', 'one:1', 'alone'],
  ['130 layers', 'many:1', 'file129'],
])('takes an image of %s', async (_, name, file) => {
  const path = await mount(name)
  expect(fs.readdirSync(path)).toContain(file)
  expect(fs.readdirSync(join(machine.store, 'work'))).toEqual([])
})

it('takes an image without layers, whose containers have an empty root', async () => {
  await load('none', [])
  expect(fs.readdirSync(await mount('none:1'))).toEqual([])
  const busybox = join(machine.rootfs, 'bin/busybox')
  const args = ['run', '--rm', '--network', 'none', '-v', `${busybox}:/busybox:ro`, 'none:1', '/busybox']
  expect(await out(...args, 'stat', '-c', '%a %u', '/')).toBe('755 0\n')
  expect((await out(...args, 'ls', '-A', '/')).split('\n')).toEqual(['busybox', 'dev', 'etc', 'proc', 'sys', ''])
  await out('create', '--name', 'bare', 'none:1', 'absent')
  expect(await out('diff', 'bare')).toBe('')
  await out('rm', 'bare')
  // What no image needs goes, but not this.
  await out('image', 'prune', '-f')
  expect(await out('system', 'check')).toBe('Nothing is wrong\n')
  expect(await out(...args, 'echo', 'there')).toBe('there\n')
  await out('image', 'unmount', 'none:1')
  await out('rmi', 'none:1')
  expect(fs.existsSync(join(machine.store, 'layers/empty'))).toBe(false)
})

it('lists what is mounted, for people and as JSON', async () => {
  expect(await out('image', 'mount')).toBe('')
  const path = await mount('one:1')
  expect(await out('image', 'mount')).toBe(`one:1  ${path}\n`)
  const [object] = JSON.parse(await out('image', 'mount', '--format', 'json')) as { Mountpoint: string }[]
  expect(object).toMatchObject({ Mountpoint: path, Repositories: ['docker.io/library/one:1'] })
  expect((await out('image', 'mount', '-a')).split('\n')).toHaveLength(4)
})

it('keeps a mounted image from being removed, and lets it go afterwards', async () => {
  const path = await mount('one:1')
  const { exitCode, stderr } = await machine.tscrun(['rmi', 'one:1'])
  expect(exitCode).toBe(125)
  expectOneLine(stderr, /^tscrun: image one:1: mounted on .*mounts.* \(take it off first: `tscrun image unmount`\)$/m)
  await out('image', 'prune', '-af')
  expect(fs.existsSync(join(path, 'alone'))).toBe(true)
  // Its names go, its files stay for the mount.
  expect(await out('rmi', '-f', 'one:1')).toBe('Untagged: one:1\n')
  await out('image', 'prune', '-af')
  expect(fs.existsSync(join(path, 'alone'))).toBe(true)
  await load('one', [[{ name: 'alone', content: '' }]])
})

it('is taken off, unless somebody works in it', async () => {
  const path = await mount('one:1')
  const busy = execa('sleep', ['19315'], { cwd: path, reject: false })
  const refused = await machine.tscrun(['image', 'unmount', 'one:1'])
  expect(refused.exitCode).toBe(125)
  expectOneLine(refused.stderr, /^tscrun: unmount .*: EBUSY \(a process works in it/)
  expect(await out('image', 'umount', '-f', 'one:1')).toMatch(/^[0-9a-f]{64}\n$/)
  busy.kill('SIGKILL')
  await busy
  expect(mounted()).toBe('')
  expect(fs.existsSync(path)).toBe(false)
  const again = await machine.tscrun(['image', 'unmount', 'one:1'])
  expectOneLine(again.stderr, /^tscrun: unmount image one:1: it is not mounted/)
})
