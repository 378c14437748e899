import * as fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { blobOf, type MadeBlob, OCI_INDEX, OCI_MANIFEST, sha256 } from '../../clients/fixtures/images.ts'
import { file, tar } from './fixtures/tar.ts'
import {
  ARCHITECTURE,
  describeBlob,
  OCI_CONFIG,
  type Parts,
  partsOf,
  prepareTrials,
  trial,
  writeLayoutOf,
} from './fixtures/trial.ts'

prepareTrials()

const PARTS = partsOf({ layers: [tar(file('f'))] })

/** A layout whose manifest is what `change` makes of a good one: an object, or text as it is to stand there. */
function withManifest(source: string, change: (parts: Parts) => object | string, type = OCI_MANIFEST): void {
  const made = change(PARTS)
  const manifest = blobOf(typeof made === 'string' ? Buffer.from(made) : made)
  writeLayoutOf(source, [PARTS.config, ...PARTS.layers, manifest], describeBlob(manifest, type))
}

function withConfig(source: string, content: object | Buffer): void {
  const config = blobOf(content)
  const manifest = blobOf({ ...PARTS.manifest, config: describeBlob(config, OCI_CONFIG) })
  writeLayoutOf(source, [config, ...PARTS.layers, manifest], describeBlob(manifest, OCI_MANIFEST))
}

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
const good = (): string => JSON.stringify(PARTS.manifest)
const config = (): Record<string, unknown> => JSON.parse(PARTS.config.bytes.toString()) as Record<string, unknown>

describe.concurrent('a manifest', () => {
  const digest =
    (text: string): ((parts: Parts) => object) =>
    ({ manifest }) => ({
      ...manifest,
      layers: [{ ...manifest.layers[0], digest: text }],
    })
  const hex = 'a'.repeat(64)
  const cases: readonly (readonly [string, (parts: Parts) => object | string, RegExp])[] = [
    ['with a digest that is a path', digest(`sha256:../../../../canary${hex.slice(22)}`), /not a sha256 digest/],
    ['with a digest that ends as a path', digest(`sha256:${hex}/../../../canary`), /not a sha256 digest/],
    ['with a digest in capitals', digest(`sha256:${hex.toUpperCase()}`), /not a sha256 digest/],
    ['with an algorithm in capitals', digest(`SHA256:${hex}`), /not a sha256 digest/],
    ['with another algorithm', digest(`sha512:${hex}${hex}`), /not a sha256 digest/],
    ['with an algorithm nobody knows', digest(`md5:${hex.slice(32)}`), /not a sha256 digest/],
    ['with a digest that is too short', digest('sha256:aa'), /not a sha256 digest/],
    ['with a digest and a line break', digest(`sha256:${hex}\n`), /not a sha256 digest/],
    [
      'with a digest that is a number',
      ({ manifest }) => ({ ...manifest, config: { ...manifest.config, digest: 7 } }),
      /not a sha256/,
    ],
    ['with a digest that escapes into the terminal', digest('\u001b]0;x\u0007'), /not a sha256 digest/],
    ['with layers and manifests', ({ manifest }) => ({ ...manifest, manifests: [] }), /neither clearly/],
    [
      'with a config and manifests',
      () => ({ schemaVersion: 2, config: PARTS.manifest.config, manifests: [] }),
      /neither clearly/,
    ],
    ['with neither', () => ({ schemaVersion: 2 }), /neither clearly/],
    ['that calls itself an index', ({ manifest }) => ({ ...manifest, mediaType: OCI_INDEX }), /announced as/],
    ['that calls itself something else', ({ manifest }) => ({ ...manifest, mediaType: 'text/html' }), /announced as/],
    ['that was announced as an index', ({ manifest }) => manifest, /announced as/],
    ['of the old schema 1', ({ manifest }) => ({ ...manifest, schemaVersion: 1, fsLayers: [] }), /schema 1/],
    ['of another schema', ({ manifest }) => ({ ...manifest, schemaVersion: '2' }), /schemaVersion/],
    [
      'whose config is an index',
      ({ manifest }) => ({ ...manifest, config: { ...manifest.config, mediaType: OCI_INDEX } }),
      /not a container image/,
    ],
    [
      'whose layer is a manifest',
      ({ manifest }) => ({ ...manifest, layers: [{ ...manifest.layers[0], mediaType: OCI_MANIFEST }] }),
      /unknown layer type/,
    ],
    [
      'with more layers than its config',
      ({ manifest }) => ({ ...manifest, layers: [...manifest.layers, ...manifest.layers] }),
      /2 layers/,
    ],
    ['with no layers and a config that has some', ({ manifest }) => ({ ...manifest, layers: [] }), /0 layers/],
    ['with layers that are no list', ({ manifest }) => ({ ...manifest, layers: {} }), /not a list/],
    ['with a layer that is null', ({ manifest }) => ({ ...manifest, layers: [null] }), /not an object/],
    [
      'with a negative size',
      ({ manifest }) => ({ ...manifest, layers: [{ ...manifest.layers[0], size: -1 }] }),
      /not a size/,
    ],
    [
      'with a size that is a text',
      ({ manifest }) => ({ ...manifest, layers: [{ ...manifest.layers[0], size: '5' }] }),
      /not a size/,
    ],
    [
      'with a size that is no whole number',
      ({ manifest }) => ({ ...manifest, layers: [{ ...manifest.layers[0], size: 1.5 }] }),
      /not a size/,
    ],
    ['with a size beyond all numbers', () => good().replace(/"size":\d+/, '"size":1e400'), /not a size/],
    ['nested deeply', () => `{"a":${nested(100_000)}}`, /nested deeper than 64/],
    [
      'nested deeply in a place nobody reads',
      () => good().replace('{', `{"annotations":${nested(70)},`),
      /nested deeper than 64/,
    ],
    ['that is cut off', () => good().slice(0, -1), /not valid JSON/],
    ['that is a list', () => '[]', /not an object/],
    ['that is null', () => 'null', /not an object/],
    ['that is empty', () => '', /not valid JSON/],
    ['with a byte order mark', () => `\ufeff${good()}`, /not valid JSON|taken/],
    ['with something behind it', () => `${good()}{}`, /not valid JSON/],
    [
      'with 10,001 of what is a list',
      ({ manifest }) => ({ ...manifest, layers: Array.from({ length: 10_001 }, () => ({})) }),
      /10001 layers/,
    ],
  ]
  it.each(cases)('%s is refused', (what, change, line) =>
    trial(async ({ source, take, expectRefused }) => {
      withManifest(source, change, what.includes('announced as an index') ? OCI_INDEX : OCI_MANIFEST)
      if (
        what.includes('byte order mark') &&
        (await take().then(
          () => true,
          () => false,
        ))
      )
        return
      await expectRefused(take(), ['INVALID_IMAGE', 'LIMIT_EXCEEDED'], line)
    })(),
  )

  it(
    'of more than 4 MiB is refused',
    trial(async ({ source, take, expectRefused }) => {
      withManifest(source, () => good().replace('{', `{${' '.repeat(4 << 20)}`))
      await expectRefused(take(), 'LIMIT_EXCEEDED', /more than the 4194304/)
      withManifest(source, () => good())
      await take()
    }),
  )

  it(
    'with keys of JavaScript is one like others',
    trial(async ({ source, take }) => {
      const poison = '"__proto__":{"layers":[],"polluted":"x"},"constructor":{"prototype":{"polluted":"x"}}'
      withManifest(source, () => good().replace('{', `{${poison},`))
      const image = await take()
      expect(image.layers).toHaveLength(1)
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    }),
  )

  it(
    'with keys that only its prototype has lacks them',
    trial(async ({ source, take, expectRefused }) => {
      withManifest(source, () => `{"schemaVersion":2,"__proto__":${good()}}`)
      await expectRefused(take(), 'INVALID_IMAGE', /neither clearly/)
    }),
  )

  it(
    'with a key twice has the last of them, and keys in other letters are others',
    trial(async ({ source, take, expectRefused }) => {
      withManifest(source, () => good().replace(/\}$/, ',"layers":[]}'))
      await expectRefused(take(), 'INVALID_IMAGE', /0 layers/)
      withManifest(source, () => good().replace('{', '{"layers":[],"LAYERS":[],"Config":{},'))
      expect((await take()).layers).toHaveLength(1)
    }),
  )

  it(
    'gives what the registry has for a digest, not what a file of that name holds',
    trial(async ({ source, take, expectRefused }) => {
      withManifest(source, () => good())
      const layer = join(source, 'blobs', 'sha256', PARTS.layers[0]?.digest.slice(7) ?? '')
      fs.writeFileSync(layer, tar(file('g')))
      await expectRefused(take(), 'DIGEST_MISMATCH')
      fs.writeFileSync(layer, Buffer.concat([PARTS.layers[0]?.bytes ?? Buffer.alloc(0), Buffer.alloc(512)]))
      await expectRefused(take(), 'DIGEST_MISMATCH')
    }),
  )

  it(
    'with addresses for a layer elsewhere has it fetched from nowhere',
    trial(async ({ source, take, expectRefused }) => {
      withManifest(source, ({ manifest }) => ({
        ...manifest,
        layers: [
          { ...manifest.layers[0], digest: sha256('not here'), urls: ['http://192.0.2.1/layer', 'file:///etc/passwd'] },
        ],
      }))
      await expectRefused(take(), ['INVALID_IMAGE', 'DIGEST_MISMATCH'], /it has no/)
    }),
  )
})

describe.concurrent('an index', () => {
  const manifest = blobOf(PARTS.manifest)
  const entry = { ...describeBlob(manifest, OCI_MANIFEST), platform: { os: 'linux', architecture: ARCHITECTURE } }
  const blobs: readonly MadeBlob[] = [PARTS.config, ...PARTS.layers, manifest]
  const indexOf = (entries: readonly object[]): MadeBlob =>
    blobOf({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries })

  it(
    'in an index in an index ends somewhere',
    trial(async ({ source, take, expectRefused }) => {
      const levels = [indexOf([entry])]
      while (levels.length < 8)
        levels.push(indexOf([{ ...entry, ...describeBlob(levels.at(-1) ?? manifest, OCI_INDEX) }]))
      writeLayoutOf(source, [...blobs, ...levels], describeBlob(levels[7] ?? manifest, OCI_INDEX))
      await expectRefused(take(), 'LIMIT_EXCEEDED', /nested deeper than 4/)
      writeLayoutOf(source, [...blobs, ...levels], describeBlob(levels[1] ?? manifest, OCI_INDEX))
      await take()
    }),
  )

  it(
    'of 10,001 entries is refused',
    trial(async ({ source, take, expectRefused }) => {
      const many = indexOf(Array.from({ length: 10_001 }, () => ({ ...entry, platform: undefined })))
      writeLayoutOf(source, [...blobs, many], describeBlob(many, OCI_INDEX))
      await expectRefused(take(), 'LIMIT_EXCEEDED', /10001 manifests/)
    }),
  )

  it(
    'whose entry says another type, size or digest than the manifest has, is refused',
    trial(async ({ source, take, expectRefused }) => {
      for (const lie of [{ mediaType: OCI_INDEX }, { size: entry.size + 1 }, { digest: sha256('other') }]) {
        const index = indexOf([{ ...entry, ...lie }])
        writeLayoutOf(source, [...blobs, index], describeBlob(index, OCI_INDEX))
        await expectRefused(take(), ['INVALID_IMAGE', 'DIGEST_MISMATCH'])
      }
    }),
  )

  it(
    'of a layout may be broken, deep, huge or a manifest',
    trial(async ({ source, take, expectRefused }) => {
      for (const bytes of [
        Buffer.from('{'),
        Buffer.from(`{"manifests":${nested(1000)}}`),
        Buffer.alloc(5 << 20, ' '),
        manifest.bytes,
        Buffer.from('{"schemaVersion":2,"manifests":[{"__proto__":{"digest":"x"}}]}'),
      ]) {
        writeLayoutOf(source, blobs, bytes)
        await expectRefused(take(), ['INVALID_IMAGE', 'LIMIT_EXCEEDED'])
      }
    }),
  )
})

describe.concurrent('a config', () => {
  const made = (changes: object): object => ({ ...config(), config: changes })
  const rootfs = (diffIds: unknown): object => ({ ...config(), rootfs: { type: 'layers', diff_ids: diffIds } })
  const cases: readonly (readonly [string, () => object | Buffer, RegExp])[] = [
    ['that is nested deeply', () => Buffer.from(`{"a":${nested(100_000)}}`), /nested deeper/],
    ['that is no JSON', () => Buffer.from('\x7fELF'), /not valid JSON/],
    ['of no UTF-8', () => Buffer.concat([Buffer.from('{"a":"'), Buffer.of(0xff), Buffer.from('"}')]), /not valid JSON/],
    ['without a rootfs', () => ({ ...config(), rootfs: undefined }), /not an object/],
    ['with another rootfs', () => ({ ...config(), rootfs: { type: 'windows', diff_ids: [] } }), /rootfs\.type/],
    ['with a diff id that is a path', () => rootfs(['sha256:../../canary']), /not a sha256 digest/],
    ['with a diff id that is an object', () => rootfs([{}]), /not a sha256 digest/],
    ['with diff ids that are no list', () => rootfs('sha256:'), /not a list/],
    ['that is an index', () => ({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }), /rootfs/],
    ['with a variable that ends early', () => made({ Env: ['A=x\0y'] }), /not text/],
    [
      'with a variable that is only a name, which could stand for one of the host',
      () => made({ Env: ['HOME'] }),
      /NAME=value/,
    ],
    ['with a variable for all of them', () => made({ Env: ['*'] }), /NAME=value/],
    ['with variables that are no list', () => made({ Env: { A: 'x' } }), /not a list/],
    ['with a user that is a number', () => made({ User: 0 }), /not a string/],
    ['with a command of nothing', () => made({ Cmd: [null] }), /not text/],
    ['with 10,001 words', () => made({ Cmd: Array.from({ length: 10_001 }, () => 'x') }), /10001 Cmd/],
    ['with volumes that are a list', () => made({ Volumes: ['/a'] }), /not an object/],
    ['with labels that are no texts', () => made({ Labels: { a: 1 } }), /not a string/],
    [
      'with a health check before its beginning',
      () => made({ Healthcheck: { Test: ['CMD', 'x'], Interval: -5 } }),
      /Interval/,
    ],
    ['with a health check that is a text', () => made({ Healthcheck: { Test: 'x' } }), /not a list/],
    [
      'with an endless number of retries',
      () => made({ Healthcheck: { Test: ['CMD', 'x'], Retries: 1e300 } }),
      /Retries/,
    ],
  ]
  it.each(cases)('%s is refused', (_, content, line) =>
    trial(async ({ source, take, expectRefused }) => {
      withConfig(source, content())
      await expectRefused(take(), ['INVALID_IMAGE', 'LIMIT_EXCEEDED'], line)
    })(),
  )

  it(
    'of more than 8 MiB is refused, whatever its descriptor says',
    trial(async ({ source, take, expectRefused }) => {
      withConfig(source, Buffer.from(JSON.stringify({ ...config(), comment: 'x'.repeat(8 << 20) })))
      await expectRefused(take(), 'LIMIT_EXCEEDED', /a config of \d+ bytes, more than 8388608/)
    }),
  )
})
