import * as fs from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { sha256 } from '../../clients/fixtures/images.ts'
import { base256, END, file, long, member, pax, type RawMember, tar } from './fixtures/tar.ts'
import { gzipped, type Layer, OCI_LAYER, prepareTrials, treeOf, trial } from './fixtures/trial.ts'

prepareTrials()

/** A blob that claims to be what its bytes are: what is wrong with it is inside. */
const blobOnly = (blob: Buffer): Layer => ({ blob, diffId: sha256(blob) })

describe.concurrent('a size that lies', () => {
  it.each([
    ['beyond the end of the archive', tar(member({ name: 'f', size: 10_000, content: 'x' })), /cut off/],
    ['by a terabyte', tar(member({ name: 'f', size: base256(2n ** 40n, 12) })), /cut off|more than/],
    ['beyond all numbers', tar(member({ name: 'f', size: base256(2n ** 80n, 12) })), /out of range/],
    ['below zero', tar(member({ name: 'f', size: base256(-1n, 12) })), /negative/],
    ['with letters', tar(member({ name: 'f', size: Buffer.from('12x4') })), /octal/],
    ['with a minus', tar(member({ name: 'f', size: Buffer.from('-1\0') })), /octal/],
    ['in PAX, beyond the end', tar(pax([['size', '99999']], file('f'))), /cut off/],
    ['in PAX, beyond all numbers', tar(pax([['size', '9'.repeat(16)]], file('f'))), /out of range/],
    ['in PAX, below zero', tar(pax([['size', '-1']], file('f'))), /not a number/],
    ['in PAX, as a fraction', tar(pax([['size', '1.5']], file('f'))), /not a number/],
    ['in PAX, as another notation', tar(pax([['size', '0x10']], file('f'))), /not a number/],
  ] as const)('%s is refused', (_, archive, line) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(archive), ['INVALID_IMAGE', 'LIMIT_EXCEEDED'], line)
    })(),
  )

  it(
    'in the header counts for nothing beside PAX: what other readers would take for a member is data',
    trial(async ({ takeLayers }) => {
      const smuggled = member(file('smuggled', 'y'))
      const image = await takeLayers(
        tar(pax([['size', `${smuggled.length}`]], { name: 'f', content: smuggled, size: 0 })),
      )
      expect(fs.readdirSync(treeOf(image))).toEqual(['f'])
      expect(fs.readFileSync(join(treeOf(image), 'f')).equals(smuggled)).toBe(true)
    }),
  )

  it(
    'of a link, a directory or a device is of no data',
    trial(async ({ takeLayers }) => {
      const members = ['1', '2', '3', '5', '6'].map(
        (type, i): RawMember => ({ name: `m${i}`, type, link: 'f', size: 512, major: 1 }),
      )
      const image = await takeLayers(tar(file('f'), ...members, file('after', 'y')))
      expect(fs.readFileSync(join(treeOf(image), 'after'), 'utf8')).toBe('y')
    }),
  )
})

describe.concurrent('a header that is none', () => {
  const noise = Buffer.alloc(512, 0xa5)
  it.each([
    ['with a wrong checksum', tar(member({ ...file('f'), wrong: 1 })), /checksum/],
    ['of noise', tar(file('f'), noise), /checksum|octal/],
    ['of an unknown type', tar({ name: 'f', type: 'V' }), /unknown type/],
    ['of a type that is a terminal escape', tar({ name: 'f', type: '\x9b' }), /unknown type/],
    [
      'behind a block of zeros',
      Buffer.concat([member(file('f')), Buffer.alloc(512), member(file('g')), END]),
      /checksum/,
    ],
    ['with an extension and nothing behind it', tar(long('L', 'name')), /ends between/],
    [
      'with a PAX record that is longer than its header',
      tar(member({ type: 'x', content: '99 path=x\n' }), file('f')),
      /PAX/,
    ],
    ['with a PAX record of length 0', tar(member({ type: 'x', content: '0 path=x\n' }), file('f')), /PAX/],
    ['with a PAX record without an end', tar(member({ type: 'x', content: '10 path=xy' }), file('f')), /PAX/],
  ] as const)('%s is refused', (_, archive, line) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(archive), 'INVALID_IMAGE', line)
    })(),
  )

  it(
    'in the middle, of zeros, ends the archive: what follows is not read',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(Buffer.concat([tar(file('f')), member(file('../canary', 'pwned')), noise]))
      expect(fs.readdirSync(treeOf(image))).toEqual(['f'])
    }),
  )

  it(
    'of a global PAX header names nothing',
    trial(async ({ takeLayers }) => {
      const global = member({ name: 'g', type: 'g', content: '21 path=../../canary\n' })
      const image = await takeLayers(tar(global, file('f')))
      expect(fs.readdirSync(treeOf(image))).toEqual(['f'])
    }),
  )
})

describe.concurrent('a stream that ends too early is refused', () => {
  const whole = tar(pax([['mtime', '1.5']], file('a', 'x'.repeat(700))), file('b', 'y'.repeat(100)))
  // At each border of blocks, and within each block.
  const ends = Array.from({ length: whole.length / 512 - 2 }, (_, i) => [i * 512, i * 512 + 100]).flat()

  it(
    'at each block, and within each',
    trial(async ({ takeLayers, expectRefused }) => {
      // At the border behind a whole member it is an archive without an end, which some programs write.
      const complete = new Set([0, 5 * 512, 7 * 512])
      for (const end of ends.filter((at) => !complete.has(at) && at < 6 * 512 + 100)) {
        await expectRefused(takeLayers(blobOnly(whole.subarray(0, end))), 'INVALID_IMAGE', /cut off/)
      }
    }),
  )

  it.each([0.1, 0.5, 0.9, 0.99])('in gzip, after %f of it', (part) =>
    trial(async ({ takeLayers, expectRefused }) => {
      const blob = gzipSync(tar(file('f', Array.from({ length: 20_000 }, (_, i) => i).join())))
      const short = blob.subarray(0, Math.floor(blob.length * part))
      await expectRefused(takeLayers(blobOnly(short)), 'INVALID_IMAGE', /gzip compression is damaged or cut off/)
    })(),
  )

  it(
    'in zstd',
    trial(async ({ takeLayers, expectRefused }) => {
      const { stdout } = await execa('zstd', ['-c'], { input: tar(file('f', 'x'.repeat(5000))), encoding: 'buffer' })
      const short = Buffer.from(stdout).subarray(0, -8)
      await expectRefused(takeLayers(blobOnly(short)), 'INVALID_IMAGE', /zstd compression is/)
    }),
  )
})

describe.concurrent('compression', () => {
  const archive = tar(file('f', 'content'))
  const noise = Buffer.alloc(512, 0xa5)
  /** A frame of zstd that holds no data (RFC 8878, 3.1.2). */
  const SKIPPED = Buffer.concat([Buffer.of(0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0), Buffer.alloc(9, 1)])
  const compress = async (program: string, args: readonly string[] = ['-c']): Promise<Buffer> =>
    Buffer.from((await execa(program, args, { input: archive, encoding: 'buffer' })).stdout)

  it.each([
    ['gzip that calls itself plain', () => gzipSync(archive), OCI_LAYER],
    ['a plain tar that calls itself gzip', () => archive, `${OCI_LAYER}+gzip`],
    ['a plain tar that calls itself zstd', () => archive, `${OCI_LAYER}+zstd`],
    ['zstd that calls itself gzip', () => compress('zstd'), `${OCI_LAYER}+gzip`],
    [
      'gzip of several members',
      () => Buffer.concat([gzipSync(archive.subarray(0, 700)), gzipSync(archive.subarray(700))]),
      OCI_LAYER,
    ],
    [
      'zstd of several frames, and some to be skipped',
      async () => Buffer.concat([SKIPPED, await compress('zstd'), SKIPPED]),
      OCI_LAYER,
    ],
  ] as const)('is told by the first bytes: %s', (_, blob, mediaType) =>
    trial(async ({ takeLayers }) => {
      const image = await takeLayers({ blob: await blob(), diffId: sha256(archive), mediaType })
      expect(fs.readFileSync(join(treeOf(image), 'f'), 'utf8')).toBe('content')
    })(),
  )

  it.each([
    [
      'gzip and zeros',
      () => Buffer.concat([gzipSync(archive), Buffer.alloc(512)]),
      'INVALID_IMAGE',
      /gzip compression/,
    ],
    ['gzip and noise', () => Buffer.concat([gzipSync(archive), noise]), 'INVALID_IMAGE', /gzip compression/],
    ['zstd and noise', async () => Buffer.concat([await compress('zstd'), noise]), 'INVALID_IMAGE', /zstd compression/],
    ['zstd of a window of 2 GiB', () => compress('zstd', ['-c', '--long=31']), 'LIMIT_EXCEEDED', /more than 128 MiB/],
  ] as const)('of which not all can be read is refused: %s', (_, blob, code, line) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers({ blob: await blob(), diffId: sha256(archive) }), code, line)
    })(),
  )

  it.each([
    ['xz', () => compress('xz')],
    ['bzip2', () => compress('bzip2')],
    ['lz4', async () => Buffer.concat([Buffer.of(0x04, 0x22, 0x4d, 0x18), Buffer.alloc(600, 1)])],
    ['lzip', async () => Buffer.concat([Buffer.from('LZIP'), Buffer.alloc(600, 1)])],
  ] as const)('that is not taken is named: %s', (name, blob) =>
    trial(async ({ takeLayers, expectRefused }) => {
      const line = new RegExp(`compressed with ${name}, which is not supported`)
      await expectRefused(takeLayers({ blob: await blob(), diffId: sha256(archive) }), 'INVALID_IMAGE', line)
    })(),
  )

  it(
    'of one layer twice is one too many',
    trial(async ({ takeLayers, expectRefused }) => {
      const once = gzipSync(archive)
      await expectRefused(takeLayers(gzipped(once)), 'INVALID_IMAGE')
    }),
  )

  it(
    'with something else behind it is refused',
    trial(async ({ takeLayers, expectRefused }) => {
      const blob = Buffer.concat([gzipSync(archive), Buffer.from('garbage')])
      await expectRefused(takeLayers({ blob, diffId: sha256(archive) }), ['INVALID_IMAGE', 'DIGEST_MISMATCH'])
    }),
  )
})

describe.concurrent('a layer that is not what the config promises', () => {
  it(
    'by its diff id is refused',
    trial(async ({ takeLayers, expectRefused }) => {
      const taking = takeLayers({ blob: gzipSync(tar(file('f'))), diffId: sha256('another') })
      await expectRefused(taking, 'DIGEST_MISMATCH', /not the sha256:[0-9a-f]+ the image promises/)
    }),
  )

  it(
    'is refused with those below it and above it: no layer of it stays',
    trial(async ({ takeLayers, expectRefused }) => {
      const bad = { blob: gzipSync(tar(file('f'))), diffId: sha256('another') }
      await expectRefused(takeLayers(tar(file('below')), bad, tar(file('above'))), 'DIGEST_MISMATCH')
    }),
  )

  it(
    'may be empty, or an archive of nothing',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(Buffer.alloc(0), END)
      expect(image.layers.map((layer) => fs.readdirSync(layer))).toEqual([[], []])
    }),
  )
})
