import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../src/images/host-platform.ts'
import type { PullProgress } from '../../src/images/progress.ts'
import { pullImage, type PullImageOptions } from '../../src/images/pull.ts'
import { openImageStore, type StoredImage } from '../../src/images/store.ts'
import { parseReference } from '../../src/model/reference.ts'
import {
  blobOf,
  type MadeBlob,
  makeImage,
  OCI_INDEX,
  OCI_MANIFEST,
  pushBusybox,
  pushImages,
} from './fixtures/images.ts'
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
  return pullImage(openImageStore({ root }), parseReference(name), {
    platform: hostPlatform(),
    policy: 'missing',
    retryDelayMs: 1,
    ...options,
  })
}

const indexOf = (manifests: readonly object[]): MadeBlob =>
  blobOf({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })

async function putIndex(repository: string, tag: string, { bytes }: MadeBlob): Promise<void> {
  const url = `http://${registry.host}/v2/${repository}/manifests/${tag}`
  const headers = { 'content-type': OCI_INDEX }
  const { status } = await fetch(url, { method: 'PUT', headers, body: new Uint8Array(bytes) })
  expect(status).toBe(201)
}

describe('pulling from a registry', () => {
  it('stores an image of several layers, each in a directory of its own', async () => {
    const name = await pushBusybox(registry, 'several:1', {
      layers: [
        [{ name: 'etc/motd', content: 'hello\n', mode: 0o640, uid: 5, gid: 6 }],
        [{ name: 'etc/.wh.motd', content: '' }],
      ],
    })
    const events: PullProgress[] = []
    const image = await pull(name, { onProgress: (event) => events.push(event) })
    expect(image.layers).toHaveLength(3)
    const [base = '', middle = '', top = ''] = image.layers
    expect(fs.readFileSync(join(base, 'bin/busybox')).equals(fs.readFileSync('/bin/busybox'))).toBe(true)
    expect(fs.statSync(join(middle, 'etc/motd'))).toMatchObject({ mode: 0o100640, uid: 5, gid: 6 })
    expect(fs.statSync(join(top, 'etc/motd'))).toMatchObject({ rdev: 0, mode: 0o020000 })
    expect(events[0]).toMatchObject({ type: 'resolved' })
    expect(events.at(-1)).toMatchObject({ type: 'done', fresh: true })
  })

  it('finds the platform in a later one of several indexes', async () => {
    const other = await makeImage({ layers: [], architecture: 'riscv64' })
    const own = await makeImage({ layers: [[{ name: 'a', content: '' }]] })
    const entries: object[] = []
    for (const [tag, image] of Object.entries({ other, own })) {
      const { architecture } = JSON.parse(image.config.bytes.toString()) as { architecture: string }
      await pushImages(registry.host, `indexes:${tag}`, [image])
      const { digest, bytes } = image.manifest
      const platform = { os: 'linux', architecture }
      const index = indexOf([{ mediaType: OCI_MANIFEST, digest, size: bytes.length, platform }])
      await putIndex('indexes', index.digest, index)
      entries.push({ mediaType: OCI_INDEX, digest: index.digest, size: index.bytes.length })
    }
    await putIndex('indexes', 'all', indexOf(entries))
    expect(await pull(`${registry.host}/indexes:all`)).toMatchObject({ id: own.config.digest })
  })

  it('takes an image of 130 layers', async () => {
    const layers = Array.from({ length: 130 }, (_, i) => [{ name: `dir/file-${i}`, content: `${i}` }])
    const name = await pushImages(registry.host, 'many:1', [await makeImage({ layers })])
    const image = await pull(name)
    const contents = image.layers.map((layer, i) => fs.readFileSync(join(layer, `dir/file-${i}`), 'utf8'))
    expect(contents).toEqual(layers.map((_, i) => `${i}`))
    expect(fs.readdirSync(join(root, 'work'))).toEqual([])
  }, 180_000) // 130 blobs are pushed, and 130 processes unpack them

  it('is an OCI layout that skopeo reads', async () => {
    const name = await pushBusybox(registry, 'layout:1')
    const image = await pull(name)
    const { stdout } = await execa('skopeo', ['inspect', '--config', `oci:${root}/images:${name}`])
    expect(JSON.parse(stdout)).toMatchObject({ config: { Cmd: ['sh'] } })
    const raw = await execa('skopeo', ['inspect', '--raw', `oci:${root}/images:${name}`])
    expect(JSON.parse(raw.stdout)).toMatchObject({ config: { digest: image.id } })
  })

  /** The files of the store, whatever they are for. */
  function stored(): readonly string[] {
    return ['images/blobs/sha256', 'layers', 'records', 'work'].flatMap((kind) =>
      fs.readdirSync(join(root, kind)).map((name) => `${kind}/${name}`),
    )
  }

  /** An image of two layers; what the registry keeps of the larger one. */
  async function pushTwoLayers(tag: string): Promise<{ readonly name: string; readonly data: string }> {
    const content = randomBytes(1 << 20)
    const made = await makeImage({ layers: [[{ name: 'file', content }], [{ name: 'small', content: tag }]] })
    const name = await pushImages(registry.host, tag, [made])
    const raw = await execa('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${name}`])
    const [, hex = ''] = String(JSON.parse(raw.stdout).layers[0].digest).split(':')
    return { name, data: join(registry.directory, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data') }
  }

  it.each([false, true])(
    'leaves nothing where the registry has lost a blob (all platforms: %s)',
    async (allPlatforms) => {
      await pull(await pushBusybox(registry, 'kept:1'))
      const before = stored()
      const { name, data } = await pushTwoLayers(`lost-${allPlatforms}:1`)
      fs.rmSync(data)
      await expect(pull(name, { allPlatforms })).rejects.toMatchObject({
        code: 'REGISTRY',
        message: expect.stringMatching(/^fetch blob \S+ of \S+: the registry does not have it$/),
        hint: expect.stringContaining('push the image again'),
      })
      expect(stored()).toEqual(before)
    },
  )

  it('says how much of a blob there is where the registry has lost the rest, and leaves nothing', async () => {
    await pull(await pushBusybox(registry, 'kept:1'))
    const before = stored()
    const { name, data } = await pushTwoLayers('cut:1')
    fs.truncateSync(data, 300_000)
    await expect(pull(name)).rejects.toMatchObject({
      code: 'REGISTRY',
      message: expect.stringMatching(/^fetch blob \S+ of \S+: the registry has only 300000 of \d+ bytes$/),
      hint: expect.stringContaining('push the image again'),
    })
    expect(stored()).toEqual(before)
  })

  it('keeps what an interrupted pull brought where another name is not there, or no image', async () => {
    const { name } = await pushTwoLayers('whole:1')
    const stop = new AbortController()
    const onProgress = (event: PullProgress): void => {
      if (event.type === 'layer' && event.phase === 'complete') stop.abort()
    }
    await expect(pull(name, { signal: stop.signal, onProgress, parallel: 1 })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    const before = stored()
    expect(before.length).toBeGreaterThan(2)
    await expect(pull(`${registry.host}/whole:2`)).rejects.toMatchObject({ code: 'NO_SUCH_IMAGE' })
    expect(stored()).toEqual(before)
  })
})
