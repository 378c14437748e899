import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
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

  const capability = { 'SCHILY.xattr.security.capability': `\u0001\0\0\u0002\0 ${'\0'.repeat(14)}` }
  it.each<[string, LayerMember, RegExp]>([
    ['a file capability', { name: 'ping', content: '', pax: capability }, /lsetxattr ping: EOPNOTSUPP/],
    ['a device', { name: 'null', type: 'character-device', devmajor: 1, devminor: 3 }, /mknodat null: ENXIO/],
  ])('says in one line that it cannot hold %s, and keeps nothing of the image', async (_, member, words) => {
    const image = await makeImage({ layers: [[member]] })
    const name = await pushImages(registry.host, `on-9p:${++count}`, [image])
    const { exitCode, stderr } = await pull(store, name)
    expect(exitCode).toBe(125)
    expect(stderr).toMatch(/^tscrun: unpack layer [^\n]*: the filesystem of the store cannot hold it \(put [^\n]*\)$/)
    expect(stderr).toMatch(words)
    for (const path of ['layers', 'work']) expect(readdirSync(join(store, path)), path).toEqual([])
  })
})
