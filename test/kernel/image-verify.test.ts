import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa, execaSync } from 'execa'
import * as fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openLayoutDirectory, readImages } from '../../src/images/archives/read.ts'
import { setXattr } from '../../src/images/extractor/kernel.ts'
import { hostPlatform } from '../../src/images/host-platform.ts'
import { openImageStore, type ImageStore } from '../../src/images/store.ts'
import { takeIn } from '../../src/images/take-in.ts'
import { type ImageFinding, verifyImages } from '../../src/images/verify/image.ts'
import { type LayerMember, makeImage, type MadeImage, writeLayout } from '../clients/fixtures/images.ts'
import { CHANGES, layerOfEverything } from './fixtures/marked-image.ts'
import '../setup/seed.ts'

let directory: string
/** Loaded once, and copied for each test. */
let model: string
let image: MadeImage
let store: ImageStore
beforeAll(async () => {
  directory = fs.mkdtempSync(join(tmpdir(), 'tscrun-verify-'))
  model = join(directory, 'model')
  image = await makeImage({ layers: [await layerOfEverything(directory), ...CHANGES] })
  await load(openImageStore({ root: model }), image)
})
afterAll(() => fs.rmSync(directory, { recursive: true }))
let root = ''
beforeEach(async () => {
  root = fs.mkdtempSync(join(directory, 'store-'))
  await execa('cp', ['-a', `${model}/.`, root])
  store = openImageStore({ root })
})
afterEach(() => fs.rmSync(root, { recursive: true }))

let loads = 0
async function load(into: ImageStore, made: MadeImage, name = 'docker.io/library/everything:1'): Promise<void> {
  const layout = join(directory, `layout-${++loads}`)
  writeLayout(layout, [made])
  for (const { source } of await readImages(openLayoutDirectory(layout))) {
    await takeIn(into, source, { platform: hostPlatform(), names: [name] })
  }
  fs.rmSync(layout, { recursive: true })
}

async function findings(deep = true): Promise<readonly ImageFinding[]> {
  const found: ImageFinding[] = []
  for await (const verdict of verifyImages(store.paths, store.entries(), { deep })) found.push(...verdict.findings)
  return found
}

const whats = async (deep = true): Promise<readonly string[]> =>
  (await findings(deep)).map(({ part, what }) => `${part}: ${what}`)

/** Absolute path of a name in a layer, counted from the bottom. */
const inLayer = (index: number, name: string): string => join(store.list()[0]?.layers[index] ?? '', name)
const blob = (digest: string | undefined): string => join(root, 'images/blobs/sha256', digest?.slice(7) ?? '')

/** Changes a file and leaves its time as it was. */
function rewrite(path: string, change: (bytes: Buffer) => Buffer): void {
  const { atimeMs, mtimeMs } = fs.statSync(path)
  fs.writeFileSync(path, change(fs.readFileSync(path)))
  fs.utimesSync(path, atimeMs / 1000, mtimeMs / 1000)
}

const flipped = (bytes: Buffer): Buffer => {
  const other = Buffer.from(bytes)
  other[other.length >> 1] = (other[other.length >> 1] ?? 0) ^ 1
  return other
}

const remove = (name: string, path: string): void => void execaSync('setfattr', ['-h', '-x', name, path])

/** One name of a file goes; the other stays. It may come back as a file of its own. */
function unlink(path: string, { back }: { readonly back: boolean }): void {
  const copy = `${path}.copy`
  execaSync('cp', ['-a', path, copy])
  fs.rmSync(path)
  if (back) fs.renameSync(copy, path)
  else fs.rmSync(copy)
}

function replace(path: string, target: string): void {
  fs.rmSync(path)
  fs.symlinkSync(target, path)
}

describe('a stored image', () => {
  it('with one of everything is found whole', async () => {
    expect(await findings()).toEqual([])
  })

  it.each<[string, RegExp, () => void]>([
    ['a blob that is missing', /^blob: is missing$/, () => fs.rmSync(blob(image.layers[0]?.digest))],
    [
      'a blob that is cut off',
      /^blob: has \d+ bytes, not \d+$/,
      () => fs.truncateSync(blob(image.layers[1]?.digest), 9),
    ],
    ['a blob with a bit turned', /^blob: has other bytes/, () => rewrite(blob(image.layers[0]?.digest), flipped)],
    ['a config with a bit turned', /^blob: has other bytes/, () => rewrite(blob(image.config.digest), flipped)],
    ['a manifest with a bit turned', /^blob: has other bytes/, () => rewrite(blob(image.manifest.digest), flipped)],
    ['a record that is empty', /^record: is missing or damaged$/, () => fs.truncateSync(recordPath())],
    [
      'a record that says something else',
      /^record: does not say what the config/,
      () => rewrite(recordPath(), (bytes) => Buffer.from(bytes.toString().replace('"user":""', '"user":"root"'))),
    ],
    ['a layer that is missing', /^layer: is missing$/, () => fs.rmSync(inLayer(1, ''), { recursive: true })],
    ['a layer without its note', /^layer: has no note/, () => fs.rmSync(join(root, 'records', notes()[0] ?? ''))],
  ])('%s is found without reading the layers', async (_, line, spoil) => {
    spoil()
    const found = await whats(false)
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(line)
  })

  const recordPath = (): string => join(root, 'records', `${image.config.digest.slice(7)}.json`)
  const notes = (): string[] => fs.readdirSync(join(root, 'records')).filter((name) => name.startsWith('layer-'))

  it.each<[string, string, () => void]>([
    ['is missing', '"data/plain/dangling"', () => fs.rmSync(inLayer(0, 'data/plain/dangling'))],
    ['is not of this layer', '"data/sticky/new"', () => fs.writeFileSync(inLayer(0, 'data/sticky/new'), '')],
    ['has other content', '"data/was-file"', () => rewrite(inLayer(0, 'data/was-file'), flipped)],
    ['has other content', '"data/plain/sparse"', () => rewrite(inLayer(0, 'data/plain/sparse'), flipped)],
    ['has 0 bytes, not 5', '"data/plain/deep/hard"', () => fs.truncateSync(inLayer(0, 'data/plain/file'))],
    ['has mode 0777, not 1777', '"data/sticky"', () => fs.chmodSync(inLayer(0, 'data/sticky'), 0o777)],
    ['belongs to 0:1000, not 1000:1000', '"data/shut"', () => fs.chownSync(inLayer(0, 'data/shut'), 0, 1000)],
    ['has another time', '"data/plain/null"', () => fs.utimesSync(inLayer(0, 'data/plain/null'), 1, 1)],
    ['has lost the attribute user.note', '"data/sticky"', () => remove('user.note', inLayer(0, 'data/sticky'))],
    [
      'has lost the attribute security.capability',
      '"data/plain/capable"',
      () => remove('security.capability', inLayer(0, 'data/plain/capable')),
    ],
    [
      'has another value of the attribute user.note',
      '"data/sticky"',
      () => setXattr(Buffer.from(inLayer(0, 'data/sticky')), 'user.note', Buffer.from('DIR')),
    ],
    [
      'has the attribute user.new, which is not of this layer',
      '"data/shut"',
      () => setXattr(Buffer.from(inLayer(0, 'data/shut')), 'user.new', Buffer.from('1')),
    ],
    [
      'has the attribute trusted.overlay.redirect, which is not of this layer',
      '"data/shut"',
      () => setXattr(Buffer.from(inLayer(0, 'data/shut')), 'trusted.overlay.redirect', Buffer.from('/etc')),
    ],
    [
      'hides what is below it',
      '"data/was-dir"',
      () => setXattr(Buffer.from(inLayer(3, 'data/was-dir')), 'trusted.overlay.opaque', Buffer.from('y')),
    ],
    [
      'has lost the mark that hides what is below it',
      '"data/opaque"',
      () => remove('trusted.overlay.opaque', inLayer(1, 'data/opaque')),
    ],
    ['is missing', '"data/gone-file"', () => fs.rmSync(inLayer(1, 'data/gone-file'))],
    ['has 1 names, not 2', '"data/plain/deep/hard"', () => unlink(inLayer(0, 'data/plain/file'), { back: false })],
    [
      'is not the file that its other names are',
      '"data/plain/file"',
      () => unlink(inLayer(0, 'data/plain/file'), { back: true }),
    ],
    ['is a symlink, not a file', '"data/was-file"', () => replace(inLayer(0, 'data/was-file'), '/etc/passwd')],
    ['links to "elsewhere"', '"data/plain/dangling"', () => replace(inLayer(0, 'data/plain/dangling'), 'elsewhere')],
  ])('%s: %s is found by comparing', async (what, path, spoil) => {
    spoil()
    expect(await whats(false)).toEqual([])
    const found = await whats()
    expect(found).toContain(`layer: ${path} ${what}`)
    // Its directory has another time then, and of a file with two names the other one differs too.
    expect(found.length).toBeLessThanOrEqual(4)
  })
})

/** Few names, so that members meet: the same name twice, below a file, below a link, hidden and made anew. */
const segment = fc.constantFrom('a', 'b', 'c')
const path = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const attributes = fc.record({
  mode: fc.constantFrom(0o644, 0o4755, 0o2755, 0o1777, 0o600),
  uid: fc.constantFrom(0, 1000),
  gid: fc.constantFrom(0, 50),
  mtime: fc.integer({ min: 0, max: 2 ** 31 - 1 }).map((seconds) => new Date(seconds * 1000)),
})
const member: fc.Arbitrary<LayerMember> = fc
  .tuple(
    fc.constantFrom('file', 'file', 'directory', 'directory', 'symlink', 'link', 'whiteout', 'opaque', 'fifo'),
    path,
    attributes,
    path,
  )
  .map(([kind, name, more, target]): LayerMember => {
    const [parent, base] = [name.slice(0, -1), name.slice(-1)]
    switch (kind) {
      case 'directory':
        return { name: `${name}/`, type: 'directory', ...more }
      case 'symlink':
        return { name, type: 'symlink', linkname: target.includes('/') ? `/${target}` : target, ...more }
      case 'link':
        return { name, type: 'link', linkname: target }
      case 'whiteout':
        return { name: `${parent}.wh.${base}`, content: '' }
      case 'opaque':
        return { name: `${name}/.wh..wh..opq`, content: '' }
      case 'fifo':
        return { name, type: 'fifo', ...more }
      default:
        return { name, content: `${target} `.repeat(more.uid), ...more }
    }
  })

/** The note of a layer, as it would be if the machine had been started anew since, or a power cut had taken it. */
function spoilNotes(content: (note: object) => string): void {
  for (const name of fs.readdirSync(join(root, 'records')).filter((file) => file.startsWith('layer-'))) {
    const path = join(root, 'records', name)
    fs.writeFileSync(path, content(JSON.parse(fs.readFileSync(path, 'utf8')) as object))
  }
}
const unlist = (): void => {
  fs.writeFileSync(join(root, 'images/index.json'), '{"schemaVersion":2,"manifests":[]}')
  fs.rmSync(join(root, 'records', `${image.config.digest.slice(7)}.json`))
}

describe('after a power cut', () => {
  it.each([
    ['that no image names', (note: object) => JSON.stringify({ ...note, boot: 'another' })],
    ['whose note is empty', () => ''],
  ])('a layer %s is unpacked anew', async (_, content) => {
    const file = inLayer(0, 'data/was-file')
    unlist()
    spoilNotes(content)
    // Its name is there, its bytes are not: what a journal without data leaves.
    fs.truncateSync(file)
    await load(store, image)
    expect(fs.readFileSync(file, 'utf8')).toBe('first\n')
    expect(await findings()).toEqual([])
  })

  it('a blob that has its name and not its bytes is got anew', async () => {
    unlist()
    spoilNotes(() => '')
    rewrite(blob(image.layers[0]?.digest), (bytes) => Buffer.alloc(bytes.length))
    await load(store, image)
    expect(await findings()).toEqual([])
  })

  it('a layer that a listed image names is relied on: it was written out before that', async () => {
    const layers = store.list()[0]?.layers ?? []
    const before = layers.map((path) => fs.statSync(path).ino)
    spoilNotes((note) => JSON.stringify({ ...note, boot: 'another' }))
    await load(store, image)
    expect(layers.map((path) => fs.statSync(path).ino)).toEqual(before)
  })

  it('a layer of this boot serves another pull, which has it written out', async () => {
    unlist()
    const inode = fs.statSync(join(root, 'layers', fs.readdirSync(join(root, 'layers'))[0] ?? '')).ino
    await load(store, image)
    expect(fs.statSync(join(root, 'layers', fs.readdirSync(join(root, 'layers'))[0] ?? '')).ino).toBe(inode)
    expect(await findings()).toEqual([])
  })
})

describe('an archive that links to a directory', () => {
  it.each([
    ['of its own', [[{ name: 'a/b/c', type: 'link', linkname: 'a/b' }]]],
    [
      'that it makes of the link itself',
      [[{ name: 'a/a', content: '' }], [{ name: 'a', type: 'link', linkname: 'a/a' }]],
    ],
  ] as const)('%s is refused as the archive that it is', async (_, layers) => {
    const refused = load(store, await makeImage({ layers }))
    await expect(refused).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringContaining('a hard link'),
    })
  })
})

describe('whatever an archive says', () => {
  it('is found whole when it has been unpacked', async () => {
    let taken = 0
    const layers = fc.array(fc.array(member, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 3 })
    const property = fc.asyncProperty(layers, async (members) => {
      const made = await makeImage({ layers: members })
      try {
        await load(store, made)
      } catch (error) {
        // Most are: a file below a file, a link to nothing.
        if ((error as { code?: string }).code !== 'INVALID_IMAGE') throw error
        return
      }
      taken++
      expect(await findings()).toEqual([])
    })
    await fc.assert(property, { numRuns: Number(process.env['TSCRUN_VERIFY_RUNS'] ?? 10) })
    expect(taken).toBeGreaterThan(0)
  })
})
