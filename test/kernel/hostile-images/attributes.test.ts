import * as fs from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { base256, dir, file, pax, type RawMember, symlink, tar } from './fixtures/tar.ts'
import { prepareTrials, type Trial, treeOf, trial } from './fixtures/trial.ts'

prepareTrials()

/** Whether the filesystem has it or not: it is taken, or refused in this way. */
async function expectTakenOr(
  { takeLayers, expectRefused }: Trial,
  archive: Buffer,
  code: string | readonly string[],
  line?: RegExp,
): Promise<'taken' | 'refused'> {
  const taken = await takeLayers(archive).then(
    () => true,
    () => false,
  )
  if (taken) return 'taken'
  await expectRefused(takeLayers(archive), code, line)
  return 'refused'
}

async function attributesOf(path: string): Promise<readonly string[]> {
  const { stdout } = await execa('getfattr', ['--absolute-names', '-h', '-d', '-m', '-', '-e', 'hex', path])
  return stdout.split('\n').filter((line) => line.includes('='))
}

/** cap_net_raw+ep of version 2, as setcap writes it. */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')

describe.concurrent('attributes of files', () => {
  const STEERING = [
    'trusted.overlay.opaque',
    'trusted.overlay.redirect',
    'trusted.overlay.metacopy',
    'trusted.overlay.whiteout',
    'trusted.overlay.overlay.opaque',
    'user.overlay.opaque',
    'user.overlay.redirect',
    'user.overlay.whiteouts',
    'trusted.anything',
    'security.selinux',
    'security.ima',
    'security.evm',
    'security.apparmor',
    'system.nfs4_acl',
    'btrfs.compression',
  ]

  it.each(['SCHILY.xattr.', 'LIBARCHIVE.xattr.'])(
    'that steer overlayfs or belong to the host never reach the store (%s)',
    (prefix) =>
      trial(async ({ takeLayers }) => {
        const encode = (text: string): string => (prefix.startsWith('L') ? Buffer.from(text).toString('base64') : text)
        const all = STEERING.map((name) => [`${prefix}${name}`, encode('y')] as const)
        const kinds: readonly RawMember[] = [
          file('f'),
          dir('d'),
          symlink('l', 'x'),
          { name: 'p', type: '6' },
          dir('./'),
        ]
        const image = await takeLayers(tar(...kinds.map((kind) => pax(all, kind))))
        for (const name of ['f', 'd', 'l', 'p', '.'])
          expect(await attributesOf(join(treeOf(image), name)), name).toEqual([])
      })(),
  )

  it(
    'that programs use are kept: user., capabilities, access lists',
    trial(async ({ takeLayers }) => {
      const own = [
        ['SCHILY.xattr.user.mine', 'value'],
        ['SCHILY.xattr.security.capability', CAPABILITY],
      ] as const
      const image = await takeLayers(tar(pax(own, file('f'))))
      expect(await attributesOf(join(treeOf(image), 'f'))).toEqual([
        `security.capability=0x${CAPABILITY.toString('hex')}`,
        `user.mine=0x${Buffer.from('value').toString('hex')}`,
      ])
    }),
  )

  it.each([
    ['a capability that is none', [['SCHILY.xattr.security.capability', 'x']]],
    ['a name that is too long', [[`SCHILY.xattr.user.${'n'.repeat(300)}`, 'x']]],
    ['a name that is empty', [['SCHILY.xattr.user.', 'x']]],
    ['no name at all', [['SCHILY.xattr.', 'x']]],
    ['an access list that is none', [['SCHILY.xattr.system.posix_acl_access', 'x']]],
  ] as const)('with %s end in a line, or are left out', (_, list) =>
    trial(async (made) => {
      await expectTakenOr(made, tar(pax(list, file('f'))), ['INVALID_IMAGE', 'STORE'])
    })(),
  )

  it(
    'that do not fit into the filesystem are no lack of room',
    trial(async (made) => {
      const many = Array.from({ length: 40 }, (_, i) => [`SCHILY.xattr.user.a${i}`, 'v'.repeat(2000)] as const)
      await expectTakenOr(made, tar(pax(many, file('f'))), 'STORE', /cannot hold/)
    }),
  )
})

describe.concurrent('owners', () => {
  it.each([
    ['-1', base256(-1n, 8)],
    ['2^31', base256(2n ** 31n, 8)],
    ['2^32', base256(2n ** 32n, 8)],
    ['2^40', base256(2n ** 40n, 8)],
  ] as const)('of %s are refused, in the header and in PAX, of user and group', (text, bytes) =>
    trial(async ({ takeLayers, expectRefused }) => {
      const number = text.includes('^') ? `${2 ** Number(text.slice(2))}` : text
      for (const archive of [
        tar(file('f', '', { uid: bytes })),
        tar(dir('d', { gid: bytes })),
        tar(pax([['uid', number]], file('f'))),
        tar(pax([['gid', number]], symlink('f', 'x'))),
      ]) {
        await expectRefused(takeLayers(archive), 'INVALID_IMAGE', /out of range|not a number/)
      }
    })(),
  )

  it(
    'up to 2^31-1 are kept, names of users mean nothing',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(
        tar(
          pax(
            [
              ['uid', '2147483647'],
              ['gid', '100000'],
              ['uname', 'root'],
            ],
            file('f'),
          ),
        ),
      )
      expect(fs.statSync(join(treeOf(image), 'f'))).toMatchObject({ uid: 2147483647, gid: 100000 })
    }),
  )
})

describe.concurrent('times', () => {
  it.each(['NaN', 'Infinity', '1e400', '', 'x', '1.2.3', '0x10', '9'.repeat(30), '-'])(
    'of "%s" are refused, or none',
    (text) =>
      trial(async (made) => {
        const outcome = await expectTakenOr(made, tar(pax([['mtime', text]], file('f'))), 'INVALID_IMAGE')
        expect(outcome).toBe(text === '' ? 'taken' : 'refused')
      })(),
  )

  it.each([
    ['before 1970', base256(-1n, 12)],
    ['at the beginning of all', base256(-(2n ** 62n), 12)],
    ['at the end of all', base256(2n ** 62n, 12)],
    ['in the year 30000', base256(884_541_340_800n, 12)],
  ] as const)('%s are set as far as the filesystem goes, or refused', (_, mtime) =>
    trial(async (made) => {
      await expectTakenOr(
        made,
        tar(file('f', '', { mtime }), dir('d', { mtime }), symlink('l', 'x')),
        'INVALID_IMAGE',
        /out of range/,
      )
    })(),
  )
})

describe.concurrent('device numbers', () => {
  it.each([
    [4096, 0],
    [0, 1_048_576],
  ] as const)('out of range are refused: %i:%i', (major, minor) =>
    trial(async ({ takeLayers, expectRefused }) => {
      await expectRefused(takeLayers(tar({ name: 'd', type: '3', major, minor })), 'INVALID_IMAGE', /out of range/)
    })(),
  )
})

describe.concurrent('what runs with other rights', () => {
  it(
    'keeps its set-id bits, and nobody but root gets to it',
    trial(async ({ takeLayers, root }) => {
      const image = await takeLayers(tar(file('s', '', { mode: 0o6755, uid: 0 }), { ...dir('d'), mode: 0o2775 }))
      expect(fs.statSync(join(treeOf(image), 's')).mode & 0o7777).toBe(0o6755)
      expect(fs.statSync(join(treeOf(image), 'd')).mode & 0o7777).toBe(0o2775)
      expect(fs.statSync(root).mode & 0o77).toBe(0)
    }),
  )

  it(
    'as a device is a node in the store that nobody opens there',
    trial(async ({ takeLayers }) => {
      const image = await takeLayers(
        tar({ name: 'disk', type: '4', major: 8, minor: 0, mode: 0o666 }, { name: 'p', type: '6' }),
      )
      expect(fs.lstatSync(join(treeOf(image), 'disk')).isBlockDevice()).toBe(true)
    }),
  )
})
