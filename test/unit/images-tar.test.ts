import * as fc from 'fast-check'
import { pack } from 'tar-stream'
import { describe, expect, it } from 'vitest'
import { createTarParser, type TarEntry } from '../../src/images/extractor/tar.ts'
import { TscrunError } from '../../src/model/errors.ts'

interface Read {
  readonly entry: TarEntry
  readonly content: Buffer
}

/** Parses an archive handed over in pieces of the given sizes, over and over. */
function parse(archive: Buffer, pieces: readonly number[] = [archive.length]): Read[] {
  const members: { entry: TarEntry; parts: Buffer[] }[] = []
  let complete = 0
  const parser = createTarParser({
    entry: (entry) => members.push({ entry, parts: [] }),
    data: (chunk, start, end, position) => {
      const parts = members.at(-1)?.parts ?? []
      expect(position).toBe(parts.reduce((sum, part) => sum + part.length, 0))
      parts.push(Buffer.from(chunk.subarray(start, end)))
    },
    endOfFile: () => complete++,
  })
  for (let at = 0, i = 0; at < archive.length; i++) {
    const size = pieces[i % pieces.length] ?? archive.length
    // A copy that is overwritten: the parser may keep nothing of it.
    const piece = Buffer.from(archive.subarray(at, at + size))
    parser.write(piece)
    piece.fill(0xee)
    at += size
  }
  parser.end()
  expect(complete).toBe(members.filter(({ entry }) => entry.type === 'file').length)
  return members.map(({ entry, parts }) => ({ entry, content: Buffer.concat(parts) }))
}

const component = fc.string({
  unit: fc.constantFrom('a', 'b', '.', '-', 'ä', ' ', '\n', '𐍈'),
  minLength: 1,
  maxLength: 60,
})
const member = fc.record({
  name: fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/')),
  type: fc.constantFrom('file', 'directory', 'symlink', 'link', 'fifo', 'character-device', 'block-device'),
  // tar-stream takes 0 for "not given".
  mode: fc.integer({ min: 1, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 2 ** 18 - 1 }),
  gid: fc.integer({ min: 0, max: 2 ** 18 - 1 }),
  // tar-stream writes larger ones wrongly.
  mtime: fc.integer({ min: 0, max: 2 ** 31 - 1 }).map((seconds) => new Date(seconds * 1000)),
  linkname: component,
  devmajor: fc.integer({ min: 0, max: 4095 }),
  devminor: fc.integer({ min: 0, max: 2 ** 18 - 1 }),
  content: fc.uint8Array({ maxLength: 3000 }),
})
const TYPES: Readonly<Record<string, string>> = { 'character-device': 'char', 'block-device': 'block' }

async function archiveOf(
  members: readonly (typeof member extends fc.Arbitrary<infer T> ? T : never)[],
): Promise<Buffer> {
  const archive = pack()
  for (const { content, ...header } of members) {
    if (header.type === 'file') archive.entry(header, content)
    else archive.entry({ ...header, size: 0 })
  }
  archive.finalize()
  const parts: Buffer[] = []
  for await (const part of archive) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

describe('the layer parser', () => {
  it('reads what tar-stream writes, in whatever pieces it comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(member, { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 5 }),
        async (members, pieces) => {
          const read = parse(await archiveOf(members), pieces)
          expect(read).toHaveLength(members.length)
          for (const [i, { entry, content }] of read.entries()) {
            const wanted = members[i]
            if (wanted === undefined) throw new Error('a member more')
            expect(entry.name.toString().replace(/\/$/, '')).toBe(wanted.name.replace(/\/$/, ''))
            expect(entry.type).toBe(TYPES[wanted.type] ?? wanted.type)
            expect(entry).toMatchObject({ mode: wanted.mode, uid: wanted.uid, gid: wanted.gid })
            expect(entry.mtime).toEqual({ seconds: wanted.mtime.getTime() / 1000, nanoseconds: 0 })
            expect(content.equals(wanted.type === 'file' ? wanted.content : Buffer.alloc(0))).toBe(true)
            if (wanted.type.includes('link')) expect(entry.linkName.toString()).toBe(wanted.linkname)
            if (wanted.type.endsWith('device'))
              expect(entry).toMatchObject({ major: wanted.devmajor, minor: wanted.devminor })
          }
        },
      ),
      { numRuns: 150 },
    )
  })

  it('answers damaged archives with INVALID_IMAGE or with members, never otherwise', async () => {
    const sample = await archiveOf(fc.sample(member, { numRuns: 8, seed: 1 }))
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(sample.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 }),
        fc.nat(sample.length),
        async (changes, length) => {
          const archive = Buffer.from(sample.subarray(0, length))
          for (const [at, byte] of changes) if (at < length) archive[at] = byte
          expectOnlyInvalid(archive)
        },
      ),
      { numRuns: 400 },
    )
  })

  it('answers noise behind a valid checksum in the same way', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 512, maxLength: 512 }),
        fc.constantFrom(...'01234567xgLKS'),
        fc.uint8Array({ maxLength: 2048 }),
        (noise, type, rest) => {
          const block = Buffer.from(noise)
          block.write(type, 156)
          block.write('00000001000\0', 124)
          block.fill(' ', 148, 156)
          const sum = block.reduce((total, byte) => total + byte, 0)
          block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
          expectOnlyInvalid(Buffer.concat([block, rest]))
        },
      ),
      { numRuns: 500 },
    )
  })

  it.each([
    ['a record longer than its header', '99 path=x\n'],
    ['a record without =', '9 pathxx\n'],
    ['a record without an end', '10 path=xy'],
    ['a size that is no number', '12 size=1x2\n'],
    ['a negative size', '11 size=-1\n'],
    ['a size beyond all bounds', '25 size=99999999999999999\n'],
  ])('refuses PAX headers with %s', async (_, text) => {
    expect(() => parse(paxArchive(text))).toThrow(expect.objectContaining({ code: 'INVALID_IMAGE' }))
  })

  it('takes a last member without padding and end marker, as `umoci insert` writes it, but none that is cut off', async () => {
    const archive = pack()
    archive.entry({ name: 'f' }, 'content')
    archive.finalize()
    const parts: Buffer[] = []
    for await (const part of archive) parts.push(part as Buffer)
    const whole = Buffer.concat(parts)
    expect(parse(whole.subarray(0, 512 + 7)).map(({ content }) => content.toString())).toEqual(['content'])
    expect(() => parse(whole.subarray(0, 512 + 6))).toThrow('cut off')
  })

  it('lets the PAX size win over the one in the header', async () => {
    const [read] = parse(paxArchive('10 size=5\n'))
    expect(read?.entry.size).toBe(5)
    expect(read?.content.toString()).toBe('hello')
  })

  it('reads times before 1970 and parts of a second', async () => {
    const [read] = parse(paxArchive('19 mtime=-1.250000\n'))
    expect(read?.entry.mtime).toEqual({ seconds: -2, nanoseconds: 750_000_000 })
  })
})

function expectOnlyInvalid(archive: Buffer): void {
  try {
    parse(archive)
  } catch (error) {
    if (!(error instanceof TscrunError)) throw error
    expect(error.code).toBe('INVALID_IMAGE')
    expect(error.message).not.toContain('\n')
  }
}

/** A PAX header with the given records, and a file `f` whose own header says it is empty. */
function paxArchive(records: string): Buffer {
  const payload = Buffer.alloc(512)
  payload.write(records)
  const data = Buffer.alloc(512)
  data.write('hello')
  return Buffer.concat([
    header('pax', 'x', records.length),
    payload,
    header('f', '0', 0),
    ...(records.includes('size=5') ? [data] : []),
    Buffer.alloc(1024),
  ])
}

function header(name: string, type: string, size: number): Buffer {
  const block = Buffer.alloc(512)
  block.write(name)
  block.write('0000644\x000000000\x000000000\0', 100)
  block.write(`${size.toString(8).padStart(11, '0')}\x0000000000000\0        ${type}`, 124)
  block.write('ustar\x0000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}
