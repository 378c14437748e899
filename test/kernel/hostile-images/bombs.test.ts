import * as fs from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { createGzip, gzipSync } from 'node:zlib'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { inheritFromLower } from '../../../src/images/lower.ts'
import { type Ended, expectOneLine, TSCRUN } from '../fixtures/machine.ts'
import { startFaultyRegistry } from '../../clients/fixtures/faulty-registry.ts'
import { makeImage, sha256 } from '../../clients/fixtures/images.ts'
import { base256, dir, file, hardlink, long, member, pax, type Sparse, sparse, symlink, tar } from './fixtures/tar.ts'
import { gzipped, prepareTrials, treeOf, trial } from './fixtures/trial.ts'

prepareTrials()

/** Zeros as a gzip stream, made in pieces: 1 GiB is 1 MiB. */
async function zeros(size: number, head: Buffer = Buffer.alloc(0)): Promise<Buffer> {
  const piece = Buffer.alloc(1 << 20)
  const source = Readable.from(
    (function* () {
      yield head
      for (let done = 0; done < size; done += piece.length) yield piece
    })(),
  )
  const parts: Buffer[] = []
  for await (const part of source.pipe(createGzip())) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

const anyId = (blob: Buffer): { blob: Buffer; diffId: string } => ({ blob, diffId: sha256('never reached') })

describe('an archive that is small and unpacks to much', () => {
  it(
    'is stopped while it is written: 1 GiB of one file',
    trial(async ({ takeImage, expectRefused }) => {
      const blob = await zeros(2 ** 30, member({ name: 'big', size: 2 ** 30 }))
      expect(blob.length).toBeLessThan(2 ** 21)
      const taking = takeImage({ layers: [anyId(blob)] }, { maxUnpackSize: 64 << 20 })
      await expectRefused(taking, 'LIMIT_EXCEEDED', /64MiB.*--max-unpack-size/)
    }),
  )

  it(
    'is stopped where it writes nothing: 1 GiB behind the end of the archive',
    trial(async ({ takeImage, expectRefused }) => {
      const taking = takeImage({ layers: [anyId(await zeros(2 ** 30))] }, { maxUnpackSize: 64 << 20 })
      await expectRefused(taking, 'LIMIT_EXCEEDED', /128MiB of archives.*--max-unpack-size/)
    }),
  )

  it(
    'is stopped by the sum of its layers, each of which keeps the limit',
    trial(async ({ takeImage, expectRefused }) => {
      const layers = ['a', 'b', 'c', 'd'].map((name) => gzipped(tar(file(name, name.repeat(400_000)))))
      await expectRefused(takeImage({ layers }, { maxUnpackSize: 1_000_000 }), 'LIMIT_EXCEEDED', /976.6KiB of files/)
      await takeImage({ layers }, { maxUnpackSize: 2_000_000 })
    }),
  )

  it(
    'is stopped where a registry has it: by the flag of pull, run and create, and by the configuration',
    trial(async ({ root, directory }) => {
      const image = await makeImage({ layers: [[{ name: 'big', content: 'x'.repeat(400_000) }]] })
      const registry = await startFaultyRegistry(image, () => false)
      const tscrun = (args: readonly string[], env = {}): Promise<Ended> => {
        const globals = ['--root', root, '--runroot', join(directory, 'run'), '--log-level', 'error']
        const options = { reject: false, stdin: 'ignore', env } as const
        const reach = [...args, '--tls-verify=false', `${registry.host}/image:1`]
        return execa(TSCRUN, [...globals, ...reach], options) as unknown as Promise<Ended>
      }
      try {
        for (const verb of [
          ['pull', '-q'],
          ['run', '-q', '--rm'],
          ['create', '-q'],
        ]) {
          for (const ended of [
            await tscrun([...verb, '--max-unpack-size', '100k']),
            await tscrun(verb, { TSCRUN_MAX_UNPACK_SIZE: '100k' }),
          ]) {
            expect({ exitCode: ended.exitCode, stdout: ended.stdout }, ended.stderr).toEqual({
              exitCode: 125,
              stdout: '',
            })
            expectOneLine(ended.stderr, /more than 100KiB of files.*--max-unpack-size/)
          }
        }
        const { exitCode } = await tscrun(['pull', '-q', '--max-unpack-size', '1m'], { TSCRUN_MAX_UNPACK_SIZE: '100k' })
        expect(exitCode).toBe(0)
      } finally {
        await registry.stop()
      }
    }),
  )

  it(
    'is stopped when only its layers of before count too',
    trial(async ({ takeLayers, takeImage }) => {
      const base = gzipped(tar(file('a', 'a'.repeat(400_000))))
      await takeLayers(base)
      const more = takeImage({ layers: [base, gzipped(tar(file('b')))] }, { maxUnpackSize: 300_000 })
      await expect(more).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    }),
  )

  it(
    'is stopped where it is a compressed archive of images, or a root filesystem to import',
    trial(async ({ take, expectRefused, directory, root }) => {
      const bomb = await zeros(256 << 20)
      const from = join(directory, 'source', 'bomb.tar.gz')
      fs.mkdirSync(join(directory, 'source'))
      fs.writeFileSync(from, bomb)
      await expectRefused(take({ from, maxUnpackSize: 16 << 20 }), 'LIMIT_EXCEEDED', /32MiB once it is not compressed/)
      await expectRefused(take({ from: Readable.from([bomb]), maxUnpackSize: 16 << 20 }), 'LIMIT_EXCEEDED')
      const { exitCode, stderr } = await execa(
        TSCRUN,
        ['--root', root, 'import', '--max-unpack-size', '16m', from, 'x'],
        {
          reject: false,
        },
      )
      expect({ exitCode, stderr }).toEqual({ exitCode: 125, stderr: expect.stringMatching(/^[^\n]*32MiB[^\n]*$/) })
    }),
  )

  it(
    'is stopped by its weight where nobody says how much: a file as large as a hole',
    trial(async ({ takeImage, expectRefused }) => {
      const blob = gzipSync(
        member({ name: 'big', size: 8 * 2 ** 40 - 1, patch: (b) => base256(2n ** 50n, 12).copy(b, 124) }),
      )
      await expectRefused(
        takeImage({ layers: [anyId(blob)] }),
        'LIMIT_EXCEEDED',
        /more than 1TiB of files, holes counted/,
      )
    }),
  )

  it(
    'is stopped by the number of its members, links counted',
    trial(async ({ takeImage, expectRefused }) => {
      const links = Array.from({ length: 12_000 }, (_, i) => hardlink(`l${i}`, 'f'))
      const taking = takeImage({ layers: [gzipped(tar(file('f'), ...links))] }, { maxUnpackSize: 1 << 20 })
      await expectRefused(taking, 'LIMIT_EXCEEDED', /more than 10000 files/)
    }),
  )

  it(
    'is stopped by members that replace each other over and over',
    trial(async ({ takeImage, expectRefused }) => {
      const pair = Buffer.concat([member(dir('x')), member(file('x', ''))])
      const archive = Buffer.concat([...Array.from({ length: 6000 }, () => pair), tar()])
      const taking = takeImage({ layers: [gzipped(archive)] }, { maxUnpackSize: 1 << 20 })
      await expectRefused(taking, 'LIMIT_EXCEEDED', /more than 10000 files/)
    }),
  )

  it(
    'is stopped by its attributes',
    trial(async ({ takeImage, expectRefused }) => {
      const value = Buffer.alloc(60_000, 'v')
      const members = Array.from({ length: 6 }, (_, i) => pax([['SCHILY.xattr.other.x', value]], file(`f${i}`)))
      await expectRefused(
        takeImage({ layers: [gzipped(tar(...members))] }, { maxUnpackSize: 300_000 }),
        'LIMIT_EXCEEDED',
      )
      const long = pax([['SCHILY.xattr.user.x', Buffer.alloc(70_000, 'v')]], file('f'))
      await expectRefused(takeImage({ layers: [tar(long)] }), 'INVALID_IMAGE', /an attribute of 70000 bytes/)
    }),
  )

  it.each([
    ['a PAX header', tar(member({ name: 'x', type: 'x', size: 2 << 20 }), Buffer.alloc(2 << 20)), /more than 1048576/],
    ['a long name', tar(long('L', 'n'.repeat(2 << 20)), file('x')), /more than 1048576/],
    ['a global header', tar(member({ name: 'x', type: 'g', size: 2 ** 33 - 1 })), /more than 1048576/],
  ] as const)('is refused for %s that is held in memory', (_, archive, line) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(archive), 'INVALID_IMAGE', line)
    })(),
  )
})

describe.concurrent('a sparse file', () => {
  const FORMATS = ['old', '0.0', '0.1', '1.0'] as const
  const full = 512

  it.each(FORMATS)('of format %s is a hole where it has one, and counts by its size too', (format) =>
    trial(async ({ takeImage, takeLayers }) => {
      const size = 1 << 30
      const hole = tar(sparse('hole', { format, size, map: [[size - full, full]], content: 'x'.repeat(full) }))
      const image = await takeLayers(hole)
      const stats = fs.statSync(join(treeOf(image), 'hole'))
      expect(stats.size).toBe(size)
      expect(stats.blocks * 512).toBeLessThan(1 << 20)
      expect(image.size).toBe(full)
      await takeImage({ layers: [tar(file('other')), hole] }, { maxUnpackSize: 2 * size })
      await expect(
        takeImage({ layers: [tar(file('more')), hole] }, { maxUnpackSize: size >> 1 }),
      ).rejects.toMatchObject({
        code: 'LIMIT_EXCEEDED',
      })
    })(),
  )

  const lies: readonly (readonly [string, Omit<Sparse, 'format'>])[] = [
    [
      'pieces that overlap',
      {
        size: 2048,
        map: [
          [0, 512],
          [256, 512],
        ],
        content: 'x'.repeat(1024),
      },
    ],
    [
      'pieces in the wrong order',
      {
        size: 2048,
        map: [
          [1024, 512],
          [0, 512],
        ],
        content: 'x'.repeat(1024),
      },
    ],
    ['a piece beyond its end', { size: 512, map: [[512, 512]], content: 'x'.repeat(512) }],
    ['less data than pieces', { size: 2048, map: [[0, 1024]], content: 'x'.repeat(512) }],
    ['more data than pieces', { size: 2048, map: [[0, 512]], content: 'x'.repeat(1024) }],
    ['a size that is smaller than its data', { size: 100, map: [[0, 512]], content: 'x'.repeat(512) }],
    ['a piece whose end overflows', { size: 2048, map: [[2 ** 33 - 512, 2 ** 33 - 1]], content: 'x'.repeat(512) }],
  ]
  it.each(lies)('with %s is refused in each format', (_, lie) =>
    trial(async ({ takeLayers, expectRefused }) => {
      for (const format of FORMATS)
        await expectRefused(takeLayers(tar(sparse('f', { ...lie, format }))), 'INVALID_IMAGE')
    })(),
  )

  it(
    'with negative numbers is refused',
    trial(async ({ takeLayers, expectRefused }) => {
      const [minus, text] = [base256(-512n, 12), Buffer.from('-512')]
      for (const archive of [
        sparse('f', { format: 'old', size: 2048, map: [[minus, 512]], content: 'x'.repeat(512) }),
        sparse('f', { format: 'old', size: 2048, map: [[0, minus]], content: '' }),
        sparse('f', { format: 'old', size: minus, map: [[0, 512]], content: 'x'.repeat(512) }),
        sparse('f', { format: '0.0', size: 2048, map: [[text, 512]], content: 'x'.repeat(512) }),
        sparse('f', { format: '0.1', size: 2048, map: [[0, text]], content: 'x'.repeat(512) }),
        sparse('f', { format: '1.0', size: text, map: [[0, 512]], content: 'x'.repeat(512) }),
      ]) {
        await expectRefused(takeLayers(tar(archive)), 'INVALID_IMAGE')
      }
    }),
  )

  it(
    'with a map of more pieces than are held is refused',
    trial(async ({ takeLayers, expectRefused }) => {
      const claim = pax(
        [
          ['GNU.sparse.major', '1'],
          ['GNU.sparse.minor', '0'],
          ['GNU.sparse.realsize', '1000'],
        ],
        file('f', `${'9'.repeat(9)}\n`),
      )
      await expectRefused(takeLayers(tar(claim)), 'INVALID_IMAGE', /pieces/)
    }),
  )

  it(
    'that is no file is refused',
    trial(async ({ takeLayers, expectRefused }) => {
      const records = [
        ['GNU.sparse.size', '10'],
        ['GNU.sparse.map', '0,0'],
      ] as const
      await expectRefused(takeLayers(tar(pax(records, symlink('f', 'x')))), 'INVALID_IMAGE')
      await expectRefused(takeLayers(tar(pax([['GNU.sparse.map', '0,0']], file('f', '')))), 'INVALID_IMAGE')
    }),
  )
})

describe('an archive that makes much to look for in the layers below', () => {
  it(
    'is stopped, and what no layer has is not looked for again below it',
    trial(async ({ directory }) => {
      const [tree = '', ...lowers] = ['tree', 'one', 'two', 'three'].map((name) => join(directory, 'source', name))
      const implied = Array.from({ length: 100 }, (_, i) => `new${'/d'.repeat(i)}`)
      for (const path of [join(tree, implied.at(-1) ?? ''), ...lowers]) fs.mkdirSync(path, { recursive: true })
      const inherit = (names: readonly string[], maxLookups: number): number =>
        inheritFromLower(tree, lowers, { implied: names, missingLinks: [] }, { onCopied: () => undefined, maxLookups })
      // Each of the three layers is asked for `new`, and whether it hides it.
      expect(inherit(implied, 6)).toBe(0)
      expect(() => inherit(implied, 5)).toThrow(/more than 5 lookups/)
    }),
  )
})

describe('much of everything', () => {
  it(
    '100,000 small files are no matter',
    trial(async ({ takeLayers }) => {
      const members = Array.from({ length: 100_000 }, (_, i) => member(file(`d${i % 100}/f${i}`, '')))
      const image = await takeLayers(gzipped(tar(...members)))
      expect(fs.readdirSync(join(treeOf(image), 'd7'))).toHaveLength(1000)
    }),
  )

  it(
    '500 layers are no matter',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(...Array.from({ length: 500 }, (_, i) => tar(file(`f${i}`, `${i}`))))
      expect(image.layers).toHaveLength(500)
    }),
    300_000,
  )

  it(
    '501 layers are refused before the first is read',
    trial(async ({ takeLayers, expectRefused }) => {
      const layers = Array.from({ length: 501 }, (_, i) => tar(file(`f${i}`)))
      await expectRefused(takeLayers(...layers), 'LIMIT_EXCEEDED', /501 layers, more than the 500/)
    }),
  )
})

describe('a filesystem that is full', () => {
  it(
    'is never filled to the brim, and says so in a line; --max-unpack-size takes what there is',
    trial(async ({ takeImage, expectRefused, directory }) => {
      const disk = join(directory, 'a', 'b', 'store')
      const good = join(directory, 'source', 'good')
      fs.mkdirSync(join(directory, 'source'), { recursive: true })
      fs.cpSync(disk, good, { recursive: true })
      await execa('mount', ['-t', 'tmpfs', '-o', 'size=200m,mode=700', 'tscrun-test', disk])
      try {
        fs.cpSync(good, disk, { recursive: true })
        fs.rmSync(good, { recursive: true })
        const layer = (size: number): ReturnType<typeof gzipped> => gzipped(tar(file('big', 'x'.repeat(size))))
        await expectRefused(takeImage({ layers: [layer(199 << 20)] }), 'NO_SPACE', /2MiB would be left.*--root/)
        await expectRefused(
          takeImage({ layers: [layer(201 << 20)] }, { maxUnpackSize: 2 ** 30 }),
          'NO_SPACE',
          /ENOSPC.*--root/,
        )
        await takeImage({ layers: [layer(150 << 20)] })
      } finally {
        await execa('umount', [disk])
      }
    }),
  )
})
