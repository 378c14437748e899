import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { copyImage } from '../../src/images/copy.ts'
import { dockerSource, dockerTarget } from '../../src/images/docker-transport.ts'
import { hostPlatform } from '../../src/images/host-platform.ts'
import { pullImage, type PullImageOptions } from '../../src/images/pull.ts'
import type { Packing } from '../../src/images/packer.ts'
import { pushImage } from '../../src/images/push.ts'
import { type ImageStore, openImageStore, type StoredImage } from '../../src/images/store.ts'
import { parseReference } from '../../src/model/reference.ts'
import { type MadeImage, makeImage, pushBusybox, pushImages, sha256 } from './fixtures/images.ts'
import { startRegistry, type TestRegistry } from './fixtures/registry.ts'

let registry: TestRegistry
let root: string
let store: ImageStore

beforeAll(async () => {
  registry = await startRegistry()
})
afterAll(async () => {
  await registry.stop()
})
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'tscrun-push-'))
  store = openImageStore({ root: join(root, 'store') })
})
afterEach(() => {
  fs.rmSync(root, { recursive: true })
})

function pull(name: string, options: Partial<PullImageOptions> = {}): Promise<StoredImage> {
  return pullImage(store, parseReference(name), { platform: hostPlatform(), policy: 'always', ...options })
}

/** What a name stands for at the registry, byte for byte, as skopeo is given it. */
async function rawManifest(name: string): Promise<Buffer> {
  const { stdout } = await execa('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${name}`], {
    encoding: 'buffer',
    stripFinalNewline: false,
  })
  return Buffer.from(stdout)
}

/** Has podman pull an image into a store of its own, where its mounts and cgroups are nobody else's. */
async function podmanPulls(name: string): Promise<{ readonly id: string; readonly digest: string }> {
  const podman = ['podman', '--root', join(root, 'podman'), '--runroot', join(root, 'podman-run')]
  const globals = [...podman, '--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--tmpdir', join(root, 'tmp')]
  const script = 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; "$@"'
  const run = (argv: readonly string[]): Promise<{ stdout: string }> =>
    execa('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...globals, ...argv])
  await run(['pull', '-q', '--tls-verify=false', name])
  const { stdout } = await run(['image', 'inspect', '--format', '{{.Id}} {{.Digest}}', name])
  const [id = '', digest = ''] = stdout.split(' ')
  return { id, digest }
}

describe('an image that is pushed to docker-registry', () => {
  it.each([
    ['gzip', []],
    ['zstd', ['--dest-compress', '--dest-compress-format', 'zstd']],
  ])('with %s layers is pulled by podman and skopeo with the same digest', async (format, options) => {
    // Each its own: skopeo takes a blob of the other compression where it knows that the registry has that.
    const layers = [[{ name: format, content: format }]]
    const name = await pushBusybox(registry, `pushed/from:${format}`, { options, layers })
    expect((await rawManifest(name)).toString()).toContain(`tar+${format}"`)
    const image = await pull(name)
    const target = `${registry.host}/pushed/to:2`
    expect(await pushImage(store, name, parseReference(target), {})).toBe(image.manifest.digest)
    expect(sha256(await rawManifest(target))).toBe(image.manifest.digest)
    await execa('skopeo', [
      '--insecure-policy',
      'copy',
      '--src-tls-verify=false',
      `docker://${target}`,
      `dir:${root}/dir`,
    ])
    expect(fs.readdirSync(join(root, 'dir'))).toHaveLength(5)
    expect(await podmanPulls(target)).toEqual({ id: image.id.slice('sha256:'.length), digest: image.manifest.digest })
  })

  it('in an empty repository of another registry has all its blobs sent', async () => {
    const other = await startRegistry()
    try {
      const name = await pushBusybox(registry, 'far/away:1', {
        layers: [[{ name: 'x', content: Buffer.alloc(9 << 20, 7) }]],
      })
      const image = await pull(name)
      const target = `${other.host}/new:1`
      await pushImage(store, name, parseReference(target), {})
      expect(sha256(await rawManifest(target))).toBe(image.manifest.digest)
      const from = `docker://${target}`
      await execa('skopeo', ['--insecure-policy', 'copy', '--src-tls-verify=false', from, `dir:${root}/dir`])
    } finally {
      await other.stop()
    }
  })
})

describe('layers that are packed anew', () => {
  const LAYER = /"application\/vnd\.oci\.image\.layer\.v1\.tar\+(gzip|zstd)"/g
  const formatsOf = async (name: string): Promise<readonly (string | undefined)[]> =>
    [...(await rawManifest(name)).toString().matchAll(LAYER)].map(([, format]) => format)

  it('as zstd, and as gzip again, are pulled by podman as the same image', async () => {
    const name = await pushBusybox(registry, 'packed/from:1')
    const image = await pull(name)
    let from = name
    for (const format of ['zstd', 'gzip'] as const) {
      const target = `${registry.host}/packed/to:${format}`
      const digest = await pushImage(store, from, parseReference(target), { packing: { format } })
      expect(sha256(await rawManifest(target))).toBe(digest)
      expect(await formatsOf(target)).toEqual(image.layers.map(() => format))
      expect((await podmanPulls(target)).id).toBe(image.id.slice('sha256:'.length))
      // What was packed is the registry's, not the store's.
      expect(fs.readdirSync(join(root, 'store/work'))).toEqual([])
      // As others have it: its layers are there, its blobs are not.
      await store.remove(from)
      expect((await pull(target)).id).toBe(image.id)
      from = target
    }
  })

  it('stay as they are where they have the format, unless a level or force says otherwise', async () => {
    const name = await pushBusybox(registry, 'packed/same:1')
    const { digest } = (await pull(name)).manifest
    const push = (packing: Packing): Promise<string> =>
      pushImage(store, name, parseReference(`${registry.host}/packed/same:2`), { packing })
    expect(await push({ format: 'gzip' })).toBe(digest)
    const weak = await push({ format: 'gzip', level: 1 })
    const strong = await push({ format: 'zstd', level: 22 })
    expect(new Set([digest, weak, strong, await push({ format: 'zstd', level: 1 })]).size).toBe(4)
    expect(await push({ format: 'gzip', level: 1, force: true })).toBe(weak)
  })
})

describe('an index', () => {
  /** Two platforms, and what says how one was built. */
  async function pushIndex(name: string): Promise<string> {
    const made = async (architecture: string): Promise<MadeImage> =>
      makeImage({ layers: [[{ name: architecture, content: architecture }]], architecture })
    const [host = '', other = ''] = process.arch === 'arm64' ? ['arm64', 'amd64'] : ['amd64', 'arm64']
    return pushImages(registry.host, name, [
      { ...(await made(host)), platform: { os: 'linux', architecture: host } },
      { ...(await made(other)), platform: { os: 'linux', architecture: other } },
      { ...(await made('unknown')), platform: { os: 'unknown', architecture: 'unknown' } },
    ])
  }

  it('that was pulled with all its platforms is pushed with them, and survives a collection of garbage', async () => {
    const name = await pushIndex('index/all:1')
    await pull(name, { allPlatforms: true })
    expect(await store.collect()).toBe(true)
    const target = `${registry.host}/index/all-again:1`
    const digest = await pushImage(store, name, parseReference(target), {})
    const raw = await rawManifest(target)
    expect(raw.equals(await rawManifest(name))).toBe(true)
    expect(digest).toBe(sha256(raw))
    const copied = [`docker://${target}`, `oci:${root}/oci:x`]
    await execa('skopeo', ['--insecure-policy', 'copy', '--all', '--src-tls-verify=false', ...copied])
    expect(fs.readdirSync(join(root, 'oci/blobs/sha256'))).toHaveLength(10)
  })

  it('of which one platform was pulled is pushed as that', async () => {
    const name = await pushIndex('index/one:1')
    const image = await pull(name)
    const target = `${registry.host}/index/one-again:1`
    expect(await pushImage(store, name, parseReference(target), {})).toBe(image.manifest.digest)
  })

  it('is copied between registries whole, or one platform of it, without a store', async () => {
    const name = await pushIndex('index/copied:1')
    const other = await startRegistry()
    try {
      for (const platform of ['all', { os: 'linux', architecture: 's390x' }, hostPlatform()] as const) {
        const source = dockerSource(parseReference(name), {})
        const target = dockerTarget(parseReference(`${other.host}/copied:1`), {})
        const copied = copyImage(source, target, { verb: 'copy', platform })
        if (platform !== 'all' && platform.architecture === 's390x') {
          await expect(copied).rejects.toMatchObject({
            code: 'WRONG_PLATFORM',
            message: expect.not.stringMatching(/unknown/),
          })
        } else expect(await copied).toBe(sha256(await rawManifest(`${other.host}/copied:1`)))
        if (platform === 'all') expect(await copied).toBe(sha256(await rawManifest(name)))
        await Promise.all([source.close(), target.close()])
      }
    } finally {
      await other.stop()
    }
  })
})
