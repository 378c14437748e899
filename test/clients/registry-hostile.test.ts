import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { execa } from 'execa'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type UnpackLimits, unpackLimits } from '../../src/images/budget.ts'
import { startExtraction, startMerge } from '../../src/images/extraction.ts'
import type { UnpackedLayer } from '../../src/images/extractor/protocol.ts'
import { removeTree } from '../../src/images/remove-tree.ts'
import { type LayerMember, makeTar } from './fixtures/images.ts'

let outside: string
let tree: string

beforeEach(() => {
  outside = fs.mkdtempSync(join(tmpdir(), 'tscrun-outside-'))
  fs.writeFileSync(join(outside, 'canary'), 'untouched')
  tree = join(outside, 'a', 'b', 'tree')
  fs.mkdirSync(tree, { recursive: true })
})
afterEach(() => {
  fs.rmSync(outside, { recursive: true })
  fs.rmSync(`${outside}.blob`, { force: true })
})

const LIMITS = { ...unpackLimits(1 << 30, 0, tmpdir()), entries: 100_000 }

function writeBlob(bytes: Buffer): string {
  const path = `${outside}.blob`
  fs.writeFileSync(path, bytes)
  return path
}

async function extract(blob: Buffer, limits: Partial<UnpackLimits> = {}): Promise<UnpackedLayer> {
  const extraction = startExtraction(writeBlob(blob), {
    directory: tree,
    overlay: 'trusted.overlay.',
    limits: { ...LIMITS, ...limits },
  })
  for (let at = 1 << 16; at < blob.length; at += 1 << 16) await extraction.advance(at)
  await extraction.advance(blob.length)
  return extraction.finish()
}

async function extractMembers(...members: LayerMember[]): Promise<UnpackedLayer> {
  return extract(await makeTar(members))
}

/** A member whose header tar-stream would not write: type, name and link as they are. */
function rawHeader(
  name: string,
  type: string,
  options: { link?: string; size?: number; prefix?: string } = {},
): Buffer {
  const block = Buffer.alloc(512)
  block.write(name, 0, 'latin1')
  block.write('0000644\0', 100)
  block.write('0000000\0', 108)
  block.write('0000000\0', 116)
  block.write(`${(options.size ?? 0).toString(8).padStart(11, '0')}\0`, 124)
  block.write('00000000000\0', 136)
  block.write('        ', 148)
  block.write(type, 156)
  block.write(options.link ?? '', 157, 'latin1')
  block.write('ustar\x0000', 257)
  block.write(options.prefix ?? '', 345)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

const END = Buffer.alloc(1024)

/** Nothing above the tree has changed. */
function expectConfined(): void {
  expect(fs.readFileSync(join(outside, 'canary'), 'utf8')).toBe('untouched')
  expect(fs.readdirSync(outside).toSorted()).toEqual(['a', 'canary'])
  expect(fs.readdirSync(join(outside, 'a'))).toEqual(['b'])
  expect(fs.readdirSync(join(outside, 'a', 'b'))).toEqual(['tree'])
}

const oneLine = expect.stringMatching(/^[^\n]+$/)

describe('names that try to leave the layer', () => {
  it.each([
    '../canary',
    'x/../../canary',
    '../../../canary',
    './../canary',
    '..',
    '/../canary',
    'a/b/c/../../../../canary',
  ])('refuses %s', async (name) => {
    await expect(extractMembers({ name, content: 'pwned' })).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: oneLine,
    })
    expectConfined()
  })

  it('takes absolute names and `..` that stay inside as names below the root', async () => {
    await extract(Buffer.concat([rawHeader('/abs', '0'), rawHeader('//x/../y', '0'), rawHeader('././/z/.', '5'), END]))
    expect(fs.readdirSync(tree).toSorted()).toEqual(['abs', 'y', 'z'])
  })

  it.each([
    ['a symlink to an absolute directory', '/'],
    ['a symlink upwards', '../../..'],
    ['a symlink to /proc/self/root', '/proc/self/root'],
  ])('writes through %s nowhere but into the layer', async (_, linkname) => {
    const result = await extractMembers(
      { name: 'out', type: 'symlink', linkname },
      { name: 'out/canary', content: 'pwned' },
    ).then(
      () => 'done',
      (error: unknown) => (error as { code?: string }).code,
    )
    expect(['done', 'INVALID_IMAGE']).toContain(result)
    expectConfined()
  })

  it('does not write through a symlink that has the name of a file', async () => {
    await extractMembers(
      { name: 'canary', type: 'symlink', linkname: `${outside}/canary` },
      { name: 'canary', content: 'pwned' },
    )
    expect(fs.lstatSync(join(tree, 'canary')).isFile()).toBe(true)
    expectConfined()
  })

  it('makes no hard link to what is outside', async () => {
    for (const linkname of [`${outside}/canary`, '/etc/passwd', 'etc/passwd']) {
      expect((await extractMembers({ name: 'link', type: 'link', linkname })).missingLinks).toHaveLength(1)
    }
    await expect(extractMembers({ name: 'link', type: 'link', linkname: '../canary' })).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
    })
    expectConfined()
  })

  it.each(['.wh...', '.wh..', '.wh.', 'dir/.wh...'])('refuses the whiteout %s', async (name) => {
    await expect(extractMembers({ name, content: '' })).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: oneLine,
    })
    expectConfined()
  })

  it.each(['file', 'symlink', 'fifo'] as const)('refuses a root that is a %s', async (type) => {
    const member = type === 'symlink' ? { name: './', type, linkname: '/' } : { name: './', type, content: '' }
    await expect(extractMembers(member)).rejects.toMatchObject({ code: 'INVALID_IMAGE', message: oneLine })
    expectConfined()
  })
})

describe('archives that try to exhaust the host', () => {
  it('stops at the byte budget', async () => {
    const tar = await makeTar([{ name: 'big', content: Buffer.alloc(200_000) }])
    await expect(extract(tar, { bytes: 100_000 })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      hint: expect.stringContaining('--max-unpack-size'),
    })
    const many = await makeTar(Array.from({ length: 10 }, (_, i) => ({ name: `f${i}`, content: Buffer.alloc(20_000) })))
    await expect(extract(many, { bytes: 100_000 })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  })

  it('stops at the inode budget, implied directories counted', async () => {
    await expect(extract(await makeTar([{ name: 'a/b/c/d/e/f', content: '' }]), { entries: 5 })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    })
  })

  it('stops a gzip bomb that writes no files', async () => {
    const bomb = gzipSync(Buffer.alloc(64 << 20))
    await expect(extract(Buffer.concat([bomb]), { tarBytes: 2 << 20 })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    })
  })

  it('writes a sparse file of 1 TiB as a hole, or not at all', async () => {
    const pax = {
      'GNU.sparse.major': '1',
      'GNU.sparse.minor': '0',
      'GNU.sparse.name': 'hole',
      'GNU.sparse.realsize': `${2 ** 40}`,
    }
    const content = Buffer.alloc(512)
    content.write('0\n')
    const tar = await makeTar([{ name: 'GNUSparseFile.0/hole', content, pax }])
    await extract(tar, { sizes: 2 ** 40 })
    expect(fs.statSync(join(tree, 'hole'))).toMatchObject({ size: 2 ** 40, blocks: 0 })
    await expect(extract(tar, { sizes: 2 ** 30 })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  })

  it('refuses an extended header of more than 1 MiB', async () => {
    const tar = Buffer.concat([rawHeader('x', 'x', { size: 2 << 20 }), Buffer.alloc(2 << 20)])
    await expect(extract(tar)).rejects.toMatchObject({ code: 'INVALID_IMAGE', message: oneLine })
  })

  it('refuses names longer than the kernel takes', async () => {
    const deep = await makeTar([{ name: 'd/'.repeat(3000), type: 'directory' }])
    await expect(extract(deep)).rejects.toMatchObject({ code: 'INVALID_IMAGE', message: oneLine })
    const long = await makeTar([{ name: 'x'.repeat(256), content: '' }])
    await expect(extract(long)).rejects.toMatchObject({ code: 'INVALID_IMAGE', message: oneLine })
  })

  it('can remove a tree that is deeper than any path may be long', async () => {
    const deep = 'dddd/'.repeat(800)
    await extractMembers(
      { name: `${deep}file`, content: 'x' },
      { name: 'link', type: 'symlink', linkname: deep.slice(0, -1) },
      { name: `link/${deep}file`, content: 'x' },
    )
    await expect(execa('stat', [join(tree, deep, deep, 'file')])).rejects.toThrow('File name too long')
    removeTree(tree, outside)
    expect(fs.existsSync(tree)).toBe(false)
  })
})

describe('archives that are damaged', () => {
  it.each([1, 511, 513, 700, 1500])('refuses one cut off after %i bytes', async (size) => {
    const tar = await makeTar([{ name: 'file', content: Buffer.alloc(2000, 1) }])
    await expect(extract(tar.subarray(0, size))).rejects.toMatchObject({ code: 'INVALID_IMAGE', message: oneLine })
  })

  it('refuses gzip that is cut off, damaged, or not gzip', async () => {
    const blob = gzipSync(await makeTar([{ name: 'file', content: Buffer.alloc(200_000, 1) }]))
    const damaged = Buffer.from(blob)
    damaged.fill(0xff, 100, 120)
    for (const bad of [
      blob.subarray(0, -10),
      blob.subarray(0, 100),
      damaged,
      Buffer.from('no archive at all'.repeat(100)),
    ]) {
      await expect(extract(bad)).rejects.toMatchObject({ code: 'INVALID_IMAGE', message: oneLine })
    }
  })

  it.each([
    ['xz', Buffer.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0, 0)],
    ['bzip2', Buffer.from('BZh91AY&SY')],
  ])('says that %s is not supported', async (name, blob) => {
    await expect(extract(blob)).rejects.toMatchObject({ code: 'INVALID_IMAGE', message: expect.stringContaining(name) })
  })

  it('refuses owners out of range, wrong checksums and unknown types', async () => {
    const wrongSum = rawHeader('file', '0')
    wrongSum[0] = 0x41
    const owner = await makeTar([{ name: 'file', content: '', pax: { uid: '4294967296' } }])
    for (const tar of [wrongSum, rawHeader('file', 'V'), owner]) {
      await expect(extract(Buffer.concat([tar, END]))).rejects.toMatchObject({
        code: 'INVALID_IMAGE',
        message: oneLine,
      })
    }
  })
})

describe('names in strange shapes', () => {
  it('keeps names apart that are no UTF-8', async () => {
    const names = ['\xff\xfe', '\xff\xfd', '\xc3\xa4', 'new\nline', ' ', '\\', '*']
    await extract(Buffer.concat([...names.map((name) => rawHeader(name, '0')), END]))
    const found = fs.readdirSync(Buffer.from(tree), { encoding: 'buffer' }).map((name) => name.toString('latin1'))
    expect(found.toSorted()).toEqual(names.toSorted())
  })

  it('lets the last of several members of one name win', async () => {
    await extractMembers(
      { name: 'a', content: 'first' },
      { name: 'a', type: 'directory' },
      { name: 'a/inside', content: 'x' },
      { name: 'b', type: 'directory', mode: 0o700 },
      { name: 'b', type: 'directory', mode: 0o711 },
      { name: 'c/full', content: 'x' },
      { name: 'c', content: 'file now' },
      { name: 'd', content: 'long content' },
      { name: 'd', content: 'short' },
    )
    expect(fs.readdirSync(join(tree, 'a'))).toEqual(['inside'])
    expect(fs.statSync(join(tree, 'b')).mode & 0o777).toBe(0o711)
    expect(fs.readFileSync(join(tree, 'c'), 'utf8')).toBe('file now')
    expect(fs.readFileSync(join(tree, 'd'), 'utf8')).toBe('short')
  })

  it('does not change a file through a later member that replaces its hard link', async () => {
    await extractMembers(
      { name: 'a', content: 'kept' },
      { name: 'b', type: 'link', linkname: 'a' },
      { name: 'b', content: 'new' },
    )
    expect(fs.readFileSync(join(tree, 'a'), 'utf8')).toBe('kept')
    expect(fs.readFileSync(join(tree, 'b'), 'utf8')).toBe('new')
  })

  it('keeps what a layer has under a name it also whites out', async () => {
    await extractMembers(
      { name: 'first', content: 'x' },
      { name: '.wh.first', content: '' },
      { name: '.wh.second', content: '' },
      { name: 'second', content: 'x' },
      { name: '.wh.third', content: '' },
      { name: 'third/inside', content: 'x' },
    )
    expect(fs.statSync(join(tree, 'first')).isFile()).toBe(true)
    expect(fs.statSync(join(tree, 'second')).isFile()).toBe(true)
    const { stdout } = await execa('getfattr', ['-n', 'trusted.overlay.opaque', '--only-values', 'third'], {
      cwd: tree,
    })
    expect(stdout).toBe('y')
  })
})

describe('the extractor process', () => {
  it('sees nothing but the layer, has no network and few capabilities', async () => {
    const tar = await makeTar([{ name: 'file', content: 'x' }])
    const request = { directory: tree, overlay: 'trusted.overlay.', limits: LIMITS } as const
    const extraction = startExtraction(writeBlob(tar), request)
    await extraction.advance(tar.length)
    const { pid } = extraction
    await expect.poll(() => fs.readdirSync(`/proc/${pid}/root`)).toEqual(['file'])
    expect(fs.readlinkSync(`/proc/${pid}/ns/mnt`)).not.toBe(fs.readlinkSync('/proc/self/ns/mnt'))
    expect(fs.readlinkSync(`/proc/${pid}/ns/net`)).not.toBe(fs.readlinkSync('/proc/self/ns/net'))
    expect(fs.readFileSync(`/proc/${pid}/mounts`, 'utf8').trim().split('\n')).toHaveLength(1)
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8')
    expect(status).toMatch(/^CapEff:\t000000008820001b$/m)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    expect(fs.readFileSync(`/proc/${pid}/environ`, 'utf8')).toBe('')
    await extraction.finish()
  })

  it('sees nothing but the layers, read-only, and the new tree where it copies them into one', async () => {
    const [lower, upper, target] = ['lower', 'upper', 'target'].map((name) => join(tree, name))
    for (const path of [lower, upper, target]) fs.mkdirSync(path ?? '')
    // Enough to be looked at while it is copied.
    fs.writeFileSync(join(lower ?? '', 'big'), Buffer.alloc(256 << 20, 'x'))
    const merge = startMerge({ directory: target ?? '', layers: [lower ?? '', upper ?? ''], limits: LIMITS })
    const { pid = 0 } = merge
    const file = (name: string): string => fs.readFileSync(`/proc/${pid}/${name}`, 'utf8')
    await expect.poll(() => fs.existsSync(`/proc/${pid}/root/to/big`), { interval: 2 }).toBe(true)
    process.kill(pid, 'SIGSTOP')
    try {
      expect(fs.readdirSync(`/proc/${pid}/root`).toSorted()).toEqual(['from', 'to'])
      const mounts = file('mounts')
        .trim()
        .split('\n')
        .map((line) => line.split(' '))
      const shown = mounts.map(([, place, , options]) => `${place} ${options?.split(',')[0]}`)
      expect(shown.toSorted()).toEqual(['/ rw', '/from/0 ro', '/from/1 ro', '/to rw'])
      expect(fs.readlinkSync(`/proc/${pid}/ns/net`)).not.toBe(fs.readlinkSync('/proc/self/ns/net'))
      expect(file('status')).toMatch(/^CapEff:\t000000008820001b$/m)
      expect(file('environ')).toBe('')
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    expect(await merge.finish()).toEqual({ inodes: 1 })
    expect(fs.statSync(join(target ?? '', 'big')).size).toBe(256 << 20)
  })
})
