import * as fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { dir, file, hardlink, type RawMember, symlink, tar } from './fixtures/tar.ts'
import { prepareTrials, treeOf, trial } from './fixtures/trial.ts'

prepareTrials()

/** Somewhere a link may lead: the host's root, a place above, a directory outside, a file of the kernel's. */
const TARGETS = (directory: string): readonly string[] => [
  '/',
  '../../..',
  directory,
  '/proc/self/root',
  '/proc/self/cwd',
]

describe.concurrent('a symlink leads nowhere but into the layer', () => {
  it.each([0, 1, 2, 3, 4])('when a file is written through it (%i)', (index) =>
    trial(async ({ takeLayers, directory }) => {
      const target = TARGETS(directory)[index] ?? ''
      const through = [file('out/canary', 'pwned'), file('out/a/canary', 'pwned'), hardlink('out/link', 'out/canary')]
      await takeLayers(tar(symlink('out', target), ...through)).then(
        () => undefined,
        (error: unknown) => expect(error).toMatchObject({ code: 'INVALID_IMAGE' }),
      )
    })(),
  )

  it(
    'when a directory behind it gets an owner, a mode and a time',
    trial(async ({ takeLayers, directory, expectUntouched }) => {
      const members = [
        symlink('out', directory),
        dir('out', { mode: 0o777, uid: 7, mtime: 1 }),
        dir('out/a', { mode: 0o7777 }),
      ]
      const image = await takeLayers(tar(...members))
      expect(fs.lstatSync(join(treeOf(image), 'out')).isDirectory()).toBe(true)
      expectUntouched()
    }),
  )

  it(
    'when it stands where a file, a device or a link is to be written: it is replaced',
    trial(async ({ takeLayers, directory }) => {
      const outside = join(directory, 'canary')
      const link = (name: string): RawMember => symlink(name, outside)
      const image = await takeLayers(
        tar(
          ...['file', 'node', 'fifo', 'link', 'hard'].map(link),
          file('file', 'new'),
          { name: 'node', type: '3', major: 1, minor: 3 },
          { name: 'fifo', type: '6' },
          symlink('link', 'elsewhere'),
          hardlink('hard', 'file'),
        ),
      )
      const tree = treeOf(image)
      expect(fs.readFileSync(join(tree, 'file'), 'utf8')).toBe('new')
      expect(fs.lstatSync(join(tree, 'node')).isCharacterDevice()).toBe(true)
      expect(fs.lstatSync(join(tree, 'fifo')).isFIFO()).toBe(true)
      expect(fs.readlinkSync(join(tree, 'link'))).toBe('elsewhere')
      expect(fs.lstatSync(join(tree, 'hard')).nlink).toBe(2)
    }),
  )

  it(
    'when it replaces a directory between two members of it, at every depth',
    trial(async ({ takeLayers, directory }) => {
      await takeLayers(
        tar(
          dir('d'),
          dir('d/e'),
          file('d/e/canary', 'inside'),
          symlink('d/e', directory),
          file('d/e/canary', 'pwned'),
          symlink('d', directory),
          file('d/canary', 'pwned'),
        ),
      ).then(
        () => undefined,
        (error: unknown) => expect(error).toMatchObject({ code: 'INVALID_IMAGE' }),
      )
    }),
  )

  it(
    'in a circle: what lies behind it cannot be written',
    trial(async ({ takeLayers, expectRefused }) => {
      const archive = tar(symlink('a', 'b'), symlink('b', 'a'), file('a/file'))
      await expectRefused(takeLayers(archive), 'INVALID_IMAGE', /ELOOP/)
    }),
  )

  it(
    'and stays as it is written, dangling or not',
    trial(async ({ takeLayers }) => {
      const targets = ['/etc/shadow', '../../../x', 'no such', '\x1b[2J', '.', '/', 'a'.repeat(99)]
      const image = await takeLayers(tar(...targets.map((target, i) => symlink(`link${i}`, target))))
      expect(targets.map((_, i) => fs.readlinkSync(join(treeOf(image), `link${i}`)))).toEqual(targets)
    }),
  )

  it(
    'nowhere: an empty one is refused',
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(tar(symlink('a', ''))), 'INVALID_IMAGE', /links to nothing/)
    }),
  )
})

describe.concurrent('a hard link', () => {
  it(
    'to what is outside finds nothing',
    trial(async ({ takeLayers, expectRefused, directory }) => {
      for (const target of [join(directory, 'canary'), '/etc/passwd', 'etc/passwd']) {
        await expectRefused(takeLayers(tar(hardlink('link', target))), 'INVALID_IMAGE', /which no layer has/)
      }
    }),
  )

  it(
    'through a symlink that leads out finds nothing either',
    trial(async ({ takeLayers, expectRefused, directory }) => {
      const archive = tar(symlink('out', directory), hardlink('link', 'out/canary'))
      await expectRefused(takeLayers(archive), 'INVALID_IMAGE')
    }),
  )

  it(
    'to a symlink that leads out links the symlink, and what replaces it is a new file',
    trial(async ({ takeLayers, directory }) => {
      const image = await takeLayers(
        tar(symlink('out', join(directory, 'canary')), hardlink('link', 'out'), file('link', 'new')),
      )
      expect(fs.readFileSync(join(treeOf(image), 'link'), 'utf8')).toBe('new')
      expect(fs.lstatSync(join(treeOf(image), 'out')).isSymbolicLink()).toBe(true)
    }),
  )

  it.each([
    ['to a directory', tar(dir('d'), hardlink('link', 'd')), /hard link to the directory/],
    ['to the root', tar(hardlink('link', '.')), /hard link to the root/],
    ['to nothing', tar(hardlink('link', '')), /hard link to the root/],
    ['below a file', tar(file('f'), hardlink('f/link', 'f')), /which is no directory/],
  ] as const)('%s is refused', (_, archive, line) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(archive), 'INVALID_IMAGE', line)
    })(),
  )

  it(
    'to itself changes nothing',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(tar(file('f', 'kept'), hardlink('f', 'f')))
      expect(fs.readFileSync(join(treeOf(image), 'f'), 'utf8')).toBe('kept')
    }),
  )

  it(
    'to a file of a layer below is a copy of it, and leaves that layer alone',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(tar(file('f', 'lower')), tar(hardlink('g', 'f'), hardlink('d/h', 'f')))
      const [lower = '', upper = ''] = image.layers
      expect(fs.readFileSync(join(upper, 'd/h'), 'utf8')).toBe('lower')
      expect(fs.statSync(join(upper, 'g')).nlink).toBe(3)
      expect(fs.statSync(join(lower, 'f')).nlink).toBe(1)
    }),
  )

  it.each([
    ['that leads out', (directory: string) => symlink('f', join(directory, 'canary'))],
    ['to a device', () => ({ name: 'f', type: '3', major: 1, minor: 3 })],
    ['to a directory', () => dir('f')],
  ] as const)('across layers to a link or node %s is refused', (_, lower) =>
    trial(async ({ takeLayers, expectRefused, directory }) => {
      await expectRefused(
        takeLayers(tar(lower(directory)), tar(hardlink('g', 'f'))),
        'INVALID_IMAGE',
        /no file of a lower layer/,
      )
    })(),
  )

  it(
    'across layers through a symlink of a layer below, or of its own, is refused',
    trial(async ({ takeLayers, expectRefused, directory }) => {
      const inLower = [tar(symlink('d', directory)), tar(hardlink('g', 'd/canary'))]
      await expectRefused(takeLayers(...inLower), 'INVALID_IMAGE')
      const inUpper = [tar(dir('d'), file('d/f')), tar(symlink('d', directory), hardlink('g', 'd/f'))]
      await expectRefused(takeLayers(...inUpper), 'INVALID_IMAGE')
    }),
  )

  it(
    'across layers counts as what it copies: a hundred links to one large file do not fill the disk',
    trial(async ({ takeImage, expectRefused }) => {
      const layers = [tar(file('big', 'x'.repeat(200_000))), ...[1, 2, 3].map((i) => tar(hardlink(`link${i}`, 'big')))]
      await expectRefused(takeImage({ layers }, { maxUnpackSize: 500_000 }), 'LIMIT_EXCEEDED', /--max-unpack-size/)
    }),
  )

  it(
    'to what a whiteout hides finds nothing',
    trial(async ({ takeLayers, expectRefused }) => {
      const layers = [tar(file('f')), tar(file('.wh.f', '')), tar(hardlink('g', 'f'))]
      await expectRefused(takeLayers(...layers), 'INVALID_IMAGE', /no file of a lower layer/)
    }),
  )
})

describe.concurrent('the root of a layer', () => {
  it.each(['2', '1', '3', '4', '6', '0'])('is refused as a member of type %s, however it is written', (type) =>
    trial(async ({ takeLayers, expectRefused }) => {
      for (const name of ['./', '/']) {
        const member: RawMember = { name, type, link: type === '2' ? '/' : 'x', major: 1, minor: 3 }
        await expectRefused(takeLayers(tar(file('x'), member)), 'INVALID_IMAGE')
      }
    })(),
  )

  it(
    'as a directory takes owner, mode and time',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(tar(dir('./', { mode: 0o1711, uid: 5, gid: 6, mtime: 1_000_000 })))
      expect(fs.statSync(treeOf(image))).toMatchObject({ mode: 0o41711, uid: 5, gid: 6, mtimeMs: 1e9 })
    }),
  )
})

describe.concurrent('of two members with one name the last counts', () => {
  const MAKE: Readonly<Record<string, RawMember>> = {
    file: file('n', 'f'),
    directory: dir('n'),
    symlink: symlink('n', 'elsewhere'),
    fifo: { name: 'n', type: '6' },
    device: { name: 'n', type: '4', major: 8, minor: 0 },
    link: hardlink('n', 'other'),
  }
  const typeOf = (stats: fs.Stats): string =>
    stats.isDirectory()
      ? 'directory'
      : stats.isSymbolicLink()
        ? 'symlink'
        : stats.isFIFO()
          ? 'fifo'
          : stats.isBlockDevice()
            ? 'device'
            : stats.nlink > 1
              ? 'link'
              : 'file'

  it.each(Object.keys(MAKE))('a %s after each other kind', (last) =>
    trial(async ({ takeLayers }) => {
      // One archive: the same in a directory for each kind that comes first.
      const below = (place: string, member: RawMember): RawMember => ({
        ...member,
        name: `${place}/${String(member.name)}`,
        ...(member.type === '1' ? { link: `${place}/other` } : {}),
      })
      const members = Object.entries(MAKE).flatMap(([first, member]) => [
        file(`${first}/other`),
        below(first, member),
        ...(first === 'directory' ? [file(`${first}/n/inside`)] : []),
        ...(MAKE[last] === undefined ? [] : [below(first, MAKE[last])]),
      ])
      const image = await takeLayers(tar(...members))
      for (const first of Object.keys(MAKE)) {
        expect(typeOf(fs.lstatSync(join(treeOf(image), first, 'n'))), `${last} after ${first}`).toBe(last)
      }
    })(),
  )

  it(
    'and what lies below a directory that became a file is refused, not written elsewhere',
    trial(async ({ takeLayers, expectRefused }) => {
      const archive = tar(dir('n'), file('n/a'), file('n'), file('n/b'))
      await expectRefused(takeLayers(archive), 'INVALID_IMAGE', /which is no directory/)
    }),
  )
})
