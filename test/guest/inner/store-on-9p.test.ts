import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  BUSYBOX_CONFIG,
  busyboxMembers,
  type LayerMember,
  makeImage,
  pushImages,
} from '../../clients/fixtures/images.ts'
import { startRegistry, type TestRegistry } from '../../clients/fixtures/registry.ts'
import { CHANGES, layerOfEverything, showTree } from '../../kernel/fixtures/marked-image.ts'
import { DATA, SHARE, tscrun } from './fixtures/containers.ts'

let registry: TestRegistry
let scratch: string
let count = 0

beforeAll(async () => {
  registry = await startRegistry()
  scratch = mkdtempSync(join(DATA, 'scratch-'))
})
afterAll(async () => {
  await registry.stop()
  rmSync(scratch, { recursive: true })
})

/** A store on 9p, and one on the ext4 disk. */
let store: string
let onDisk: string
beforeEach(() => {
  store = join(SHARE, 'store')
  onDisk = join(scratch, 'store')
  mkdirSync(store)
})
afterEach(() => {
  for (const root of [store, onDisk]) rmSync(root, { recursive: true, force: true })
})

const pull = (root: string, name: string) => tscrun(['--root', root, 'pull', '--quiet', '--tls-verify=false', name])

describe('a store on 9p', () => {
  it('shows an image with whiteouts as the disk does: whole, copied once, said once', async () => {
    // What it cannot hold, and a time before 1970.
    const everything = await layerOfEverything(scratch, ['capable', 'null', 'loop', 'fifo', 'empty'])
    const image = await makeImage({ layers: [busyboxMembers(), everything, ...CHANGES], config: BUSYBOX_CONFIG })
    const name = await pushImages(registry.host, `on-9p:${++count}`, [image])
    expect(await pull(onDisk, name)).toMatchObject({ exitCode: 0, stderr: '' })
    const pulled = await pull(store, name)
    expect(pulled).toMatchObject({
      exitCode: 0,
      stderr: expect.stringMatching(/^tscrun: warning: the layers are copied into one tree[^\n]*\(9p\) cannot hold/),
    })
    const expected = await tscrun(['--root', onDisk, 'run', ...showTree(name, false)])
    expect(expected.exitCode, String(expected.stderr)).toBe(0)
    const found = await tscrun(['--root', store, 'run', ...showTree(name, false)])
    // Times are kept in whole seconds.
    const seconds = (text: unknown): string => String(text).replaceAll(/(\|\d+)\.\d{10}/g, '$1')
    expect(seconds(found.stdout)).toBe(seconds(expected.stdout))
    expect(found.stderr).toMatch(/^tscrun: warning: what the container writes is kept in memory: [^\n]*$/)
    expect((await tscrun(['--root', store, 'rmi', name])).exitCode).toBe(0)
    for (const path of ['layers', 'records', 'work', 'images/blobs/sha256']) {
      expect(readdirSync(join(store, path)), path).toEqual([])
    }
  })

  const pushed = async (member: LayerMember): Promise<string> =>
    pushImages(registry.host, `on-9p:${++count}`, [await makeImage({ layers: [[member]] })])

  async function expectRefused(name: string, words: RegExp): Promise<void> {
    const { exitCode, stderr } = await pull(store, name)
    expect(exitCode).toBe(125)
    expect(stderr).toMatch(/^tscrun: unpack layer [^\n]*: the filesystem of the store cannot hold it \(put [^\n]*\)$/)
    expect(stderr).toMatch(words)
    for (const path of ['layers', 'work']) expect(readdirSync(join(store, path)), path).toEqual([])
  }

  it('says in one line that it cannot hold a file capability, and keeps nothing of the image', async () => {
    const pax = { 'SCHILY.xattr.security.capability': `\u0001\0\0\u0002\0 ${'\0'.repeat(14)}` }
    await expectRefused(await pushed({ name: 'ping', content: '', pax }), /lsetxattr ping: EOPNOTSUPP/)
  })

  // QEMU 7 refuses to make one, QEMU 10 makes it.
  it('says the same of a device where it cannot hold one, and has it otherwise', async () => {
    const name = await pushed({ name: 'null', type: 'character-device', devmajor: 1, devminor: 3 })
    const probe = join(SHARE, 'probe')
    const holds = spawnSync('mknod', [probe, 'c', '1', '3']).status === 0
    rmSync(probe, { force: true })
    if (!holds) return expectRefused(name, /mknodat null: ENXIO/)
    expect((await pull(store, name)).exitCode).toBe(0)
    const layers = join(store, 'layers')
    const path = readdirSync(layers, { recursive: true, encoding: 'utf8' }).find((file) => file.endsWith('/null'))
    const found = statSync(join(layers, path ?? expect.fail('it is in no layer')))
    expect([found.isCharacterDevice(), found.rdev]).toEqual([true, 0x103])
  })
})
