import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../src/images/host-platform.ts'
import { pullImage } from '../../src/images/pull.ts'
import { openImageStore, type StoredImage } from '../../src/images/store.ts'
import { parseReference } from '../../src/model/reference.ts'
import { busyboxMembers, type ImageSpec, makeImage, pushImages, writeLayout } from './fixtures/images.ts'
import { startRegistry, type TestRegistry } from './fixtures/registry.ts'
import { readDirectory, treeDifferences } from './fixtures/trees.ts'

let registry: TestRegistry
let root: string
let work: string
let count = 0

beforeAll(async () => {
  registry = await startRegistry()
})
afterAll(async () => {
  await registry.stop()
})
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'tscrun-store-'))
  work = fs.mkdtempSync(join(tmpdir(), 'tscrun-work-'))
})
afterEach(() => {
  fs.rmSync(root, { recursive: true })
  fs.rmSync(work, { recursive: true })
})

async function unpack(layers: ImageSpec['layers'], options: readonly string[] = []): Promise<StoredImage> {
  const name = await pushImages(registry.host, `unpack:${++count}`, [await makeImage({ layers })], options)
  return pullImage(openImageStore({ root }), parseReference(name), { platform: hostPlatform(), policy: 'missing' })
}

async function differences(tree: string, other: string): Promise<readonly string[]> {
  return treeDifferences(await readDirectory(tree), await readDirectory(other))
}

async function umociTree(layer: Buffer): Promise<string> {
  const image = await makeImage({ layers: [layer] })
  writeLayout(join(work, 'layout'), [image])
  await execa('umoci', ['unpack', '--image', `${join(work, 'layout')}:image`, join(work, 'bundle')])
  return join(work, 'bundle', 'rootfs')
}

/** A tree with one of everything, as GNU tar archives it. */
async function archiveOfEverything(...options: string[]): Promise<Buffer> {
  const script = `
    set -e
    cd ${join(work, 'tree')}
    mkdir -p plain/deep sticky setgid/sub; chmod 1777 sticky; chmod 2755 setgid; chown 0:50 setgid
    echo text > plain/file; ln plain/file plain/deep/hard; ln -s ../file plain/deep/soft; ln -s /nowhere plain/dangling
    echo x > plain/suid; chown 7:8 plain/suid; chmod 6755 plain/suid
    mkfifo plain/fifo; mknod plain/null c 1 3; mknod plain/loop b 7 300
    truncate -s 10M plain/sparse; printf tail | dd of=plain/sparse bs=1 seek=9000000 conv=notrunc status=none
    printf mid | dd of=plain/sparse bs=1 seek=4000000 conv=notrunc status=none
    : > plain/empty; truncate -s 1M plain/hole
    name=$(printf 'n%.0s' $(seq 200)); mkdir $name; echo long > $name/$name; ln -s $name/$name long-link
    printf bytes > "$(printf 'plain/\\377\\376')"
    setfattr -n user.note -v hello plain/file; setcap cap_net_raw+ep plain/suid
    chown -h 11:12 plain/deep/soft
    find . -exec touch -h -d '2020-02-03 04:05:06.123456789' {} +`
  fs.mkdirSync(join(work, 'tree'))
  await execa('bash', ['-c', script])
  const archived = await execa('tar', ['-C', join(work, 'tree'), ...options, '-cf', join(work, 'layer.tar'), '.'])
  expect(archived.stderr).toBe('')
  return fs.readFileSync(join(work, 'layer.tar'))
}

describe('unpacking layers', () => {
  it.each([
    ['PAX with sparse format 1.0', ['--format=pax', '--xattrs', '--xattrs-include=*', '-S']],
    ['PAX with sparse format 0.1', ['--format=pax', '--xattrs', '--xattrs-include=*', '-S', '--sparse-version=0.1']],
    ['PAX with sparse format 0.0', ['--format=pax', '--xattrs', '--xattrs-include=*', '-S', '--sparse-version=0.0']],
  ])('gives the tree umoci gives, from %s', async (_, options) => {
    const layer = await archiveOfEverything(...options)
    const [tree = ''] = (await unpack([layer])).layers
    expect(await differences(tree, await umociTree(layer))).toEqual([])
  })

  it('gives the tree GNU tar gives, from its own format with old sparse files and long names', async () => {
    const layer = await archiveOfEverything('--format=gnu', '-S')
    const [tree = ''] = (await unpack([layer])).layers
    fs.mkdirSync(join(work, 'oracle'))
    await execa('tar', ['-C', join(work, 'oracle'), '--numeric-owner', '-xpf', join(work, 'layer.tar')])
    expect(await differences(tree, join(work, 'oracle'))).toEqual([])
  })

  it('gives the bytes of the original back, and holes as holes', async () => {
    const layer = await archiveOfEverything('--format=pax', '-S')
    const [tree = ''] = (await unpack([layer])).layers
    await execa('diff', ['-r', '--no-dereference', '-x', 'fifo', '-x', 'null', '-x', 'loop', join(work, 'tree'), tree])
    expect(fs.statSync(join(tree, 'plain/sparse')).blocks).toBeLessThan(1000)
    expect(fs.statSync(join(tree, 'plain/hole'))).toMatchObject({ blocks: 0, size: 1 << 20 })
  })

  it.each(['zstd', 'gzip'])('takes %s layers', async (format) => {
    const options = ['--dest-compress-format', format, '--dest-compress', '--dest-force-compress-format']
    const flags = format === 'gzip' ? [] : options.slice(0, 3)
    const image = await unpack([busyboxMembers()], flags)
    const [tree = ''] = image.layers
    expect(fs.readFileSync(join(tree, 'bin/busybox')).equals(fs.readFileSync('/bin/busybox'))).toBe(true)
    const manifest = JSON.parse(openImageStore({ root }).readBlob(image.manifest.digest).toString()) as {
      layers: { mediaType: string }[]
    }
    expect(manifest.layers[0]?.mediaType).toMatch(new RegExp(`${format}$`))
  })

  it('keeps owner, mode and time of a directory that a higher layer only implies', async () => {
    const image = await unpack([
      [
        { name: 'srv/', type: 'directory', mode: 0o750, uid: 33, gid: 44 },
        { name: 'srv/data/', type: 'directory', mode: 0o1777, uid: 55, gid: 66 },
      ],
      [{ name: 'other', content: '' }],
      [{ name: 'srv/data/new/file', content: 'x' }],
    ])
    const top = image.layers[2] ?? ''
    const mtime = new Date(1_600_000_000_000)
    expect(fs.statSync(join(top, 'srv'))).toMatchObject({ mode: 0o040750, uid: 33, gid: 44, mtime })
    expect(fs.statSync(join(top, 'srv/data'))).toMatchObject({ mode: 0o041777, uid: 55, gid: 66, mtime })
    expect(fs.statSync(join(top, 'srv/data/new'))).toMatchObject({ mode: 0o040755, uid: 0, gid: 0 })
  })

  it('does not inherit through an opaque directory or a whiteout', async () => {
    const image = await unpack([
      [
        { name: 'a/', type: 'directory', mode: 0o700 },
        { name: 'a/b/', type: 'directory', mode: 0o700 },
        { name: 'c/', type: 'directory', mode: 0o700 },
      ],
      [
        { name: 'a/', type: 'directory', mode: 0o711 },
        { name: 'a/.wh..wh..opq', content: '' },
        { name: '.wh.c', content: '' },
      ],
      [
        { name: 'a/b/file', content: 'x' },
        { name: 'c/file', content: 'x' },
      ],
    ])
    const top = image.layers[2] ?? ''
    expect(fs.statSync(join(top, 'a')).mode).toBe(0o040711)
    expect(fs.statSync(join(top, 'a/b')).mode).toBe(0o040755)
    expect(fs.statSync(join(top, 'c')).mode).toBe(0o040755)
  })

  it('copies up a file of a lower layer that is only linked to', async () => {
    const image = await unpack([
      [{ name: 'bin/tool', content: 'tool', mode: 0o4755, uid: 3, gid: 4 }],
      [
        { name: 'usr/alias', type: 'link', linkname: 'bin/tool' },
        { name: 'usr/second', type: 'link', linkname: 'bin/tool' },
      ],
    ])
    const top = image.layers[1] ?? ''
    const stats = fs.statSync(join(top, 'usr/alias'))
    expect(stats).toMatchObject({ mode: 0o104755, uid: 3, gid: 4, nlink: 3, mtime: new Date(1_600_000_000_000) })
    expect(fs.statSync(join(top, 'bin/tool')).ino).toBe(stats.ino)
    expect(fs.readFileSync(join(top, 'usr/second'), 'utf8')).toBe('tool')
    expect(fs.statSync(join(top, 'bin')).mode).toBe(0o040755)
  })

  it('is what overlayfs mounts: whiteouts hide, opaque directories are empty, the rest shines through', async () => {
    const image = await unpack([
      [
        { name: 'keep', content: '1' },
        { name: 'gone', content: '1' },
        { name: 'dir/old', content: '1' },
        { name: 'again/old', content: '1' },
      ],
      [
        { name: '.wh.gone', content: '' },
        { name: 'dir/.wh..wh..opq', content: '' },
        { name: 'dir/new', content: '2' },
        { name: '.wh.again', content: '' },
        { name: 'again/', type: 'directory' },
        { name: 'again/new', content: '2' },
      ],
    ])
    const mounted = join(work, 'mounted')
    fs.mkdirSync(mounted)
    const lower = [...image.layers].reverse().join(':')
    const script = `mount -t overlay overlay -o "lowerdir=$1" "$2" && cd "$2" && find . -type f | sort`
    const { stdout } = await execa('unshare', ['-m', 'sh', '-c', script, 'sh', lower, mounted])
    expect(stdout.split('\n')).toEqual(['./again/new', './dir/new', './keep'])
  })

  it('lets no attribute of overlayfs into the store', async () => {
    const pax = {
      'SCHILY.xattr.trusted.overlay.opaque': 'y',
      'SCHILY.xattr.trusted.overlay.redirect': '/etc',
      'SCHILY.xattr.user.overlay.opaque': 'y',
      'SCHILY.xattr.trusted.other': 'x',
      'SCHILY.xattr.user.kept': 'yes',
    }
    const [tree = ''] = (
      await unpack([
        [
          { name: 'dir/', type: 'directory', pax },
          { name: 'dir/file', content: 'x', pax },
        ],
      ])
    ).layers
    const { stdout } = await execa('getfattr', ['-R', '-h', '-d', '-m', '-', '.'], { cwd: tree })
    expect(stdout.match(/^\w.*=.*$/gm)).toEqual(['user.kept="yes"', 'user.kept="yes"'])
  })
})
