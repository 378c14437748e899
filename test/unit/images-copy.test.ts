import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { copyImage } from '../../src/images/copy.ts'
import { type ImageSource, type ImageTarget, parseLocation } from '../../src/images/transport.ts'
import type { Digest } from '../../src/model/digest.ts'

const OCI = 'application/vnd.oci.image'
const LINUX = { os: 'linux', architecture: 'amd64' }

function digestOf(bytes: Buffer): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest
}

/** An image of two platforms and an attestation, as the bytes by digest. */
function makeIndex(): { readonly blobs: Map<string, Buffer>; readonly top: Digest; readonly amd64: Digest } {
  const blobs = new Map<string, Buffer>()
  const put = (content: Buffer | object, mediaType: string): { digest: Digest; size: number; mediaType: string } => {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
    blobs.set(digestOf(bytes), bytes)
    return { mediaType, digest: digestOf(bytes), size: bytes.length }
  }
  const shared = put(Buffer.from('shared layer'), `${OCI}.layer.v1.tar`)
  const manifest = (name: string, layerType: string): ReturnType<typeof put> => {
    const config = put({ name }, `${OCI}.config.v1+json`)
    const layers = [shared, put(Buffer.from(`layer of ${name}`), layerType)]
    return put({ schemaVersion: 2, mediaType: `${OCI}.manifest.v1+json`, config, layers }, `${OCI}.manifest.v1+json`)
  }
  const amd64 = manifest('amd64', `${OCI}.layer.v1.tar`)
  const manifests = [
    { ...amd64, platform: LINUX },
    { ...manifest('arm64', `${OCI}.layer.v1.tar`), platform: { os: 'linux', architecture: 'arm64' } },
    {
      ...manifest('attestation', 'application/vnd.in-toto+json'),
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
    },
  ]
  const { digest: top } = put({ schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests }, '')
  return { blobs, top, amd64: amd64.digest }
}

function sourceOf(blobs: ReadonlyMap<string, Buffer>, top: Digest): ImageSource {
  return {
    name: 'test:source',
    document: async (digest = top) => ({ bytes: blobs.get(digest) ?? Buffer.alloc(0), mediaType: undefined }),
    async *blob({ digest }, offset) {
      const bytes = blobs.get(digest) ?? Buffer.alloc(0)
      for (let at = offset; at < bytes.length; at += 3) yield bytes.subarray(at, at + 3)
    },
    close: async () => undefined,
  }
}

interface Recorded {
  readonly target: ImageTarget
  readonly has: Map<string, Buffer>
  readonly order: string[]
}

/** Keeps what comes; `lose` bytes of each blob are asked for again after they have come. */
function recordingTarget(lose = 0, takesIndex = true): Recorded {
  const has = new Map<string, Buffer>()
  const order: string[] = []
  const target: ImageTarget = {
    name: 'test:target',
    takesIndex,
    hasBlob: async ({ digest }) => has.has(digest),
    putBlob: async ({ digest }, content) => {
      const parts: Uint8Array[] = []
      for await (const part of content(0)) parts.push(part)
      const first = Buffer.concat(parts)
      const kept: Buffer[] = [first.subarray(0, Math.max(0, first.length - lose))]
      if (lose > 0) for await (const part of content(kept[0]?.length ?? 0)) kept.push(part)
      has.set(digest, Buffer.concat(kept))
      order.push('blob')
      return 'copied'
    },
    putDocument: async ({ bytes, digest }, isTop) => {
      has.set(digest, bytes)
      order.push(isTop ? 'top' : 'document')
    },
    finish: async () => void order.push('finish'),
    close: async () => undefined,
  }
  return { target, has, order }
}

describe('a copy between transports', () => {
  it('brings a whole index byte for byte, attestations too, and each blob once, before what names it', async () => {
    const { blobs, top } = makeIndex()
    const { target, has, order } = recordingTarget()
    expect(await copyImage(sourceOf(blobs, top), target, { verb: 'copy', platform: 'all' })).toBe(top)
    expect(has).toEqual(blobs)
    expect(order.filter((word) => word === 'blob')).toHaveLength(7)
    expect(order.slice(-2)).toEqual(['top', 'finish'])
  })

  it('takes one platform out of an index', async () => {
    const { blobs, top, amd64 } = makeIndex()
    const { target, has, order } = recordingTarget(0, false)
    expect(await copyImage(sourceOf(blobs, top), target, { verb: 'copy', platform: LINUX })).toBe(amd64)
    expect(has.size).toBe(4)
    expect(order.slice(-2)).toEqual(['top', 'finish'])
  })

  it('never takes an attestation for a platform', async () => {
    const { blobs, top } = makeIndex()
    const platform = { os: 'unknown', architecture: 'unknown' }
    await expect(
      copyImage(sourceOf(blobs, top), recordingTarget().target, { verb: 'copy', platform }),
    ).rejects.toMatchObject({
      code: 'WRONG_PLATFORM',
    })
  })

  it('checks content that has passed in pieces', async () => {
    const { blobs, top } = makeIndex()
    const { target, has } = recordingTarget(5)
    await copyImage(sourceOf(blobs, top), target, { verb: 'copy', platform: 'all' })
    expect(has).toEqual(blobs)
  })

  it.each([
    ['other bytes', (bytes: Buffer) => Buffer.from(bytes.toString().replace('layer', 'liar!'))],
    ['more bytes', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from('x')])],
    ['fewer bytes', (bytes: Buffer) => bytes.subarray(1)],
  ])('refuses a blob of %s, and nothing becomes visible', async (_, change) => {
    const { blobs, top } = makeIndex()
    const [digest = '', bytes = Buffer.alloc(0)] =
      [...blobs].find(([, blob]) => blob.equals(Buffer.from('shared layer'))) ?? []
    const { target, order } = recordingTarget()
    const source = sourceOf(new Map([...blobs, [digest, change(bytes)]]), top)
    await expect(copyImage(source, target, { verb: 'copy', platform: 'all' })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    })
    expect(order).not.toContain('top')
    expect(order).not.toContain('finish')
  })

  it('refuses a manifest that is another than the index names', async () => {
    const { blobs, top, amd64 } = makeIndex()
    const other = Buffer.from(`${blobs.get(amd64)?.toString()} `)
    await expect(
      copyImage(sourceOf(new Map([...blobs, [amd64, other]]), top), recordingTarget().target, {
        verb: 'copy',
        platform: LINUX,
      }),
    ).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
  })

  it('puts all platforms nowhere that has room for one', async () => {
    const { blobs, top } = makeIndex()
    await expect(
      copyImage(sourceOf(blobs, top), recordingTarget(0, false).target, { verb: 'copy', platform: 'all' }),
    ).rejects.toMatchObject({ code: 'USAGE' })
  })
})

describe('a place as it is typed', () => {
  it.each([
    ['docker://host:5000/a/b:1', { transport: 'docker', rest: 'host:5000/a/b:1' }],
    ['oci:/dir:name', { transport: 'oci', rest: '/dir:name' }],
    ['oci-archive:/x.tar', { transport: 'oci-archive', rest: '/x.tar' }],
    ['docker-archive:x.tar:a:1', { transport: 'docker-archive', rest: 'x.tar:a:1' }],
    ['dir:/d', { transport: 'dir', rest: '/d' }],
    ['alpine', undefined],
    ['docker:5000/x', undefined],
    ['oci', undefined],
  ])('reads %s', (text, wanted) => {
    expect(parseLocation(text)).toEqual(wanted)
  })

  it.each(['docker://', 'oci:', 'dir:'])('wants something after %s', (text) => {
    expect(() => parseLocation(text)).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })
})
