import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openPlainFiles } from '../../../src/images/extractor/plain-files.ts'
import { base256, member, pax, type RawMember } from './fixtures/tar.ts'

const PLENTY = { files: 1000, bytes: 1 << 30, chown: false }
let directory: string
let before: string

beforeEach(() => {
  before = process.cwd()
  directory = fs.mkdtempSync(join(tmpdir(), 'tscrun-plain-'))
  process.chdir(directory)
})

afterEach(() => {
  process.chdir(before)
  fs.rmSync(directory, { recursive: true })
})

describe('the files of a layer that are written in one call', () => {
  it('have content, mode, owner and time of their headers, and leave nothing open', () => {
    fs.mkdirSync('usr')
    const open = fs.readdirSync('/proc/self/fd').length
    const first = member({ name: 'usr/a', content: 'x'.repeat(700), mode: 0o640, uid: 7, gid: 8, mtime: 1234 })
    const gnu = (block: Buffer): void => void block.write('ustar  \0', 257, 'latin1')
    const tar = Buffer.concat([
      first,
      member({ name: 'b', prefix: 'usr' }),
      member({ name: 'c', content: '!', patch: gnu }),
    ])
    const umask = process.umask(0)
    try {
      expect(openPlainFiles()(tar, PLENTY)).toEqual({ taken: tar.length, files: 3, bytes: 701 })
    } finally {
      process.umask(umask)
    }
    const { mode, uid, gid, mtimeMs, atimeMs } = fs.statSync('usr/a')
    expect({ mode, uid, gid, mtimeMs, atimeMs }).toEqual({
      mode: 0o100640,
      uid: 7,
      gid: 8,
      mtimeMs: 1_234_000,
      atimeMs: 1_234_000,
    })
    expect(fs.readFileSync('usr/a', 'latin1')).toBe('x'.repeat(700))
    expect(fs.statSync('usr/b').size).toBe(0)
    expect(fs.readFileSync('c', 'latin1')).toBe('!')
    expect(fs.readdirSync('/proc/self/fd')).toHaveLength(open)
  })

  const others: Readonly<Record<string, RawMember>> = {
    'a set-id bit': { name: 'a', mode: 0o4755 },
    'a way up': { name: 'x/../../a' },
    'an absolute name': { name: '/a' },
    'a whiteout': { name: '.wh.a' },
    'an empty component': { name: 'x//a' },
    'a slash at the end': { name: 'a/' },
    'no name': { name: '' },
    'a parent that is not there': { name: 'missing/a' },
    'a name that is taken': { name: 'taken' },
    'a name that is a symlink': { name: 'link' },
    'a parent that is a file': { name: 'taken/a' },
    'a link': { name: 'a', type: '1', link: 'taken' },
    'a directory': { name: 'a', type: '5' },
    'a sparse file': { name: 'a', type: 'S' },
    'a number that is not octal': { name: 'a', uid: base256(5n, 8) },
    'an owner that a container has not': { name: 'a', uid: 65_536 },
    'a group that a container has not': { name: 'a', gid: 65_536 },
    'a negative time': { name: 'a', mtime: base256(-5n, 12) },
    'garbage in a number': { name: 'a', size: Buffer.from('7x') },
    'a wrong checksum': { name: 'a', wrong: 1 },
    'no magic': { name: 'a', patch: (block) => void block.fill(0, 257, 265) },
    'more content than there is': { name: 'a', size: 5000 },
  }
  it.each(Object.entries(others))('are those before %s', (_, other) => {
    fs.writeFileSync('taken', 'old')
    fs.symlinkSync('/etc/passwd-of-nobody', 'link')
    fs.mkdirSync('x')
    const plain = member({ name: 'plain', content: '1' })
    expect(openPlainFiles()(Buffer.concat([plain, member(other)]), PLENTY)).toEqual({ taken: 1024, files: 1, bytes: 1 })
    expect(fs.readdirSync('.').toSorted()).toEqual(['link', 'plain', 'taken', 'x'])
    expect(fs.readFileSync('taken', 'utf8')).toBe('old')
    expect(fs.readdirSync('x')).toEqual([])
  })

  it('are those before an extended header, and as many as are allowed', () => {
    const write = openPlainFiles()
    const extended = pax([['mtime', '1.5']], { name: 'extended' })
    expect(write(Buffer.concat([member({ name: 'a' }), extended]), PLENTY).taken).toBe(512)
    const tar = Buffer.concat(['b', 'c', 'd'].map((name) => member({ name, content: 'yy' })))
    expect(write(tar, { ...PLENTY, files: 2 }).files).toBe(2)
    expect(write(tar.subarray(2048), { ...PLENTY, bytes: 1 }).taken).toBe(0)
    expect(write(tar.subarray(2048), { ...PLENTY, files: -1 }).taken).toBe(0)
    expect(fs.readdirSync('.').toSorted()).toEqual(['a', 'b', 'c'])
  })
})
