import * as fs from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { dir, file, type RawMember, symlink, tar } from './fixtures/tar.ts'
import { prepareTrials, treeOf, trial } from './fixtures/trial.ts'

prepareTrials()

async function isOpaque(path: string): Promise<boolean> {
  const asked = await execa('getfattr', ['--only-values', '-n', 'trusted.overlay.opaque', path], { reject: false })
  return asked.exitCode === 0 && asked.stdout === 'y'
}

const isWhiteout = (path: string): boolean => {
  const stats = fs.lstatSync(path)
  return stats.isCharacterDevice() && stats.rdev === 0
}

describe.concurrent('a whiteout', () => {
  it.each(['.wh...', '.wh..', '.wh.', 'd/.wh...', 'd/.wh..', 'd/.wh.'])('of no name is refused: %s', (name) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(tar(dir('d'), file(name, ''))), 'INVALID_IMAGE', /a whiteout of/)
    })(),
  )

  it(
    'through a symlink that leads out removes nothing there',
    trial(async ({ takeLayers, directory }) => {
      await takeLayers(tar(symlink('out', directory), file('out/.wh.canary', ''), file('out/.wh..wh..opq', ''))).then(
        () => undefined,
        (error: unknown) => expect(error).toMatchObject({ code: 'INVALID_IMAGE' }),
      )
    }),
  )

  it.each(['2', '3', '5', '6', '1'])('of all in a directory is one also as a member of type %s', (type) =>
    trial(async ({ takeLayers, directory }) => {
      const opaque: RawMember = { name: 'd/.wh..wh..opq', type, link: directory, major: 1, minor: 3 }
      const image = await takeLayers(tar(dir('d'), opaque, file('d/kept')))
      expect(fs.readdirSync(join(treeOf(image), 'd'))).toEqual(['kept'])
      expect(await isOpaque(join(treeOf(image), 'd'))).toBe(true)
    })(),
  )

  it(
    'may have content, which nobody gets',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(tar(file('.wh.gone', 'content'), file('after', 'x')))
      expect(isWhiteout(join(treeOf(image), 'gone'))).toBe(true)
      expect(fs.readFileSync(join(treeOf(image), 'after'), 'utf8')).toBe('x')
    }),
  )

  it(
    'of a directory that later members are in makes it one that hides what is below',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(
        tar(dir('d'), file('d/lower')),
        tar(file('.wh.d', ''), file('d/upper'), file('e/.wh..wh..opq', ''), file('e/f/g')),
      )
      expect(fs.readdirSync(join(treeOf(image), 'd'))).toEqual(['upper'])
      expect(await isOpaque(join(treeOf(image), 'd'))).toBe(true)
    }),
  )

  it(
    'of a name that the layer itself has leaves that one',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(tar(file('a'), file('.wh.a', ''), file('.wh.b', ''), file('b')))
      expect(['a', 'b'].map((name) => isWhiteout(join(treeOf(image), name)))).toEqual([false, false])
    }),
  )

  it(
    'as a device 0:0, which is how overlayfs keeps it, is a whiteout and no device',
    trial(async ({ takeLayers }) => {
      const device: RawMember = { name: 'gone', type: '3', major: 0, minor: 0, mode: 0o666, uid: 5 }
      const image = await takeLayers(tar(file('gone')), tar(device))
      expect(isWhiteout(join(treeOf(image), 'gone'))).toBe(true)
    }),
  )

  it(
    'with the book-keeping of aufs is not in the tree',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(tar(file('.wh..wh.plnk/1.2', 'x'), file('.wh..wh.aufs', ''), file('kept')))
      expect(
        fs.readdirSync(treeOf(image)).filter((name) => !name.startsWith('.wh.')),
        'names',
      ).toEqual(['kept'])
    }),
  )
})
