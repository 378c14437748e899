import * as fs from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { OCI_MANIFEST, blobOf } from '../../clients/fixtures/images.ts'
import { file, hardlink, member, pax, type RawMember, symlink, tar } from './fixtures/tar.ts'
import { describeBlob, partsOf, prepareTrials, type Trial, trial, writeLayoutOf } from './fixtures/trial.ts'

prepareTrials()

const LAYER = tar(file('f', 'content'))
const PARTS = partsOf({ layers: [LAYER] })
const CONFIG = PARTS.config.bytes
const MANIFEST = blobOf(PARTS.manifest)

const described = (entry: object): RawMember => file('manifest.json', JSON.stringify([entry]))
const ENTRY = { Config: 'config.json', RepoTags: ['hostile:1'], Layers: ['layer.tar'] }
const BLOBS: readonly RawMember[] = [
  { name: 'config.json', content: CONFIG },
  { name: 'layer.tar', content: LAYER },
]

/** Takes an archive in from a file, as `load -i` does. */
function load({ directory, take }: Trial, archive: Buffer): ReturnType<Trial['take']> {
  const from = join(directory, 'source')
  fs.rmSync(from, { recursive: true, force: true })
  fs.writeFileSync(from, archive)
  return take({ from })
}

describe.concurrent('an archive of docker', () => {
  it(
    'as it should be is taken, from a file, a pipe and compressed',
    trial(async (made) => {
      const archive = tar(described(ENTRY), ...BLOBS)
      expect((await load(made, archive)).layers).toHaveLength(1)
      await made.take({ from: Readable.from([archive]) })
      await load(made, gzipSync(archive))
    }),
  )

  const paths = (directory: string): readonly string[] => [
    '../canary',
    '../../../../../../../etc/passwd',
    '/etc/passwd',
    join(directory, 'canary'),
    'x/../../canary',
    '',
    '.',
    '/proc/self/environ',
  ]

  it(
    'names a config or a layer that is no member: nothing of the host is read for it',
    trial(async (made) => {
      for (const path of paths(made.directory)) {
        const config = tar(described({ ...ENTRY, Config: path }), ...BLOBS)
        await made.expectRefused(load(made, config), 'INVALID_IMAGE', /it has no/)
        const layer = tar(described({ ...ENTRY, Layers: [path] }), ...BLOBS)
        await made.expectRefused(load(made, layer), 'INVALID_IMAGE', /is missing|it has no/)
      }
    }),
  )

  it(
    'with links for members leads to members only, and not in circles',
    trial(async (made) => {
      const outside = join(made.directory, 'canary')
      for (const link of [
        symlink('layer.tar', outside),
        symlink('layer.tar', '../canary'),
        symlink('layer.tar', 'layer.tar'),
        hardlink('layer.tar', outside),
        hardlink('layer.tar', '../../canary'),
      ]) {
        const archive = tar(described(ENTRY), { name: 'config.json', content: CONFIG }, link)
        await made.expectRefused(load(made, archive), 'INVALID_IMAGE', /is missing|it has no/)
      }
      const circle = tar(symlink('manifest.json', 'other'), symlink('other', 'manifest.json'), ...BLOBS)
      await made.expectRefused(load(made, circle), 'INVALID_IMAGE', /no archive of images/)
      await load(
        made,
        tar(described(ENTRY), { name: 'config.json', content: CONFIG }, symlink('layer.tar', './a/../real'), {
          name: 'real',
          content: LAYER,
        }),
      )
    }),
  )

  it.each([
    ['nested deeply', Buffer.from(`[${'['.repeat(100_000)}${']'.repeat(100_000)}]`), /nested deeper/],
    ['huge', Buffer.alloc(5 << 20, '[ '), /more than the 4194304/],
    ['no JSON', Buffer.from('[{'), /not valid JSON/],
    ['of numbers', Buffer.from('[1]'), /not an object/],
    ['with names that are no list', Buffer.from(JSON.stringify([{ ...ENTRY, RepoTags: 'x' }])), /not a list/],
    [
      'with 501 layers',
      Buffer.from(JSON.stringify([{ ...ENTRY, Layers: Array.from({ length: 501 }, () => 'layer.tar') }])),
      /501 Layers/,
    ],
    ['of 1,001 images', Buffer.from(JSON.stringify(Array.from({ length: 1001 }, () => ENTRY))), /1001 images/],
    [
      'with more layers than the config',
      Buffer.from(JSON.stringify([{ ...ENTRY, Layers: ['layer.tar', 'layer.tar'] }])),
      /2 layers/,
    ],
    [
      'that is another',
      Buffer.from('[{"__proto__":{"Config":"config.json","Layers":["layer.tar"]}}]'),
      /Config is missing/,
    ],
  ] as const)('with a list of images %s is refused', (_, content, line) =>
    trial(async (made) => {
      const archive = tar({ name: 'manifest.json', content }, ...BLOBS)
      await made.expectRefused(load(made, archive), ['INVALID_IMAGE', 'LIMIT_EXCEEDED'], line)
    })(),
  )

  it(
    'gives names that are none, or of others, to nobody',
    trial(async (made) => {
      const RepoTags = ['../../x:1', 'A B', '\u001b[2J:1', 'hostile:1\nother:1', 'hostile:1@sha256:x', '', 'good:2']
      const image = await load(made, tar(described({ ...ENTRY, RepoTags }), ...BLOBS))
      expect(image.names).toEqual(['docker.io/library/good:2'])
    }),
  )

  it(
    'whose layer is another than the config promises is refused',
    trial(async (made) => {
      const other = tar(
        described(ENTRY),
        { name: 'config.json', content: CONFIG },
        { name: 'layer.tar', content: tar(file('g')) },
      )
      await made.expectRefused(load(made, other), 'DIGEST_MISMATCH')
    }),
  )

  it(
    'with a member twice has the last of them',
    trial(async (made) => {
      const archive = tar(described(ENTRY), { name: 'layer.tar', content: 'first' }, ...BLOBS)
      expect((await load(made, archive)).layers).toHaveLength(1)
    }),
  )

  it.each([
    ['cut off', tar(described(ENTRY), ...BLOBS).subarray(0, 3000), /cut off|it has no|is missing/],
    ['with a size that lies', tar(member({ name: 'manifest.json', size: 2 ** 33 - 1 })), /cut off/],
    [
      'with a PAX path that leads out',
      tar(pax([['path', '../manifest.json']], described(ENTRY))),
      /no archive of images/,
    ],
    ['of nothing', tar(), /no archive of images/],
    ['that is no archive', Buffer.from('#!/bin/sh\n'.repeat(100)), /checksum|octal/],
    ['that is empty', Buffer.alloc(0), /no archive of images/],
  ] as const)('%s is refused', (_, archive, line) =>
    trial(async (made) => {
      await made.expectRefused(load(made, archive), 'INVALID_IMAGE', line)
    })(),
  )
})

describe.concurrent('a layout in a directory', () => {
  const write = (source: string): void => {
    writeLayoutOf(source, [PARTS.config, ...PARTS.layers, MANIFEST], describeBlob(MANIFEST, OCI_MANIFEST))
  }

  it(
    'with blobs that are links: what they lead to is checked like any blob, and not changed',
    trial(async ({ source, directory, take, expectRefused, expectUntouched }) => {
      write(source)
      const layer = join(source, 'blobs', 'sha256', PARTS.layers[0]?.digest.slice(7) ?? '')
      fs.renameSync(layer, join(source, 'moved'))
      fs.symlinkSync(join(directory, 'canary'), layer)
      await expectRefused(take(), 'DIGEST_MISMATCH')
      fs.rmSync(layer)
      fs.symlinkSync('/proc/self/environ', layer)
      await expectRefused(take(), 'DIGEST_MISMATCH')
      fs.rmSync(layer)
      fs.symlinkSync('../../moved', layer)
      await take()
      expectUntouched()
    }),
  )

  it(
    'with a fifo, a device, a directory or a circle for a file does not hang',
    trial(async ({ source, take, expectRefused }) => {
      const { makeNode } = await import('../../../src/images/extractor/kernel.ts')
      for (const name of [
        'index.json',
        `blobs/sha256/${MANIFEST.digest.slice(7)}`,
        `blobs/sha256/${PARTS.config.digest.slice(7)}`,
      ]) {
        for (const kind of ['fifo', 'device', 'directory', 'circle'] as const) {
          fs.rmSync(source, { recursive: true, force: true })
          write(source)
          const path = join(source, name)
          fs.rmSync(path)
          if (kind === 'directory') fs.mkdirSync(path)
          else if (kind === 'circle') fs.symlinkSync(path, path)
          else makeNode(Buffer.from(path), kind === 'fifo' ? 'fifo' : 'char', 0o600, 1, 5)
          await expectRefused(take(), ['INVALID_IMAGE', 'USAGE', 'STORE'])
        }
      }
    }),
  )

  it(
    'with an index that is a link to another file reads that one, as JSON or not at all',
    trial(async ({ source, directory, take, expectRefused }) => {
      write(source)
      fs.rmSync(join(source, 'index.json'))
      fs.symlinkSync(join(directory, 'canary'), join(source, 'index.json'))
      const line = await expectRefused(take(), 'INVALID_IMAGE', /not valid JSON/)
      expect(line).not.toContain('untouched')
    }),
  )
})

describe.concurrent('an archive of a layout', () => {
  it(
    'with members outside, links to the host, and names twice has its own members only',
    trial(async (made) => {
      const blob = (bytes: Buffer, digest: string): RawMember => ({
        name: `blobs/sha256/${digest.slice(7)}`,
        content: bytes,
      })
      const index = { schemaVersion: 2, manifests: [describeBlob(MANIFEST, OCI_MANIFEST)] }
      const all = [
        file('oci-layout', '{"imageLayoutVersion":"1.0.0"}'),
        file('../canary', 'pwned'),
        symlink('index.json', join(made.directory, 'canary')),
        blob(CONFIG, PARTS.config.digest),
        blob(MANIFEST.bytes, MANIFEST.digest),
      ]
      const layer = PARTS.layers[0]?.digest ?? ''
      await made.expectRefused(load(made, tar(...all, blob(LAYER, layer))), 'INVALID_IMAGE', /no archive of images/)
      const whole = [...all, file('index.json', JSON.stringify(index))]
      await made.expectRefused(load(made, tar(...whole)), 'INVALID_IMAGE', /it has no/)
      await load(made, tar(...whole, blob(LAYER, layer)))
    }),
  )
})
