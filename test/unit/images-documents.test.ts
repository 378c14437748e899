import { describe, expect, it } from 'vitest'
import { choosePlatform, parseImageConfig, parseManifest } from '../../src/images/documents.ts'
import { hostPlatform, platformFor } from '../../src/images/host-platform.ts'
import { findPlatform } from '../../src/images/find-platform.ts'
import { chainIds } from '../../src/images/chain.ts'
import { parseDiffId } from '../../src/model/digest.ts'
import { formatPlatform, parsePlatform, platformDistance } from '../../src/model/platform.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: DIGEST, size: 10 }
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: DIGEST, size: 10 }
const good = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] }

function manifest(document: unknown, mediaType?: string): ReturnType<typeof parseManifest> {
  return parseManifest(
    Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)),
    mediaType,
    'manifest of x',
  )
}

function imageConfig(document: object): ReturnType<typeof parseImageConfig> {
  const base = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [DIGEST] } }
  return parseImageConfig(Buffer.from(JSON.stringify({ ...base, ...document })), 'config of x')
}

const invalid = expect.objectContaining({
  code: 'INVALID_IMAGE',
  message: expect.stringMatching(/^manifest of x[^\n]*: /),
})

describe('manifests', () => {
  it('reads OCI and Docker ones alike', () => {
    expect(manifest(good)).toMatchObject({ config: { digest: DIGEST }, layers: [{ size: 10 }] })
    const docker = {
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: { ...config, mediaType: 'application/vnd.docker.container.image.v1+json' },
      layers: [{ ...layer, mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip' }],
    }
    expect(manifest(docker)).toMatchObject({ mediaType: docker.mediaType })
  })

  it.each([
    ['no JSON', 'nonsense'],
    ['a list', '[]'],
    ['another schema version', { ...good, schemaVersion: 1 }],
    ["Docker's first schema", { schemaVersion: 1, fsLayers: [] }],
    ['a manifest that is an index too', { ...good, manifests: [] }],
    ['neither', { schemaVersion: 2 }],
    ['an index by its type, a manifest by its content', { ...good, mediaType: OCI_INDEX }],
    ['a digest that is a path', { ...good, config: { ...config, digest: 'sha256:../../etc/passwd' } }],
    ['a digest in upper case', { ...good, config: { ...config, digest: DIGEST.toUpperCase() } }],
    ['another algorithm', { ...good, config: { ...config, digest: `sha512:${'a'.repeat(128)}` } }],
    ['a negative size', { ...good, layers: [{ ...layer, size: -1 }] }],
    ['a size that is text', { ...good, layers: [{ ...layer, size: '10' }] }],
    ['a size that is no whole number', { ...good, layers: [{ ...layer, size: 1e300 }] }],
    ['layers that are no list', { ...good, layers: {} }],
    ['a layer of another kind', { ...good, layers: [{ ...layer, mediaType: 'application/vnd.cncf.helm.chart' }] }],
    ['an encrypted layer', { ...good, layers: [{ ...layer, mediaType: `${layer.mediaType}+encrypted` }] }],
    [
      'a config of another kind',
      { ...good, config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } },
    ],
    ['a prototype instead of values', '{"schemaVersion":2,"__proto__":{"config":{},"layers":[]}}'],
  ])('refuses %s', (_, document) => {
    expect(() => manifest(document)).toThrow(invalid)
  })

  it('refuses one that calls itself otherwise than it was announced', () => {
    expect(() => manifest(good, OCI_INDEX)).toThrow(invalid)
    expect(() => manifest(good, 'application/vnd.docker.distribution.manifest.v2+json')).toThrow(invalid)
    expect(manifest(good, OCI_MANIFEST)).toMatchObject({ mediaType: OCI_MANIFEST })
    expect(manifest(good, 'text/plain')).toMatchObject({ mediaType: OCI_MANIFEST })
  })

  it.each([
    ['too many bytes', `{"x":"${'x'.repeat(4 << 20)}"}`],
    ['too deep a nesting', '['.repeat(100_000)],
    ['too many layers', { ...good, layers: Array.from({ length: 501 }, () => layer) }],
    ['too many entries', { schemaVersion: 2, manifests: Array.from({ length: 10_001 }, () => layer) }],
    ['too large a config', { ...good, config: { ...config, size: (8 << 20) + 1 } }],
  ])('stops at %s', (_, document) => {
    expect(() => manifest(document)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
  })

  it('takes 500 layers', () => {
    expect(manifest({ ...good, layers: Array.from({ length: 500 }, () => layer) })).toMatchObject({
      config: { size: 10 },
    })
  })
})

describe('platforms', () => {
  const entry = (platform: object | undefined, annotations?: object): object => ({
    mediaType: OCI_MANIFEST,
    digest: DIGEST,
    size: 1,
    ...(platform === undefined ? {} : { platform }),
    ...(annotations === undefined ? {} : { annotations }),
  })
  const choose = (entries: object[], wanted: string): string | undefined => {
    const index = manifest({ schemaVersion: 2, manifests: entries })
    if (!('manifests' in index)) throw new Error('not an index')
    const [found] = choosePlatform(index, parsePlatform(wanted)).entries
    if (found === undefined) return 'none'
    return found.platform === undefined ? undefined : formatPlatform(found.platform)
  }
  const arm = (variant: string): object => entry({ os: 'linux', architecture: 'arm', variant })

  it('takes the nearest variant that runs, never a newer one', () => {
    expect(choose([arm('v5'), arm('v6'), arm('v7')], 'linux/arm/v7')).toBe('linux/arm/v7')
    expect(choose([arm('v5'), arm('v6')], 'linux/arm')).toBe('linux/arm/v6')
    expect(choose([arm('v5'), arm('v7')], 'linux/arm/v6')).toBe('linux/arm/v5')
    expect(choose([arm('v7')], 'linux/arm/v6')).toBe('none')
    expect(choose([entry({ os: 'linux', architecture: 'arm64', variant: 'v8' })], 'aarch64')).toBe('linux/arm64/v8')
  })

  it('takes no attestation for an image', () => {
    const unknown = { os: 'unknown', architecture: 'unknown' }
    const attestation = entry(
      { os: 'linux', architecture: 'amd64' },
      { 'vnd.docker.reference.type': 'attestation-manifest' },
    )
    expect(choose([entry(unknown), attestation], 'linux/amd64')).toBe('none')
  })

  it('takes an entry without a platform where none fits better', () => {
    expect(choose([entry(undefined), entry({ os: 'linux', architecture: 'amd64' })], 'linux/amd64')).toBe('linux/amd64')
    expect(choose([entry(undefined)], 'linux/amd64')).toBeUndefined()
  })

  describe('in an index of indexes that do not say what is in them', () => {
    const digestOf = (name: string | number): string => `sha256:${String(name).padStart(64, '0')}`
    const below = (name: string | number): object => ({ mediaType: OCI_INDEX, digest: digestOf(name), size: 1 })
    const indexOf = (...manifests: object[]): object => ({ schemaVersion: 2, manifests })
    /** What of these documents is found, from `f` on, and how many were read. */
    const find = async (documents: ReadonlyMap<string, object>): Promise<readonly [string, number]> => {
      let reads = 0
      const read = (digest: string): { readonly content: ReturnType<typeof manifest>; readonly digest: string } => {
        reads++
        return { content: manifest(documents.get(digest) ?? good), digest }
      }
      const found = await findPlatform(read(digestOf('f')), parsePlatform('linux/amd64'), 'image x', (entry) =>
        Promise.resolve(read(entry.digest)),
      )
      return [found.digest, reads]
    }
    const named = (of: Readonly<Record<string, object>>): ReadonlyMap<string, object> =>
      new Map(Object.entries(of).map(([name, document]) => [digestOf(name), document]))
    const amd64 = entry({ os: 'linux', architecture: 'amd64' })

    it('is looked for in one after the other, and once in each', async () => {
      const empty = indexOf(arm('v7'))
      const documents = named({ f: indexOf(below('a'), below('a'), below('b')), a: empty, b: indexOf(amd64) })
      expect(await find(documents)).toEqual([DIGEST, 4])
    })

    it('is not there: all that is there is named', async () => {
      const documents = { f: indexOf(below('a'), below('b')), a: indexOf(arm('v7')), b: indexOf(arm('v6')) }
      await expect(find(named(documents))).rejects.toMatchObject({
        code: 'WRONG_PLATFORM',
        message: 'image x: not made for linux/amd64; it has linux/arm/v7, linux/arm/v6',
      })
    })

    it('is not looked for without end', async () => {
      const many = Array.from({ length: 60 }, (_, i) => i)
      const wide = new Map(many.map((i) => [digestOf(i), indexOf(arm('v7'))]))
      await expect(find(wide.set(digestOf('f'), indexOf(...many.map(below))))).rejects.toMatchObject({
        code: 'LIMIT_EXCEEDED',
        message: 'image x: more than 50 indexes without the platform',
      })
      const deep = new Map(many.map((i) => [digestOf(i), indexOf(below(i + 1))]))
      await expect(find(deep.set(digestOf('f'), indexOf(below(0))))).rejects.toMatchObject({
        message: 'image x: indexes nested deeper than 4',
      })
    })
  })

  it.each([
    ['linux/amd64', 'linux/amd64'],
    ['amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['Linux/AArch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm/v7', 'linux/arm/v7'],
    ['linux/armhf', 'linux/arm'],
  ])('reads %s as %s', (text, canonical) => {
    expect(formatPlatform(parsePlatform(text))).toBe(canonical)
  })

  it('reads a system alone with the architecture of the host', () => {
    expect(formatPlatform(parsePlatform('Linux', parsePlatform('linux/arm64')))).toBe('linux/arm64')
    expect(platformFor('linux')).toEqual(hostPlatform())
    expect(formatPlatform(parsePlatform('windows', parsePlatform('linux/amd64')))).toBe('windows/amd64')
  })

  it.each(['bogus', 'linux', 'linux64', '', '/', 'linux/', 'plan9x/amd64', 'linux/amd64/v1/x', 'linux/am d64', '../x'])(
    'refuses %j',
    (text) => {
      expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: 'USAGE' }))
    },
  )

  it('keeps systems and processors apart', () => {
    expect(platformDistance(parsePlatform('linux/amd64'), parsePlatform('windows/amd64'))).toBeUndefined()
    expect(platformDistance(parsePlatform('linux/amd64'), parsePlatform('linux/386'))).toBeUndefined()
  })
})

describe('image configs', () => {
  it('reads what a container needs', () => {
    const read = imageConfig({
      created: '2026-01-02T03:04:05.678901234Z',
      config: {
        Env: ['A=1', 'B='],
        Cmd: ['sh'],
        User: '1000:100',
        Labels: { a: 'b' },
        Volumes: { '/v': {} },
        ExposedPorts: { '80/tcp': {} },
      },
    })
    expect(read).toMatchObject({
      env: ['A=1', 'B='],
      cmd: ['sh'],
      entrypoint: [],
      user: '1000:100',
      volumes: ['/v'],
      exposedPorts: ['80/tcp'],
    })
    expect(read.labels).toEqual(new Map([['a', 'b']]))
    expect(read.created).toBe('2026-01-02T03:04:05.678901234Z')
  })

  it('takes null for absent, as Go writes it', () => {
    expect(imageConfig({ config: { Env: null, Cmd: null, Labels: null, Volumes: null } })).toMatchObject({
      env: [],
      cmd: [],
    })
    expect(imageConfig({ config: null })).toMatchObject({ env: [] })
  })

  it('keeps labels with the names of properties', () => {
    const bytes = Buffer.from(
      `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{"Labels":{"__proto__":"x","constructor":"y"}}}`,
    )
    expect([...parseImageConfig(bytes, 'x').labels]).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ])
  })

  it.each([
    ['an environment without a value', { config: { Env: ['PATH'] } }],
    ['an environment of everything', { config: { Env: ['*'] } }],
    ['an environment without a name', { config: { Env: ['=x'] } }],
    ['an environment with NUL', { config: { Env: ['A=\0'] } }],
    ['a command that is text', { config: { Cmd: 'sh -c x' } }],
    ['labels that are numbers', { config: { Labels: { a: 1 } } }],
    ['a rootfs of another kind', { rootfs: { type: 'zip', diff_ids: [] } }],
    ['no rootfs', { rootfs: undefined }],
    ['a diffID that is a path', { rootfs: { type: 'layers', diff_ids: ['../x'] } }],
  ])('refuses %s', (_, document) => {
    expect(() => imageConfig(document)).toThrow(expect.objectContaining({ code: 'INVALID_IMAGE' }))
  })
})

describe('chain ids', () => {
  it('are those of the specification', () => {
    const ids = ['a', 'b', 'c'].map((letter) => parseDiffId(`sha256:${letter.repeat(64)}`, 'test'))
    // printf 'sha256:aaa.. sha256:bbb..' | sha256sum
    expect(chainIds(ids)[0]).toBe(ids[0])
    expect(chainIds(ids)[1]).toBe('sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c')
    expect(chainIds([])).toEqual([])
  })
})
