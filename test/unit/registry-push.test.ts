import { createHash, randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { copyImage } from '../../src/images/copy.ts'
import { dockerSource, dockerTarget, type DockerTargetOptions } from '../../src/images/docker-transport.ts'
import type { PullProgress } from '../../src/images/progress.ts'
import type { ImageSource } from '../../src/images/transport.ts'
import type { Digest } from '../../src/model/digest.ts'
import { parseReference } from '../../src/model/reference.ts'
import { type MemoryRegistry, type Meddle, startMemoryRegistry } from './fixtures/memory-registry.ts'

const OCI = 'application/vnd.oci.image'
const LARGE = randomBytes(6 << 20)

let registries: MemoryRegistry[] = []
let events: PullProgress[] = []

afterEach(async () => {
  for (const registry of registries) await registry.stop()
  registries = []
  events = []
})

async function serve(meddle?: Meddle): Promise<MemoryRegistry> {
  const registry = await startMemoryRegistry(meddle)
  registries.push(registry)
  return registry
}

function digestOf(bytes: Buffer): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest
}

/** An image with a large layer and a small one, as a source that reads from memory. */
function imageInMemory(): ImageSource & { readonly digest: Digest; readonly manifest: Buffer } {
  const parts = [LARGE, Buffer.from('small layer'), Buffer.from('{"config":{}}')]
  const [large, small, config] = parts.map((bytes) => ({ digest: digestOf(bytes), size: bytes.length }))
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: { mediaType: `${OCI}.config.v1+json`, ...config },
      layers: [large, small].map((blob) => ({ mediaType: `${OCI}.layer.v1.tar`, ...blob })),
    }),
  )
  return {
    name: 'memory:',
    manifest,
    digest: digestOf(manifest),
    document: async () => ({ bytes: manifest, mediaType: undefined }),
    async *blob({ digest }, offset) {
      const bytes = parts.find((part) => digestOf(part) === digest) ?? Buffer.alloc(0)
      for (let at = offset; at < bytes.length; at += 1 << 18) yield bytes.subarray(at, at + (1 << 18))
    },
    close: async () => undefined,
  }
}

async function push(
  registry: MemoryRegistry,
  name = 'team/app:1',
  options: DockerTargetOptions = {},
  source: ImageSource = imageInMemory(),
): Promise<Digest> {
  const reach = { retryDelayMs: 1, idleTimeoutMs: 2000, env: { HOME: '/nonexistent' }, ...options }
  const target = dockerTarget(parseReference(`${registry.host}/${name}`), reach)
  const onProgress = (event: PullProgress): number => events.push(event)
  try {
    return await copyImage(source, target, { verb: 'push', platform: 'all', onProgress })
  } finally {
    await target.close()
  }
}

function expectWhole(registry: MemoryRegistry, name = 'team/app:1'): void {
  const { digest, manifest } = imageInMemory()
  expect(registry.manifests.get(name)?.bytes.equals(manifest)).toBe(true)
  expect(registry.manifests.has(name.replace(/:.*/, `:${digest}`))).toBe(true)
  expect(registry.blobs.get(digestOf(LARGE))?.equals(LARGE)).toBe(true)
}

/** `PUT upload` and the like, in order, without what only asks. */
function requests(registry: MemoryRegistry): string[] {
  return registry.log
    .map(({ method, kind }) => `${method} ${kind}`)
    .filter((line) => !/^(?:GET|HEAD) (?!upload)/.test(line))
}

describe('pushing', () => {
  it('sends small blobs in one request, large ones in parts, and the manifest last', async () => {
    const registry = await serve()
    expect(await push(registry)).toBe(imageInMemory().digest)
    expectWhole(registry)
    const lines = requests(registry)
    expect(lines.at(-1)).toBe('PUT manifest')
    expect(lines.filter((line) => line === 'PATCH upload')).toHaveLength(1)
    expect(lines.filter((line) => line === 'PUT upload')).toHaveLength(3)
    const sizes = registry.log
      .filter(({ method }) => method === 'PATCH')
      .map(({ headers }) => headers['content-length'])
    expect(sizes).toEqual([String(LARGE.length)])
  })

  it('sends nothing that is there', async () => {
    const registry = await serve()
    await push(registry)
    registry.log.length = 0
    await push(registry, 'team/app:2')
    expect(requests(registry)).toEqual(['PUT manifest'])
    expect(events.filter((event) => event.type === 'layer' && event.phase === 'exists')).toHaveLength(3)
  })

  it('has a registry take blobs from another of its repositories', async () => {
    const registry = await serve()
    await push(registry, 'base/app:1')
    registry.log.length = 0
    await push(registry, 'team/app:1', { mountFrom: () => ['base/app'] })
    expectWhole(registry)
    expect(requests(registry)).toEqual(['POST upload', 'POST upload', 'POST upload', 'PUT manifest'])
    expect(registry.log.filter(({ query }) => query.get('from') === 'base/app')).toHaveLength(3)
  })

  it('sends blobs that could not be mounted after all', async () => {
    const registry = await serve()
    await push(registry, 'team/app:1', { mountFrom: () => ['not/there'] })
    expectWhole(registry)
  })

  it('goes on where a broken upload got to', async () => {
    const registry = await serve(({ method, times }) => method === 'PATCH' && times <= 2 && { cutAfter: 1 << 20 })
    await push(registry)
    expectWhole(registry)
    const ranges = registry.log
      .filter(({ method }) => method === 'PATCH')
      .map(({ headers }) => headers['content-range'])
    expect(ranges).toEqual([
      undefined,
      expect.stringMatching(/^1\d{6}-6291455$/),
      expect.stringMatching(/^[23]\d{6}-6291455$/),
    ])
    expect(registry.log.filter(({ method, kind }) => method === 'POST' && kind === 'upload')).toHaveLength(3)
  })

  it('begins anew where the registry has given a broken upload up', async () => {
    const registry = await serve(({ method, kind, times }, response) => {
      if (method === 'PATCH' && times === 1) return { cutAfter: 1 << 20 }
      if (method !== 'GET' || kind !== 'upload') return false
      response.writeHead(404).end()
      return true
    })
    await push(registry)
    expectWhole(registry)
    expect(registry.log.filter(({ method, kind }) => method === 'POST' && kind === 'upload')).toHaveLength(4)
  })

  it.each([500, 503, 429])('asks again after one %i, wherever it comes', async (status) => {
    for (const wanted of ['POST upload', 'PATCH upload', 'PUT upload', 'PUT manifest', 'HEAD blob']) {
      const registry = await serve(({ method, kind, times }, response, raw) => {
        if (`${method} ${kind}` !== wanted || times > 1) return false
        raw.resume()
        raw.on('end', () => response.writeHead(status, { 'retry-after': '0' }).end())
        return true
      })
      await push(registry)
      expectWhole(registry)
    }
  })

  it('gives up after a lasting 500 and leaves no manifest behind', async () => {
    const registry = await serve(({ kind, method }, response, raw) => {
      if (kind !== 'upload' || method === 'POST') return false
      raw.resume()
      raw.on('end', () => response.writeHead(500).end())
      return true
    })
    await expect(push(registry)).rejects.toMatchObject({
      code: 'REGISTRY',
      message: expect.stringMatching(/^push .*answers 500/),
    })
    expect(registry.manifests.size).toBe(0)
  })

  it('renews a token that runs out in the middle of a push, and asks for one that may push', async () => {
    let token = ''
    let issued = 0
    const registry = await serve(({ path, headers, kind }, response, raw) => {
      if (path === '/token') {
        token = `token-${++issued}`
        response.end(JSON.stringify({ token }))
        return true
      }
      if (kind === 'ping') return false
      const isGood = headers.authorization === `Bearer ${token}`
      if (isGood && kind === 'manifest' && issued < 2) token = 'run out'
      else if (isGood) return false
      raw.resume()
      const realm = `Bearer realm="http://${registries[0]?.host}/token",service="r",scope="repository:team/app:pull"`
      raw.on('end', () => response.writeHead(401, { 'www-authenticate': realm }).end())
      return true
    })
    await push(registry)
    expectWhole(registry)
    expect(issued).toBe(2)
    expect(registry.log.find(({ path }) => path === '/token')?.query.getAll('scope')).toEqual([
      'repository:team/app:pull,push',
    ])
  })

  it('sends logins and blobs nowhere that an upload is redirected to', async () => {
    const other = await serve()
    const registry = await serve(({ kind, method, path }, response, raw) => {
      if (kind !== 'upload' || method !== 'PUT') return false
      raw.resume()
      raw.on('end', () => response.writeHead(307, { location: `http://${other.host}${path}` }).end())
      return true
    })
    await expect(push(registry, 'a:1', { creds: { user: 'me', password: 'secret' } })).rejects.toMatchObject({
      code: 'REGISTRY',
      message: expect.stringContaining('redirected'),
    })
    expect(other.log).toEqual([])
  })

  it('sends no login where the registry wants an upload to go to another host', async () => {
    const storage = await serve(({ method }, response, raw) => {
      raw.resume()
      raw.on('end', () => response.writeHead(method === 'PATCH' ? 202 : 201, { location: '/there' }).end())
      return true
    })
    const registry = await serve(({ kind, method, headers }, response, raw) => {
      if (headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
        return true
      }
      if (kind !== 'upload' || method !== 'POST') return false
      raw.resume()
      response.writeHead(202, { location: `http://${storage.host}/put-here` }).end()
      return true
    })
    await push(registry, 'a:1', { creds: { user: 'me', password: 'secret' } })
    expect(registry.log.some(({ headers }) => headers.authorization !== undefined)).toBe(true)
    expect(storage.log.length).toBeGreaterThan(2)
    expect(storage.log.filter(({ headers }) => headers.authorization !== undefined)).toEqual([])
  })

  it.each([
    ['a file', 'file:///etc/passwd'],
    ['an address with a login', 'http://a:b@127.0.0.1/'],
    ['nothing', ''],
  ])('takes no upload to %s', async (_, location) => {
    const registry = await serve(({ kind, method }, response, raw) => {
      if (kind !== 'upload' || method !== 'POST') return false
      raw.resume()
      response.writeHead(202, location === '' ? {} : { location }).end()
      return true
    })
    await expect(push(registry)).rejects.toMatchObject({ code: 'REGISTRY' })
  })

  it('notices a registry that takes the manifest for another one', async () => {
    const registry = await serve(({ kind, method }, response, raw) => {
      if (kind !== 'manifest' || method !== 'PUT') return false
      raw.resume()
      raw.on('end', () => response.writeHead(201, { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }).end())
      return true
    })
    await expect(push(registry)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
  })

  it('refuses to push by a digest that is not that of the image', async () => {
    const registry = await serve()
    await expect(push(registry, `app@sha256:${'1'.repeat(64)}`)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
    expect(await push(registry, `app@${imageInMemory().digest}`)).toBe(imageInMemory().digest)
  })

  it('copies from registry to registry, each with its own login', async () => {
    const guard =
      (expected: string): Meddle =>
      ({ headers }, response) => {
        if (headers.authorization === `Basic ${Buffer.from(expected).toString('base64')}`) return false
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
        return true
      }
    const from = await serve(guard('reader:1'))
    const to = await serve(guard('writer:2'))
    await push(from, 'a:1', { creds: { user: 'reader', password: '1' } })
    const env = { HOME: '/nonexistent' }
    const source = dockerSource(parseReference(`${from.host}/a:1`), { env, creds: { user: 'reader', password: '1' } })
    await push(to, 'b:1', { creds: { user: 'writer', password: '2' } }, source)
    await source.close()
    expectWhole(to, 'b:1')
  })
})
