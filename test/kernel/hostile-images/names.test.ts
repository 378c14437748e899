import * as fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { dir, file, hardlink, long, pax, type RawMember, symlink, tar } from './fixtures/tar.ts'
import { prepareTrials, treeOf, trial } from './fixtures/trial.ts'

prepareTrials()

const OUT = '../canary'
const DEEP = '../../../../../../../../../../etc/canary'

/** Every place of an archive in which a name can stand. */
const PLACES: readonly (readonly [string, (name: string) => Buffer])[] = [
  ['the name', (name) => tar(file(name))],
  ['the name of a directory', (name) => tar(dir(name))],
  ['the name of a symlink', (name) => tar(symlink(name, 'x'))],
  ['the name of a hard link', (name) => tar(file('x'), hardlink(name, 'x'))],
  ['the name of a device', (name) => tar({ name, type: '3', major: 1, minor: 3 })],
  ['the name of a fifo', (name) => tar({ name, type: '6' })],
  ['the prefix of the name', (name) => tar({ name: 'x', prefix: name, content: 'x' })],
  ['the target of a hard link', (name) => tar(hardlink('x', name))],
  ['a PAX path', (name) => tar(pax([['path', name]], file('x')))],
  ['a PAX linkpath of a hard link', (name) => tar(pax([['linkpath', name]], hardlink('x', 'y')))],
  ['a long name of GNU', (name) => tar(long('L', name), file('x'))],
  ['a long link of GNU', (name) => tar(long('K', name), hardlink('x', 'y'))],
  [
    'the name of a sparse file',
    (name) =>
      tar(
        pax(
          [
            ['GNU.sparse.name', name],
            ['GNU.sparse.size', '0'],
            ['GNU.sparse.map', '0,0'],
          ],
          file('x', ''),
        ),
      ),
  ],
  ['a whiteout', (name) => tar(file(`${name.slice(0, name.lastIndexOf('/') + 1)}.wh.canary`, ''))],
]

describe.concurrent('a name that leads out of the layer is refused', () => {
  const cases = [
    ...PLACES.map(([place, archive]) => [place, OUT, archive] as const),
    ...[DEEP, 'x/../../canary', '..', '/../canary'].map(
      (name) => ['the name', name, (text: string) => tar(file(text))] as const,
    ),
  ]
  it.each(cases)('in %s: %s', (_, name, archive) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(archive(name)), 'INVALID_IMAGE', /leaves the root/)
    })(),
  )

  it(
    'also where a longer one before it would have been overridden',
    trial(async ({ takeLayers, expectRefused }) => {
      const archive = tar(long('L', OUT), pax([['path', 'inside']], file('x')))
      await expectRefused(takeLayers(archive), 'INVALID_IMAGE', /leaves the root/)
    }),
  )
})

describe.concurrent('a name is one below the root', () => {
  it(
    'where it is absolute, has dots, or `..` that stays inside',
    trial(async ({ takeLayers, directory }) => {
      const absolute = join(directory, 'canary')
      const image = await takeLayers(
        tar(file('/abs'), file('//x/../y'), dir('././/z/.'), long('L', absolute), file('x'), file('./dot/./file')),
      )
      expect(fs.readdirSync(treeOf(image)).toSorted()).toEqual(
        ['abs', 'dot', directory.split('/')[1] ?? '', 'y', 'z'].toSorted(),
      )
      expect(fs.readFileSync(join(treeOf(image), absolute), 'utf8')).toBe('x')
    }),
  )

  it(
    'byte for byte: of no UTF-8, of both forms of an umlaut, in both cases, with line breaks, quotes and escapes',
    trial(async ({ takeLayers }) => {
      const names = [
        '\xff\xfe',
        '\xff\xfd',
        '\xef\xbf\xbd',
        '\xc3\xa4',
        'a\xcc\x88',
        'name',
        'NAME',
        'new\nline',
        ' ',
        '\\',
      ]
      const wild = [...names, '*', '"', "'", '\x1b]0;title\x07', '\x9b31m', '-rf', '%s%n', '\x7f', 'con', 'c:\\x']
      const members = wild.map((name): RawMember => ({ name: Buffer.from(name, 'latin1'), content: name }))
      const long8 = pax([['path', Buffer.from('pax\xff', 'latin1')]], file('x'))
      const image = await takeLayers(tar(...members, long8))
      const found = fs.readdirSync(Buffer.from(treeOf(image)), { encoding: 'buffer' })
      expect(found.map((name) => name.toString('latin1')).toSorted()).toEqual([...wild, 'pax\xff'].toSorted())
    }),
  )

  it(
    'of which nothing reaches the terminal that is not text',
    trial(async ({ takeLayers, expectRefused }) => {
      const name = Buffer.from('../\x1b]0;owned\x07\x9b2J\nnext line', 'latin1')
      const line = await expectRefused(takeLayers(tar({ name, content: 'x' })), 'INVALID_IMAGE')
      expect(line).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
    }),
  )

  it.each([
    ['a component of 255 bytes', 'x'.repeat(255), undefined],
    ['a component of 256 bytes', 'x'.repeat(256), /ENAMETOOLONG/],
    ['1,000 components', 'd/'.repeat(1000), undefined],
    ['1,001 components', 'd/'.repeat(1001), /more than 1000 parts/],
    ['4,096 components', 'd/'.repeat(4096), /a name of \d+ bytes/],
    ['4,095 bytes', `${'x'.repeat(255)}/`.repeat(15) + 'x'.repeat(254), undefined],
    ['4,097 bytes', `y/${`${'x'.repeat(255)}/`.repeat(15)}${'x'.repeat(255)}`, /a name of 4097 bytes/],
  ] as const)('of %s', (_, name, line) =>
    trial(async ({ takeLayers, expectRefused }) => {
      const archive = tar(pax([['path', name]], dir('x')))
      if (line === undefined) await takeLayers(archive)
      else await expectRefused(takeLayers(archive), 'INVALID_IMAGE', line)
    })(),
  )

  it(
    'without a NUL in it',
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(tar(pax([['path', 'a\0b']], file('x')))), 'INVALID_IMAGE', /NUL/)
    }),
  )

  it.each([
    ['an empty one', tar(file(''))],
    ['one of slashes', tar(file('///'))],
    ['a dot', tar(file('.'))],
    ['one that goes back to it', tar(file('a/..'))],
  ] as const)('so %s is that of the root, which is no file', (_, archive) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(archive), 'INVALID_IMAGE', /the root is not a directory/)
    })(),
  )
})
