import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../src/images/host-platform.ts'
import type { PullProgress } from '../../src/images/progress.ts'
import { pullImage, type PullImageOptions } from '../../src/images/pull.ts'
import { openImageStore, type StoredImage } from '../../src/images/store.ts'
import { parseReference } from '../../src/model/reference.ts'
import { type Fault, type FaultyRegistry, isLayer, startFaultyRegistry } from './fixtures/faulty-registry.ts'
import { blobOf, makeImage, makeTar, type MadeImage, OCI_INDEX, OCI_MANIFEST, sha256 } from './fixtures/images.ts'

const CONTENT = randomBytes(3 << 20)

let root: string
let registry: FaultyRegistry | undefined
let events: PullProgress[]

beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'tscrun-store-'))
  events = []
})
afterEach(async () => {
  await registry?.stop()
  registry = undefined
  fs.rmSync(root, { recursive: true })
})

function goodImage(): Promise<MadeImage> {
  return makeImage({ layers: [[{ name: 'file', content: CONTENT }]] })
}

async function serve(fault: Fault, image?: MadeImage, index?: ReturnType<typeof blobOf>): Promise<FaultyRegistry> {
  registry = await startFaultyRegistry(image ?? (await goodImage()), fault, index)
  return registry
}

function pull(options: Partial<PullImageOptions> = {}, name = 'image:1'): Promise<StoredImage> {
  return pullImage(openImageStore({ root }), parseReference(`${registry?.host}/${name}`), {
    platform: hostPlatform(),
    policy: 'missing',
    retryDelayMs: 1,
    idleTimeoutMs: 300,
    env: { HOME: root },
    onProgress: (event) => events.push(event),
    ...options,
  })
}

function contentOf(image: StoredImage): boolean {
  return fs.readFileSync(join(image.layers[0] ?? '', 'file')).equals(CONTENT)
}

/** Nothing of an image that failed is to be seen. */
function expectNothingVisible(): void {
  expect(openImageStore({ root }).list()).toEqual([])
  expect(fs.existsSync(join(root, 'layers')) ? fs.readdirSync(join(root, 'layers')) : []).toEqual([])
}

/** Sends the beginning of a body that is announced whole; `then` runs once the kernel has it. */
function part(response: ServerResponse, body: Buffer | undefined, count: number, then = (): void => undefined): void {
  response.writeHead(200, { 'content-length': body?.length ?? 0 })
  response.write(body?.subarray(0, count), then)
}

describe('faults that pass', () => {
  it('continues a blob where the connection broke', async () => {
    const { log } = await serve((request, response) => {
      if (!isLayer(request) || request.times > 1) return false
      part(response, request.body, 1_000_000, () => response.destroy())
      return true
    })
    expect(contentOf(await pull())).toBe(true)
    expect(log.filter(isLayer).map(({ headers }) => headers.range?.replace(/=\d+/, '=N'))).toEqual([
      undefined,
      expect.stringMatching(/^bytes=N-\d+$/),
    ])
    expect(events.some(({ type }) => type === 'retry')).toBe(true)
  })

  it('takes a registry that ignores Range and starts anew', async () => {
    await serve((request, response) => {
      if (!isLayer(request)) return false
      if (request.times === 1) {
        part(response, request.body, 1_000_000, () => response.destroy())
      } else response.writeHead(200).end(request.body)
      return true
    })
    expect(contentOf(await pull())).toBe(true)
  })

  it('gives up a connection on which nothing arrives, and tries again', async () => {
    await serve((request, response) => {
      if (!isLayer(request) || request.times > 1) return false
      part(response, request.body, 500_000)
      return true
    })
    expect(contentOf(await pull())).toBe(true)
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'retry', reason: expect.stringMatching(/nothing arrived/) }),
    )
  })

  it.each([500, 502, 503, 429])('asks again after one %i', async (status) => {
    await serve(({ times, kind }, response) => {
      if (times > 1 || kind === 'ping') return false
      response.writeHead(status, { 'retry-after': '0' }).end()
      return true
    })
    expect(contentOf(await pull())).toBe(true)
  })

  it('fetches a new token when the old one has run out in the middle of a pull', async () => {
    let valid = ''
    let issued = 0
    const { log } = await serve((request, response) => {
      const host = request.headers.host ?? ''
      if (request.path.startsWith('/token')) {
        valid = `token-${++issued}`
        response.writeHead(200).end(JSON.stringify({ token: valid }))
        return true
      }
      // Each token is good for one answer.
      if (request.headers.authorization === `Bearer ${valid}`) {
        valid = 'used'
        return false
      }
      const challenge = `Bearer realm="http://${host}/token",service="registry",scope="repository:image:pull"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
      return true
    })
    expect(contentOf(await pull())).toBe(true)
    expect(issued).toBe(3)
    expect(log.find(({ path }) => path.startsWith('/token'))?.path).toBe(
      '/token?service=registry&scope=repository%3Aimage%3Apull',
    )
  })

  it('continues what an interrupted pull left', async () => {
    const stop = new AbortController()
    const image = await goodImage()
    const { log } = await serve((request, response) => {
      if (!isLayer(request) || request.times > 1) return false
      part(response, request.body, 2_000_000)
      return true
    }, image)
    const partial = join(root, 'work', `blob-${image.layers[0]?.digest.slice(7)}`)
    const interrupted = pull({ signal: stop.signal, idleTimeoutMs: 20_000 }).catch((error: unknown) => error)
    await expect.poll(() => fs.statSync(partial, { throwIfNoEntry: false })?.size, { timeout: 10_000 }).toBe(2_000_000)
    stop.abort()
    expect(await interrupted).toMatchObject({ code: 'ABORTED' })
    expectNothingVisible()
    expect(contentOf(await pull())).toBe(true)
    expect(log.filter(isLayer).map(({ headers }) => headers.range)).toEqual([
      undefined,
      expect.stringMatching(/^bytes=2000000-/),
    ])
  })

  it('starts anew when what an earlier pull left is damaged', async () => {
    const image = await goodImage()
    await serve(() => false, image)
    fs.mkdirSync(join(root, 'work'), { recursive: true })
    fs.writeFileSync(join(root, 'work', `blob-${image.layers[0]?.digest.slice(7)}`), Buffer.alloc(5000))
    expect(contentOf(await pull())).toBe(true)
  })
})

describe('the layers of an image', () => {
  it('are asked for four at a time, on any machine', async () => {
    const layers = Array.from({ length: 4 }, (_, i) => [{ name: `file${i}`, content: `${i}` }])
    const image = await makeImage({ layers })
    const held: (() => void)[] = []
    await serve(({ path, body }, response) => {
      if (!image.layers.some(({ digest }) => path.endsWith(digest))) return false
      // None is answered before all have been asked for.
      held.push(() => response.end(body))
      if (held.length === 4) for (const answer of held) answer()
      return true
    }, image)
    const { layers: trees } = await pull({ idleTimeoutMs: 10_000 })
    expect(trees.map((tree, i) => fs.readFileSync(join(tree, `file${i}`), 'utf8'))).toEqual(['0', '1', '2', '3'])
  })
})

describe('faults that do not pass', () => {
  it.each([
    [
      'other bytes than promised',
      (body: Buffer) => Buffer.concat([body.subarray(0, -1), Buffer.from('x')]),
      'DIGEST_MISMATCH',
    ],
    ['more bytes than promised', (body: Buffer) => Buffer.concat([body, Buffer.from('more')]), 'DIGEST_MISMATCH'],
    ['fewer bytes than promised, again and again', (body: Buffer) => body.subarray(0, 1000), 'NETWORK'],
  ])('refuses a blob of %s', async (_, change, code) => {
    await serve((request, response) => {
      if (!isLayer(request)) return false
      response.writeHead(200).end(request.headers.range === undefined ? change(request.body ?? Buffer.alloc(0)) : '')
      return true
    })
    await expect(pull()).rejects.toMatchObject({
      name: 'TscrunError',
      code,
      message: expect.not.stringContaining('\n'),
    })
    expectNothingVisible()
  })

  it.each([
    ['drops', 'says', 'REGISTRY', 'has only 1000 of'],
    ['keeps', 'does not say', 'NETWORK', 'ended after 1000 of'],
  ])('%s the part of a blob that is there where the registry %s how long it is', async (what, says, code, message) => {
    const image = await goodImage()
    await serve((request, response) => {
      if (!isLayer(request)) return false
      response.writeHead(200, says === 'says' ? { 'content-length': 1000 } : { 'transfer-encoding': 'chunked' })
      response.end(request.body?.subarray(0, 1000))
      return true
    }, image)
    await expect(pull()).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
    expectNothingVisible()
    expect(fs.existsSync(join(root, 'work', `blob-${image.layers[0]?.digest.slice(7)}`))).toBe(what === 'keeps')
    expect(fs.readdirSync(join(root, 'images/blobs/sha256'))).toHaveLength(what === 'keeps' ? 2 : 0)
  })

  it.each([
    [500, 'REGISTRY'],
    [404, 'NO_SUCH_IMAGE'],
    [403, 'REGISTRY_AUTH'],
    [429, 'REGISTRY_RATE_LIMIT'],
  ])('gives up after a lasting %i', async (status, code) => {
    await serve(({ kind }, response) => {
      if (kind === 'ping') return false
      response.writeHead(status).end('{"errors":[{"code":"X","message":"because\\nof that"}]}')
      return true
    })
    await expect(pull()).rejects.toMatchObject({
      code,
      hint: status === 500 ? undefined : expect.any(String),
      message: expect.not.stringContaining('\n'),
    })
    expectNothingVisible()
  })

  it('refuses a layer whose content is not the one the config promises', async () => {
    const image = await goodImage()
    const config = JSON.parse(image.config.bytes.toString()) as object
    const lying = blobOf({ ...config, rootfs: { type: 'layers', diff_ids: [sha256('other')] } })
    const manifest = JSON.parse(image.manifest.bytes.toString()) as { config: object }
    const mended = blobOf({
      ...manifest,
      config: { ...manifest.config, digest: lying.digest, size: lying.bytes.length },
    })
    await serve(() => false, { ...image, config: lying, manifest: mended })
    await expect(pull()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
    expectNothingVisible()
  })

  it('refuses a manifest that is not the one asked for by digest', async () => {
    await serve(() => false)
    await expect(pull({}, `image@${sha256('another')}`)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
  })

  it('says what platforms there are when the wanted one is not', async () => {
    const image = await goodImage()
    const { digest, bytes } = image.manifest
    const entry = (architecture: string, os = 'linux'): object => ({
      mediaType: OCI_MANIFEST,
      digest,
      size: bytes.length,
      platform: { os, architecture },
    })
    const index = blobOf({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [entry('s390x'), entry('ppc64le'), entry('unknown', 'unknown')],
    })
    await serve(() => false, image, index)
    await expect(pull()).rejects.toMatchObject({
      code: 'WRONG_PLATFORM',
      message: expect.stringMatching(/it has linux\/s390x, linux\/ppc64le$/),
    })
  })

  it('refuses an image of one platform that is not the wanted one', async () => {
    await serve(() => false, await makeImage({ layers: [[{ name: 'x', content: '' }]], architecture: 's390x' }))
    await expect(pull()).rejects.toMatchObject({
      code: 'WRONG_PLATFORM',
      message: expect.stringContaining('linux/s390x'),
    })
  })

  it.each([
    ['file:///etc/passwd', /redirected to a file: address/],
    ['http://192.0.2.1/blob', /redirected to plain http/],
  ])('does not follow a redirect to %s', async (location, message) => {
    await serve((request, response) => {
      if (!isLayer(request)) return false
      response.writeHead(307, { location }).end()
      return true
    })
    await expect(pull()).rejects.toMatchObject({ message: expect.stringMatching(message) })
  })

  it('gives up a loop of redirects', async () => {
    await serve(({ kind, path }, response) => {
      if (kind === 'ping') return false
      response.writeHead(302, { location: path }).end()
      return true
    })
    await expect(pull()).rejects.toMatchObject({
      code: 'REGISTRY',
      message: expect.stringMatching(/more than 10 redirects$/),
    })
  })

  it('sends credentials to the registry, not to where it redirects', async () => {
    const image = await goodImage()
    const other = await startFaultyRegistry(image, () => false)
    try {
      const { host, log } = await serve((request, response) => {
        if (request.headers.authorization === undefined) {
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
          return true
        }
        if (request.kind !== 'blob') return false
        response.writeHead(307, { location: `http://${other.host}${request.path}` }).end()
        return true
      }, image)
      const auth = Buffer.from('user:secret').toString('base64')
      const file = join(root, 'auth.json')
      fs.writeFileSync(file, JSON.stringify({ auths: { [host]: { auth } } }))
      expect(contentOf(await pull({ env: { REGISTRY_AUTH_FILE: file } }))).toBe(true)
      expect(log.at(-1)?.headers.authorization).toBe(`Basic ${auth}`)
      expect(other.log.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
    } finally {
      await other.stop()
    }
  })

  it('says where to log in when the registry wants it', async () => {
    await serve((_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      return true
    })
    await expect(pull()).rejects.toMatchObject({ code: 'REGISTRY_AUTH', hint: expect.stringContaining('login') })
  })

  it('says that nobody listens', async () => {
    const { stop, host } = await serve(() => false)
    await stop()
    await expect(pull()).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringContaining(`connect ${host}: `),
      hint: expect.any(String),
    })
  })
})

describe('labels that lie', () => {
  it.each([
    ['plain tar', (tar: Buffer) => tar],
    ['gzip', (tar: Buffer) => gzipSync(tar)],
  ])('tells %s by its first bytes', async (_, compress) => {
    const tar = await makeTar([{ name: 'file', content: CONTENT }])
    const image = await makeImage({ layers: [tar] })
    const layer = blobOf(compress(tar))
    const manifest = JSON.parse(image.manifest.bytes.toString()) as { layers: object[] }
    const mediaType = 'application/vnd.oci.image.layer.v1.tar+zstd'
    const mended = blobOf({ ...manifest, layers: [{ mediaType, digest: layer.digest, size: layer.bytes.length }] })
    await serve(() => false, { ...image, layers: [layer], manifest: mended })
    expect(contentOf(await pull())).toBe(true)
  })
})
