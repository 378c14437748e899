import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { unpackLimits } from '../../src/images/budget.ts'
import { startExtraction } from '../../src/images/extraction.ts'
import { inheritFromLower } from '../../src/images/lower.ts'
import { removeTree } from '../../src/images/remove-tree.ts'
import { TscrunError } from '../../src/model/errors.ts'
import { long, member, pax, type RawMember, type Sparse, sparse, tar } from '../kernel/hostile-images/fixtures/tar.ts'
import { soakOf } from '../setup/soak.ts'

/**
 * Archives of everything a tar can have, with names that lead through links and out, then changed at any byte: the process
 * that unpacks them answers in time, with a layer or with a TscrunError, and nothing beside the layer has changed.
 */
const { count, seed } = soakOf('archives', 30)
/** Archives that are under way at once. */
const AT_ONCE = 4

/** Few, so that members meet: parents that are files, links to links, whiteouts of what is there. */
const part = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.constantFrom('a', 'b', 'link', 'd', '.', '.wh.a', '.wh..wh..opq', 'x'.repeat(255), '\u00e4'),
  },
  { weight: 1, arbitrary: fc.constantFrom('..', '.wh...', '') },
)
const name = fc.oneof(
  { weight: 40, arbitrary: fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')) },
  { weight: 1, arbitrary: fc.constantFrom('/', './', '../../canary', '/proc/self/root/x', '/../..', 'canary') },
)
const kinds = fc.oneof(
  { weight: 60, arbitrary: fc.constantFrom('0', '0', '1', '2', '2', '3', '5', '5', '6', '7', '\0') },
  { weight: 1, arbitrary: fc.constantFrom('4', 'V') },
)
const rawMember: fc.Arbitrary<RawMember> = fc
  .record({
    name,
    type: kinds,
    link: name,
    content: fc.string({ maxLength: 1500 }),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 2 ** 18 }),
    mtime: fc.integer({ min: 0, max: 2 ** 33 - 1 }),
    major: fc.constantFrom(0, 1, 8),
    minor: fc.constantFrom(0, 3, 2 ** 20 - 1),
  })
  // What is only a header has no data: the next one would be read out of it.
  .map(({ content, ...raw }) => (/[07\0]/.test(raw.type) ? { ...raw, content } : raw))
const number = fc.oneof(fc.nat(4096), fc.constantFrom(0, 512, 2 ** 31, 2 ** 33 - 1))
const sparseMember = fc
  .record({
    format: fc.constantFrom<Sparse['format']>('old', '0.0', '0.1', '1.0'),
    size: number,
    map: fc.array(fc.tuple(number, number), { maxLength: 4 }),
    content: fc.constantFrom('', 'x'.repeat(512), 'y'.repeat(1024)),
  })
  .chain((wanted) => name.map((text) => sparse(text.slice(0, 99), wanted)))
const records = fc.array(
  fc.tuple(
    fc.constantFrom(
      'path',
      'linkpath',
      'size',
      'mtime',
      'uid',
      'SCHILY.xattr.user.a',
      'SCHILY.xattr.trusted.overlay.opaque',
      'GNU.sparse.map',
    ),
    fc.oneof(name, fc.nat().map(String), fc.constantFrom('-1', 'NaN', '1.5', '')),
  ),
  { maxLength: 3 },
)
const block = fc.oneof(
  { weight: 6, arbitrary: rawMember.map(member) },
  { weight: 2, arbitrary: fc.tuple(records, rawMember).map(([list, raw]) => pax(list, raw)) },
  { weight: 1, arbitrary: sparseMember },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom<'L' | 'K'>('L', 'K'), name).map(([kind, text]) => long(kind, text)),
  },
)
const place = fc.double({ min: 0, max: 1, noNaN: true })
const rarely = <T>(arbitrary: fc.Arbitrary<T>, otherwise: T): fc.Arbitrary<T> =>
  fc.oneof({ weight: 2, arbitrary: fc.constant(otherwise) }, { weight: 1, arbitrary })
const archive = fc
  .record({
    blocks: fc.array(block, { minLength: 1, maxLength: 12 }),
    changes: rarely(fc.array(fc.tuple(place, fc.nat(255)), { maxLength: 6 }), []),
    healed: fc.boolean(),
    length: rarely(rarely(place, 1), 1),
    packed: rarely(fc.boolean(), false),
  })
  .map(({ blocks, changes, healed, length, packed }) => {
    const whole = Buffer.from(tar(...blocks))
    const bytes = packed ? gzipSync(whole) : whole
    for (const [at, value] of changes) bytes[Math.floor(at * (bytes.length - 1))] = value
    if (healed && !packed) heal(bytes)
    return bytes.subarray(0, Math.ceil(bytes.length * length))
  })

/** Gives changed headers a right checksum, or hardly anything else would ever be looked at. */
function heal(archive: Buffer): void {
  for (let at = 0; at + 512 <= archive.length; at += 512) {
    const header = archive.subarray(at, at + 512)
    if (header.toString('latin1', 257, 262) !== 'ustar') continue
    header.fill(' ', 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  }
}

interface Around {
  readonly directory: string
  readonly tree: string
  readonly lower: string
}

function prepare(): Around {
  const directory = fs.mkdtempSync(join(tmpdir(), 'tscrun-archives-'))
  const [tree, lower] = [join(directory, 'a', 'tree'), join(directory, 'a', 'lower')]
  for (const path of [tree, join(lower, 'a'), join(lower, 'd', 'a')]) fs.mkdirSync(path, { recursive: true })
  for (const path of ['canary', 'a/canary', 'a/lower/b', 'a/lower/d/b'])
    fs.writeFileSync(join(directory, path), 'untouched')
  fs.symlinkSync(directory, join(lower, 'link'))
  return { directory, tree, lower }
}

/** All but the layer itself. */
function surroundings({ directory, tree }: Around): readonly string[] {
  const found: string[] = []
  const walk = (path: string): void => {
    const { mode, uid, mtimeMs, nlink, size } = fs.lstatSync(path)
    found.push([path, mode, uid, path === join(directory, 'a') ? 0 : mtimeMs, nlink, size].join(' '))
    if (fs.lstatSync(path).isDirectory() && path !== tree)
      for (const child of fs.readdirSync(path)) walk(join(path, child))
  }
  for (const child of fs.readdirSync(directory)) walk(join(directory, child))
  return found.filter((line) => !line.startsWith(`${tree} `))
}

async function expectHarmless(blob: Buffer): Promise<void> {
  const around = prepare()
  try {
    const limits = { ...unpackLimits(4 << 20, 0, around.directory), cpuSeconds: 20 }
    const place = join(around.directory, 'blob')
    fs.writeFileSync(place, blob)
    const before = surroundings(around)
    const extraction = startExtraction(place, { directory: around.tree, overlay: 'trusted.overlay.', limits })
    const unpacked = extraction.advance(blob.length).then(() => extraction.finish())
    const outcome: unknown = await unpacked
      .then((layer) => inheritFromLower(around.tree, [around.lower], layer, { onCopied: () => undefined }))
      .then(
        () => undefined,
        (error: unknown) => error,
      )
    if (outcome !== undefined) {
      expect(outcome).toBeInstanceOf(TscrunError)
      expect((outcome as TscrunError).message).toMatch(/^[^\n]+$/)
      expect(['INVALID_IMAGE', 'LIMIT_EXCEEDED', 'STORE']).toContain((outcome as TscrunError).code)
    }
    expect(surroundings(around)).toEqual(before)
  } finally {
    removeTree(around.directory, tmpdir())
  }
}

it('archives that are damaged anywhere do no harm', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(archive, { minLength: AT_ONCE, maxLength: AT_ONCE }), async (blobs) => {
      await Promise.all(blobs.map(expectHarmless))
    }),
    { seed, numRuns: Math.max(1, Math.round(count / AT_ONCE)) },
  )
})
