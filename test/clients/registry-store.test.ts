import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../src/images/host-platform.ts'
import { pullImage, type PullImageOptions } from '../../src/images/pull.ts'
import { openImageStore, type StoredImage } from '../../src/images/store.ts'
import { parsePlatform } from '../../src/model/platform.ts'
import { parseReference } from '../../src/model/reference.ts'
import { busyboxMembers, type LayerMember, makeImage, pushBusybox, pushImages } from './fixtures/images.ts'
import { startRegistry, type TestRegistry } from './fixtures/registry.ts'

let registry: TestRegistry
let root: string

beforeAll(async () => {
  registry = await startRegistry()
})
afterAll(async () => {
  await registry.stop()
})
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'tscrun-store-'))
})
afterEach(() => {
  fs.rmSync(root, { recursive: true })
})

function pull(name: string, options: Partial<PullImageOptions> = {}): Promise<StoredImage> {
  const reference = parseReference(name)
  return pullImage(openImageStore({ root }), reference, { platform: hostPlatform(), policy: 'missing', ...options })
}

const extra: readonly LayerMember[] = [{ name: 'extra', content: 'more' }]

/** What lies in the store beside locks. */
function contents(): { layers: number; blobs: number; records: number; work: string[] } {
  const count = (path: string): number => fs.readdirSync(join(root, path)).length
  return {
    layers: count('layers'),
    blobs: count('images/blobs/sha256'),
    records: count('records'),
    work: fs.readdirSync(join(root, 'work')),
  }
}

/** Every blob has the digest it is named by, as coreutils see it; every image's layers are there. */
async function expectSound(): Promise<void> {
  const blobs = join(root, 'images/blobs/sha256')
  const names = fs.existsSync(blobs) ? fs.readdirSync(blobs) : []
  if (names.length > 0) {
    const { stdout } = await execa('sha256sum', names, { cwd: blobs })
    for (const line of stdout.split('\n')) expect(line).toMatch(/^(\S+) {2}\1$/)
  }
  for (const image of openImageStore({ root }).list()) {
    for (const layer of image.layers) expect(fs.statSync(layer).isDirectory()).toBe(true)
  }
}

describe('the image store', () => {
  it('keeps a layer once, whatever number of images has it', async () => {
    const small = await pull(await pushBusybox(registry, 'share:small'))
    const large = await pull(await pushBusybox(registry, 'share:large', { layers: [extra] }))
    expect(large.layers[0]).toBe(small.layers[0])
    expect(contents()).toMatchObject({ layers: 2, work: [] })
  })

  it('asks no registry for an image it has, by name, digest or id', async () => {
    const own = await startRegistry()
    const name = await pushBusybox(own, 'local:1')
    const image = await pull(name)
    await own.stop()
    const again = await pull(name)
    expect(again).toEqual(image)
    const store = openImageStore({ root })
    expect(store.find(image.id)?.id).toBe(image.id)
    expect(store.find(image.id.slice(7, 19))?.id).toBe(image.id)
    expect(store.find(`${name.replace(/:1$/, '')}@${image.manifest.digest}`)?.id).toBe(image.id)
    expect(store.find(name, parsePlatform('linux/s390x'))).toBeUndefined()
    expect(await pull(name, { policy: 'newer' })).toEqual(image)
    await expect(pull(name, { policy: 'always', retryDelayMs: 1 })).rejects.toMatchObject({ code: 'NETWORK' })
    await expect(pull(`${own.host}/absent:1`, { policy: 'never' })).rejects.toMatchObject({ code: 'NO_SUCH_IMAGE' })
  })

  it('follows a tag that has moved, with `newer` and `always` only', async () => {
    const name = await pushBusybox(registry, 'moving:1')
    const first = await pull(name)
    await pushBusybox(registry, 'moving:1', { layers: [extra] })
    expect((await pull(name)).id).toBe(first.id)
    const second = await pull(name, { policy: 'newer' })
    expect(second.id).not.toBe(first.id)
    expect(openImageStore({ root }).find(first.id)?.names).toEqual([])
    expect((await pull(name, { policy: 'always' })).id).toBe(second.id)
  })

  it('chooses the platform of an index', async () => {
    const variants = ['v6', 'v7']
    const arms = await Promise.all(
      variants.map(async (variant) => ({
        ...(await makeImage({ layers: [[{ name: variant, content: '' }]], architecture: 'arm', variant })),
        platform: { os: 'linux', architecture: 'arm', variant },
      })),
    )
    const amd = {
      ...(await makeImage({ layers: [busyboxMembers()], architecture: 'amd64' })),
      platform: { os: 'linux', architecture: 'amd64' },
    }
    const name = await pushImages(registry.host, 'multi:1', [...arms, amd])
    const platforms = ['linux/amd64', 'linux/arm/v7', 'linux/arm/v6']
    const found = []
    for (const text of platforms) {
      const image = await pull(name, { platform: parsePlatform(text) })
      found.push(fs.readdirSync(image.layers[0] ?? '').find((file) => /^v\d|^bin$/.test(file)))
    }
    expect(found).toEqual(['bin', 'v7', 'v6'])
    await expect(pull(name, { platform: parsePlatform('linux/riscv64') })).rejects.toMatchObject({
      code: 'WRONG_PLATFORM',
      message: expect.stringMatching(/it has linux\/arm\/v6, linux\/arm\/v7, linux\/amd64$/),
    })
  })

  it('removes an image with everything only it had', async () => {
    const small = await pushBusybox(registry, 'remove:small')
    const large = await pushBusybox(registry, 'remove:large', { layers: [extra] })
    await pull(small)
    const image = await pull(large)
    const store = openImageStore({ root })
    expect(await store.remove(large)).toEqual({ untagged: [large], deleted: image.id })
    expect(contents()).toMatchObject({ layers: 1, blobs: 3, records: 2, work: [] })
    await store.remove(small)
    expect(contents()).toEqual({ layers: 0, blobs: 0, records: 0, work: [] })
    await expect(store.remove(small)).rejects.toMatchObject({ code: 'NO_SUCH_IMAGE' })
  })

  it('keeps an image a container uses, and takes its name with force', async () => {
    const name = await pushBusybox(registry, 'used:1')
    const image = await pull(name)
    const store = openImageStore({ root })
    const inUse = (): string => 'web'
    await expect(store.remove(name, { inUse })).rejects.toMatchObject({
      code: 'IMAGE_IN_USE',
      message: expect.stringContaining('container web'),
    })
    expect(await store.remove(name, { inUse, force: true })).toEqual({ untagged: [name] })
    expect(fs.existsSync(image.layers[0] ?? '')).toBe(true)
    expect(store.find(name)).toBeUndefined()
    expect(await store.remove(image.id)).toEqual({ untagged: [], deleted: image.id })
    expect(contents()).toMatchObject({ layers: 0, blobs: 0 })
  })

  it('removes only the name while the image has others', async () => {
    const name = await pushBusybox(registry, 'named:1')
    const image = await pull(name)
    const store = openImageStore({ root })
    await store.tag(name, 'other:2')
    expect(store.find('other:2')?.names).toEqual([name, 'docker.io/library/other:2'])
    await expect(store.remove(image.id)).rejects.toMatchObject({ code: 'IMAGE_IN_USE' })
    expect(await store.remove(name)).toEqual({ untagged: [name] })
    expect(await store.remove('other:2')).toEqual({ untagged: ['docker.io/library/other:2'], deleted: image.id })
  })

  it('deletes nothing while somebody holds it', async () => {
    const name = await pushBusybox(registry, 'held:1')
    const image = await pull(name)
    const store = openImageStore({ root })
    const hold = await store.hold()
    await store.remove(name)
    expect(fs.existsSync(image.layers[0] ?? '')).toBe(true)
    hold[Symbol.dispose]()
    expect(await store.collect()).toBe(true)
    expect(fs.existsSync(image.layers[0] ?? '')).toBe(false)
  })

  it('mends a layer that somebody has deleted', async () => {
    const name = await pushBusybox(registry, 'mended:1')
    const [layer = ''] = (await pull(name)).layers
    fs.rmSync(layer, { recursive: true })
    expect(openImageStore({ root }).find(name)).toBeUndefined()
    await pull(name)
    expect(fs.existsSync(join(layer, 'bin/busybox'))).toBe(true)
  })

  it('lets nobody but its owner in', async () => {
    await pull(await pushBusybox(registry, 'private:1'))
    for (const path of ['images', 'images/blobs', 'layers', 'records', 'work']) {
      expect(fs.statSync(join(root, path)).mode & 0o777).toBe(0o700)
    }
  })

  it('serves many pulls of one image at once, downloading each blob once', async () => {
    const name = await pushBusybox(registry, 'crowd:1', {
      layers: [extra, [{ name: 'third', content: Buffer.alloc(1 << 20, 7) }]],
    })
    const downloads: string[] = []
    const images = await Promise.all(
      Array.from({ length: 12 }, () =>
        pull(name, {
          policy: 'always',
          onProgress: (event) => {
            if (event.type === 'layer' && event.phase === 'downloading') downloads.push(event.id)
          },
        }),
      ),
    )
    expect(new Set(images.map(({ id }) => id)).size).toBe(1)
    expect(downloads.toSorted()).toEqual([...new Set(downloads)].toSorted())
    expect(downloads).toHaveLength(3)
    expect(contents()).toMatchObject({ layers: 3, work: [] })
    await expectSound()
  })

  it('stays sound through pulls and removals at random', async () => {
    const names = [
      await pushBusybox(registry, 'random:a'),
      await pushBusybox(registry, 'random:b', { layers: [extra] }),
      await pushBusybox(registry, 'random:c', { layers: [extra, [{ name: 'more', content: 'x' }]] }),
    ]
    const worker = async (seed: number): Promise<void> => {
      for (let i = 0; i < 6; i++) {
        const name = names[(seed + i * 7) % 3] ?? ''
        if ((seed + i) % 2 === 0) await pull(name)
        else await openImageStore({ root }).remove(name, { force: true }).catch(ignoreAbsent)
      }
    }
    await Promise.all([0, 1, 2, 3].map(worker))
    await expectSound()
    await openImageStore({ root }).collect()
    const left = openImageStore({ root }).list()
    expect(contents().layers).toBe(new Set(left.flatMap(({ layers }) => layers)).size)
    expect(contents().work).toEqual([])
  })
})

function ignoreAbsent(error: unknown): void {
  if ((error as { code?: string }).code !== 'NO_SUCH_IMAGE') throw error
}

describe('a pull that is killed', () => {
  it('leaves a sound store, and the next command cleans up', async () => {
    const content = Buffer.alloc(8 << 20, 1).fill('random enough', 1000, 4 << 20)
    const name = await pushBusybox(registry, 'killed:1', { layers: [[{ name: 'big', content }], extra] })
    const script = await bundledPull()
    for (let delay = 60; delay < 400; delay += 40) {
      const child = spawn(process.execPath, [script, root, name], { stdio: 'ignore' })
      const ended = new Promise((resolve) => child.once('exit', resolve))
      await sleep(delay)
      child.kill('SIGKILL')
      await ended
      await expectSound()
    }
    const image = await pull(name, { policy: 'always' })
    expect(fs.readFileSync(join(image.layers[1] ?? '', 'big')).equals(content)).toBe(true)
    expect(contents()).toMatchObject({ layers: 3, work: [] })
    await expectSound()
  })

  it('may leave the lock of a blob it had the whole of, which the next one takes away', async () => {
    const name = await pushBusybox(registry, 'killed:2')
    await pull(name, { policy: 'always' })
    for (const digest of fs.readdirSync(join(root, 'images/blobs/sha256'))) {
      fs.writeFileSync(join(root, 'work', `blob-${digest}.lock`), '')
    }
    await pull(name, { policy: 'always' })
    expect(contents().work).toEqual([])
  })
})

describe('a full disk', () => {
  it.each(['1m', '2560k'])('of %s is named in one line, and nothing of the image is left', async (size) => {
    const name = await pushBusybox(registry, 'full:1')
    await execa('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', root])
    try {
      await expect(pull(name)).rejects.toMatchObject({
        code: 'NO_SPACE',
        message: expect.stringMatching(/^[^\n]*ENOSPC[^\n]*$/),
        hint: expect.any(String),
      })
      expect(openImageStore({ root }).list()).toEqual([])
      expect(contents()).toEqual({ layers: 0, blobs: 0, records: 0, work: [] })
    } finally {
      await execa('umount', [root])
    }
  })
})

describe('a power cut', () => {
  it('finds blobs and layers on the disk before the index names them', async () => {
    const name = await pushBusybox(registry, 'power:1')
    const script = await bundledPull()
    const trace = join(root, 'trace')
    const calls = 'trace=syncfs,rename'
    await execa('strace', ['-f', '-e', calls, '-y', '-o', trace, process.execPath, script, root, name])
    const lines = fs.readFileSync(trace, 'utf8').split('\n')
    const last = (pattern: RegExp): number => lines.findLastIndex((line) => pattern.test(line))
    const index = last(/rename\(.*\/images\/index\.json"\)\s+= 0/)
    expect(index).toBeGreaterThan(0)
    const begun = last(/syncfs\(\d+<.*\/layers>/)
    for (const named of [/rename\(.*\/layers\/[0-9a-f]{64}"\)\s+= 0/, /rename\(.*\/work\/blob-[0-9a-f]{64}",.*= 0/]) {
      expect(last(named)).toBeGreaterThan(0)
      expect(begun).toBeGreaterThan(last(named))
    }
    const ended = last(/syncfs.*= 0/)
    expect(ended).toBeGreaterThanOrEqual(begun)
    expect(ended).toBeLessThan(index)
  })
})

/** A program that pulls ROOT NAME, to be killed: sources cannot be run by an old Node as they are. */
async function bundledPull(): Promise<string> {
  const { rolldown } = await import('rolldown')
  const directory = join(import.meta.dirname, '..', '.cache', 'pull-program')
  fs.mkdirSync(directory, { recursive: true })
  const entry = join(directory, 'entry.ts')
  const from = (path: string): string => JSON.stringify(join(import.meta.dirname, '../../src', path))
  fs.writeFileSync(
    entry,
    `import { pullImage } from ${from('images/pull.ts')}
import { openImageStore } from ${from('images/store.ts')}
import { hostPlatform } from ${from('images/host-platform.ts')}
import { parseReference } from ${from('model/reference.ts')}
const [root = '', name = ''] = process.argv.slice(2)
void pullImage(openImageStore({ root }), parseReference(name), { platform: hostPlatform(), policy: 'always' })
`,
  )
  const bundle = await rolldown({
    input: entry,
    platform: 'node',
    transform: { target: 'node20.19' },
    logLevel: 'silent',
  })
  await bundle.write({ dir: directory, format: 'esm', entryFileNames: 'pull.mjs', chunkFileNames: '[name].mjs' })
  return join(directory, 'pull.mjs')
}
