import * as fs from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../src/images/host-platform.ts'
import type { PullProgress } from '../../src/images/progress.ts'
import { pullImage, type PullImageOptions } from '../../src/images/pull.ts'
import { openImageStore, type StoredImage } from '../../src/images/store.ts'
import { parseReference } from '../../src/model/reference.ts'
import {
  type Fault,
  type FaultyRegistry,
  isConfig,
  isLayer,
  isManifest,
  startFaultyRegistry,
} from './fixtures/faulty-registry.ts'
import { blobOf, makeImage, type MadeImage, OCI_INDEX, OCI_MANIFEST } from './fixtures/images.ts'

const CONTENT = Buffer.alloc(300_000, 'incompressible? no')

let root: string
let registries: FaultyRegistry[]
let events: PullProgress[]

beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'tscrun-store-'))
  registries = []
  events = []
})
afterEach(async () => {
  for (const registry of registries) await registry.stop()
  fs.rmSync(root, { recursive: true })
})

async function serve(fault: Fault, image?: MadeImage, index?: ReturnType<typeof blobOf>): Promise<FaultyRegistry> {
  const good = image ?? (await makeImage({ layers: [[{ name: 'file', content: CONTENT }]] }))
  const registry = await startFaultyRegistry(good, fault, index)
  registries.push(registry)
  return registry
}

function pull(options: Partial<PullImageOptions> = {}, name = `${registries[0]?.host}/image:1`): Promise<StoredImage> {
  return pullImage(openImageStore({ root }), parseReference(name), {
    platform: hostPlatform(),
    policy: 'always',
    retryDelayMs: 1,
    idleTimeoutMs: 250,
    env: { HOME: root },
    onProgress: (event) => events.push(event),
    ...options,
  })
}

/** The pull fails with one line. Nothing of the image is to be seen, and nothing lies there that no later try goes on with. */
async function expectRefused(pulling: Promise<unknown>, code: string, message?: RegExp): Promise<void> {
  await expect(pulling).rejects.toMatchObject({
    name: 'TscrunError',
    code,
    message: message === undefined ? expect.not.stringContaining('\n') : expect.stringMatching(message),
  })
  expect(openImageStore({ root }).list()).toEqual([])
  const left = (kind: string): string[] =>
    fs.existsSync(join(root, kind)) ? fs.readdirSync(join(root, kind)).map((name) => join(root, kind, name)) : []
  const blobs = left('images/blobs/sha256')
  for (const blob of blobs) expect(blobOf(fs.readFileSync(blob)).digest).toBe(`sha256:${basename(blob)}`)
  expect(left('layers')).toEqual([])
  const mayPass = code === 'NETWORK' || code === 'REGISTRY_RATE_LIMIT' || /answers 5/.test(String(message))
  if (!mayPass) expect([...blobs, ...left('records'), ...left('work')]).toEqual([])
}

/** A bit of the byte at this place is turned. */
function flip(bytes: Buffer, at: number): Buffer {
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}

/** Sends bytes so slowly that the idle clock hears some all the time. */
function trickle(response: ServerResponse, body: Buffer): void {
  let at = 0
  const timer = setInterval(() => {
    if (response.destroyed || at >= body.length) return clearInterval(timer)
    response.write(body.subarray(at, ++at))
  }, 50)
  response.on('close', () => clearInterval(timer))
}

describe('a registry that wastes time', () => {
  it('with a byte now and then is given up like one that is silent', async () => {
    const { log } = await serve((request, response) => {
      if (!isLayer(request)) return false
      response.writeHead(200, { 'content-length': request.body?.length ?? 0 })
      trickle(response, request.body ?? Buffer.alloc(0))
      return true
    })
    await expectRefused(pull(), 'NETWORK', /next to nothing arrived/)
    expect(log.filter(isLayer)).toHaveLength(4)
  })

  it('by never answering is given up', async () => {
    const { log } = await serve((request) => isLayer(request))
    await expectRefused(pull(), 'NETWORK', /nothing arrived/)
    expect(log.filter(isLayer)).toHaveLength(4)
  })

  it.each([['429', 'REGISTRY_RATE_LIMIT'] as const, ['503', 'REGISTRY'] as const])(
    'by asking for a pause of an hour with %s is told to be unwilling',
    async (status, code) => {
      const { log } = await serve(({ kind }, response) => {
        if (kind !== 'manifest') return false
        response.writeHead(Number(status), { 'retry-after': '3600' }).end()
        return true
      })
      await expectRefused(pull(), code)
      expect(log.filter(({ kind }) => kind === 'manifest')).toHaveLength(1)
    },
  )

  it.each([500, 502, 503, 504])('by a %i for ever is asked four times', async (status) => {
    const { log } = await serve((request, response) => {
      if (!isLayer(request)) return false
      response.writeHead(status).end()
      return true
    })
    await expectRefused(pull(), 'REGISTRY', new RegExp(`answers ${status}`))
    expect(log.filter(isLayer)).toHaveLength(4)
    // Manifest and config wait for the next try.
    expect(fs.readdirSync(join(root, 'images/blobs/sha256'))).toHaveLength(2)
  })

  it('by a part of a kilobyte and an end, for ever, is not asked for ever', async () => {
    const { log } = await serve((request, response) => {
      if (!isLayer(request)) return false
      const start = Number(/bytes=(\d+)/.exec(request.headers.range ?? '')?.[1] ?? 0)
      const rest = request.body?.subarray(start) ?? Buffer.alloc(0)
      const range = `bytes ${start}-${start + rest.length - 1}/${request.body?.length}`
      response.writeHead(start === 0 ? 200 : 206, { 'content-length': rest.length, 'content-range': range })
      response.write(rest.subarray(0, 10), () => response.destroy())
      return true
    })
    await expectRefused(pull(), 'NETWORK')
    expect(log.filter(isLayer)).toHaveLength(4)
  })
})

describe('a registry that answers something else', () => {
  it.each([206, 416])('to Range (%i) is asked for all of the blob, and not believed', async (status) => {
    const { log } = await serve((request, response) => {
      if (!isLayer(request)) return false
      const body = request.body ?? Buffer.alloc(0)
      if (request.headers.range === undefined) {
        if (request.times > 1) return false
        response.writeHead(200, { 'content-length': body.length })
        response.write(body.subarray(0, 200), () => response.destroy())
      } else if (status === 416) response.writeHead(416, { 'content-range': `bytes */${body.length}` }).end()
      else response.writeHead(206, { 'content-range': `bytes 7-${body.length}/${body.length}` }).end(body.subarray(7))
      return true
    })
    await pull()
    expect(log.filter(isLayer).map(({ headers }) => headers.range?.replace(/=.*/, ''))).toEqual([
      undefined,
      'bytes',
      undefined,
    ])
  })

  it.each(['length', 'chunked'])('than it announced (%s) is taken where all bytes have come', async (how) => {
    const { log } = await serve((request, response) => {
      if (!isLayer(request)) return false
      const body = request.body ?? Buffer.alloc(0)
      response.writeHead(200, how === 'length' ? { 'content-length': body.length + 1000 } : {})
      response.write(body, () => response.destroy())
      return true
    })
    await pull()
    expect(log.filter(isLayer)).toHaveLength(1)
  })

  it.each([
    ['a manifest', 'manifest', 5 << 20, /longer than the 4194304 bytes/],
    ['an endless list of redirects to itself', 'redirect', 0, /more than 10 redirects/],
    ['headers of 64 kB', 'headers', 64 << 10, /headers of more than \d+ bytes/],
  ] as const)('with %s that is too much is refused', async (_, what, size, message) => {
    await serve(({ kind, path }, response) => {
      if (kind !== 'manifest') return false
      if (what === 'redirect') response.writeHead(307, { location: path }).end()
      else if (what === 'headers') response.writeHead(200, { 'x-large': 'x'.repeat(size) }).end()
      else response.writeHead(200, { 'content-type': OCI_MANIFEST }).end(Buffer.alloc(size, ' '))
      return true
    })
    await expectRefused(pull(), what === 'redirect' ? 'REGISTRY' : 'LIMIT_EXCEEDED', message)
  })

  it('with a config that is too large is refused before it is asked for', async () => {
    const image = await makeImage({ layers: [[{ name: 'file', content: CONTENT }]] })
    const manifest = JSON.parse(image.manifest.bytes.toString()) as { config: object }
    const lying = blobOf({ ...manifest, config: { ...manifest.config, size: 9 << 20 } })
    const { log } = await serve(() => false, { ...image, manifest: lying })
    await expectRefused(pull(), 'LIMIT_EXCEEDED', /config of 9437184 bytes/)
    expect(log.filter(({ kind }) => kind === 'blob')).toEqual([])
  })

  it.each([
    ['too long', 'x'.repeat(100_000), 'LIMIT_EXCEEDED', /longer than the 65536 bytes/],
    ['with a line break', 'a\r\nX-Evil: 1', 'REGISTRY_AUTH', /no token/],
    ['that is no text', 7, 'REGISTRY_AUTH', /no token/],
    ['that is not there', undefined, 'REGISTRY_AUTH', /no token/],
  ] as const)('with a token %s is refused', async (_, token, code, message) => {
    const { host } = await serve(({ path }, response) => {
      if (path.startsWith('/token')) response.end(JSON.stringify({ token }))
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}/token"` }).end()
      return true
    })
    await expectRefused(pull(), code, message)
  })

  it.each([
    ['file:///etc/passwd', /is no address/],
    ['http://user:pass@127.0.0.1/token', /is no address/],
    ['', /is no address/],
    ['http://192.0.2.1/token', /password is not sent over plain http/],
  ])('with the token service %j gets no login', async (realm, message) => {
    await serve((_, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end()
      return true
    })
    await expectRefused(pull({ creds: { user: 'me', password: 'secret' } }), 'REGISTRY_AUTH', message)
  })

  it('with a redirect of the identity token to another host does not get it there', async () => {
    const thief = await serve(() => false)
    const { host } = await serve(({ path }, response) => {
      if (path.startsWith('/token')) response.writeHead(307, { location: `http://${thief.host}/token` }).end()
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}/token"` }).end()
      return true
    })
    const authFile = join(root, 'auth.json')
    fs.writeFileSync(authFile, JSON.stringify({ auths: { [host]: { identitytoken: 'refresh-me' } } }))
    await expectRefused(pull({ authFile }, `${host}/image:1`), 'REGISTRY', /redirected/)
    expect(thief.log).toEqual([])
  })

  it('never makes other hosts be asked: `urls` of layers are not followed', async () => {
    const other = await serve(() => false)
    const image = await makeImage({ layers: [[{ name: 'file', content: CONTENT }]] })
    const manifest = JSON.parse(image.manifest.bytes.toString()) as { layers: { digest: string }[] }
    const layers = manifest.layers.map((layer) => ({
      ...layer,
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      urls: [`http://${other.host}/${layer.digest}`],
    }))
    const { host } = await serve(({ kind, body }) => kind === 'blob' && body === undefined, {
      ...image,
      layers: [],
      manifest: blobOf({ ...manifest, layers }),
    })
    await expectRefused(pull({}, `${host}/image:1`), 'NETWORK')
    expect(other.log).toEqual([])
  })

  it('with an index of attestations and artifacts only has no image for anybody', async () => {
    const image = await makeImage({ layers: [[{ name: 'file', content: CONTENT }]] })
    const { digest, bytes } = image.manifest
    const entry = { mediaType: OCI_MANIFEST, digest, size: bytes.length }
    const annotations = { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': digest }
    const index = blobOf({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [
        { ...entry, annotations, platform: hostPlatform() },
        { ...entry, platform: { os: 'unknown', architecture: 'unknown' } },
        { ...entry, mediaType: 'application/vnd.example.artifact' },
        { ...entry, artifactType: 'application/vnd.example.sbom' },
      ],
    })
    await serve(() => false, image, index)
    await expectRefused(pull(), 'WRONG_PLATFORM', /it has no platform/)
  })
})

describe('mirrors', () => {
  /** A pull by a name that registries.conf gives to mirrors. */
  function pullMirrored(hosts: readonly string[], options: Partial<PullImageOptions> = {}): Promise<StoredImage> {
    const file = join(root, 'registries.conf')
    const [primary = '', ...mirrors] = hosts
    const tables = mirrors.map((host) => `[[registry.mirror]]\nlocation = "${host}/copies"`)
    fs.writeFileSync(file, `[[registry]]\nprefix = "registry.test"\nlocation = "${primary}"\n${tables.join('\n')}\n`)
    const env = { HOME: root, CONTAINERS_REGISTRIES_CONF: file, ...options.env }
    return pull({ ...options, env }, 'registry.test/app:1')
  }

  it('are asked first, in order, and the image keeps its name', async () => {
    const [primary, empty, good] = [
      await serve(() => false),
      await serve(({ kind }, response) => {
        if (kind === 'ping') return false
        response.writeHead(404).end()
        return true
      }),
      await serve(() => false),
    ]
    const image = await pullMirrored([primary.host, empty.host, good.host])
    expect(image.names).toEqual(['registry.test/app:1'])
    expect(empty.log.map(({ path }) => path)).toContain('/v2/copies/app/manifests/1')
    expect(good.log.some(isLayer)).toBe(true)
    expect(primary.log).toEqual([])
  })

  it('that break in the middle of a blob are left, and the rest comes from the next place', async () => {
    const primary = await serve(() => false)
    const mirror = await serve((request, response) => {
      if (!isLayer(request)) return false
      if (request.headers.range !== undefined) response.writeHead(410).end()
      else {
        response.writeHead(200, { 'content-length': request.body?.length ?? 0 })
        response.write(request.body?.subarray(0, 100), () => response.destroy())
      }
      return true
    })
    const image = await pullMirrored([primary.host, mirror.host])
    expect(fs.readFileSync(join(image.layers[0] ?? '', 'file')).equals(CONTENT)).toBe(true)
    expect(primary.log.filter(isLayer).map(({ headers }) => headers.range)).toEqual([
      expect.stringMatching(/^bytes=100-/),
    ])
    expect(events).toContainEqual(expect.objectContaining({ type: 'retry', reason: expect.stringMatching(/^mirror /) }))
  })

  it.each([
    ['a layer with a bit turned', isLayer, (body: Buffer) => flip(body, body.length - 9)],
    ['a layer that is no archive', isLayer, (body: Buffer) => Buffer.alloc(body.length, 7)],
    ['another manifest', isManifest, (body: Buffer) => flip(body, body.length - 5)],
    ['another config', isConfig, (body: Buffer) => flip(body, 9)],
  ])('that send %s are left, and all of it comes from the next place', async (_, isWrong, spoil) => {
    const primary = await serve(() => false)
    const mirror = await serve((request, response) => {
      if (!isWrong(request) || request.body === undefined) return false
      const body = spoil(Buffer.from(request.body))
      const said = { 'content-type': OCI_MANIFEST, 'docker-content-digest': blobOf(request.body).digest }
      response.writeHead(200, { ...said, 'content-length': body.length }).end(body)
      return true
    })
    const image = await pullMirrored([primary.host, mirror.host])
    expect(fs.readFileSync(join(image.layers[0] ?? '', 'file')).equals(CONTENT)).toBe(true)
    expect(mirror.log.some(isWrong)).toBe(true)
    expect(primary.log.some(isWrong)).toBe(true)
    expect(events).toContainEqual(
      expect.objectContaining({
        type: 'retry',
        reason: expect.stringMatching(/^mirror .*other bytes than its digest says/),
      }),
    )
  })

  it('of which the last sends wrong bytes leave nothing behind', async () => {
    const wrong: Fault = (request, response) => {
      if (!isLayer(request) || request.body === undefined) return false
      response.writeHead(200, { 'content-length': request.body.length }).end(Buffer.alloc(request.body.length, 7))
      return true
    }
    await expectRefused(pullMirrored([(await serve(wrong)).host, (await serve(wrong)).host]), 'DIGEST_MISMATCH')
  })

  it('get the login that is configured for them, never that of the registry or of the command line', async () => {
    const wantsLogin: Fault = ({ headers }, response) => {
      if (headers.authorization !== undefined) return false
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      return true
    }
    const [primary, mirror, knownMirror] = [await serve(wantsLogin), await serve(wantsLogin), await serve(wantsLogin)]
    const auth = (text: string): object => ({ auth: Buffer.from(text).toString('base64') })
    const authFile = join(root, 'auth.json')
    fs.writeFileSync(
      authFile,
      JSON.stringify({ auths: { 'registry.test': auth('named:1'), [knownMirror.host]: auth('mirror:2') } }),
    )
    const creds = { user: 'typed', password: '3' }
    await pullMirrored([primary.host, mirror.host, knownMirror.host], { authFile, creds })
    const sent = ({ log }: FaultyRegistry): unknown[] => [...new Set(log.map(({ headers }) => headers.authorization))]
    expect(sent(mirror)).toEqual([undefined])
    expect(sent(knownMirror)).toEqual([undefined, `Basic ${Buffer.from('mirror:2').toString('base64')}`])
    expect(primary.log).toEqual([])
    await pullMirrored([primary.host], { authFile, creds })
    expect(sent(primary)).toEqual([undefined, `Basic ${Buffer.from('typed:3').toString('base64')}`])
  })

  it('of which none is left leave the word to the registry itself', async () => {
    const gone = await serve(() => false)
    await gone.stop()
    registries.pop()
    const primary = await serve(({ kind }, response) => {
      if (kind === 'ping') return false
      response.writeHead(404).end()
      return true
    })
    await expectRefused(pullMirrored([primary.host, gone.host]), 'NO_SUCH_IMAGE')
  })
})
