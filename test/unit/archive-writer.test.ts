import { Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { insideAttribute, outsideAttribute } from '../../src/archive/attributes.ts'
import { createArchiveWriter, type Member } from '../../src/archive/writer.ts'
import { createTarParser, type TarEntry } from '../../src/images/extractor/tar.ts'

interface Written {
  readonly member: Member
  readonly content: Buffer | undefined
}

/** Any bytes but NUL and slash, and neither a dot nor two. */
const part = fc
  .uint8Array({ minLength: 1, maxLength: 120 })
  .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0 || byte === 0x2f || byte === 0x2e ? 0x61 : byte))))
const name = fc
  .array(part, { minLength: 1, maxLength: 4 })
  .map((parts) => Buffer.concat(parts.flatMap((bytes, index) => (index === 0 ? [bytes] : [Buffer.from('/'), bytes]))))
const member: fc.Arbitrary<Written> = fc
  .record({
    kind: fc.constantFrom('file', 'directory', 'symlink', 'char', 'fifo'),
    name,
    target: name,
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    gid: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    mtimeNs: fc.bigInt({ min: -(10n ** 18n), max: 10n ** 19n }),
    xattr: fc.uint8Array({ minLength: 1, maxLength: 600 }),
    content: fc.uint8Array({ maxLength: 3000 }),
  })
  .map(({ target, xattr, content, ...rest }) => ({
    member: {
      ...rest,
      xattrs: new Map([['user.any', Buffer.from(xattr)]]),
      ...(rest.kind === 'symlink' ? { linkName: target } : {}),
      ...(rest.kind === 'char' ? { major: 300, minor: 70_000 } : {}),
    },
    content: rest.kind === 'file' ? Buffer.from(content) : undefined,
  }))

async function archiveOf(members: readonly Written[]): Promise<Buffer> {
  const chunks: Buffer[] = []
  const writer = createArchiveWriter((chunk) => void chunks.push(chunk))
  for (const { member: one, content } of members) {
    if (content === undefined) await writer.add(one)
    else await writer.addBytes(one, content)
  }
  await writer.end()
  return Buffer.concat(chunks)
}

function read(archive: Buffer): { entries: TarEntry[]; contents: Buffer[] } {
  const [entries, contents]: [TarEntry[], Buffer[]] = [[], []]
  const parser = createTarParser({
    entry: (entry) => {
      entries.push({ ...entry, name: Buffer.from(entry.name), linkName: Buffer.from(entry.linkName) })
      contents.push(Buffer.alloc(0))
    },
    data: (chunk, start, end) => {
      contents.push(Buffer.concat([contents.pop() ?? Buffer.alloc(0), chunk.subarray(start, end)]))
    },
    endOfFile: () => undefined,
  })
  parser.write(archive)
  parser.end()
  return { entries, contents }
}

describe('an archive', () => {
  it('says of every member what was to be written, whatever its name, times, owners and attributes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(member, { maxLength: 6 }), async (members) => {
        const { entries, contents } = read(await archiveOf(members))
        expect(entries.length).toBe(members.length)
        for (const [index, { member: wanted, content }] of members.entries()) {
          const entry = entries[index]
          expect(entry?.name.toString('latin1').replace(/\/$/, '')).toBe(wanted.name.toString('latin1'))
          expect(entry).toMatchObject({ type: wanted.kind, mode: wanted.mode, uid: wanted.uid, gid: wanted.gid })
          const { seconds = 0, nanoseconds = 0 } = entry?.mtime ?? {}
          expect(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)).toBe(wanted.mtimeNs)
          expect(entry?.xattrs.get('user.any')?.equals(wanted.xattrs?.get('user.any') ?? Buffer.alloc(0))).toBe(true)
          if (wanted.linkName !== undefined) expect(entry?.linkName.equals(wanted.linkName)).toBe(true)
          if (content !== undefined) expect(contents[index]?.equals(content)).toBe(true)
        }
      }),
      { numRuns: 60 },
    )
  })

  it('ends what writes to it as soon as nobody takes it', async () => {
    const writer = createArchiveWriter(() => {
      throw new Error('no more')
    })
    const plain: Member = { kind: 'file', name: Buffer.from('x'), mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n }
    const much = Readable.from(Array.from({ length: 400 }, () => Buffer.alloc(1 << 16)))
    const write = async (): Promise<void> => {
      await writer.addStream(plain, 400 << 16, much as AsyncIterable<Buffer>)
      await writer.end()
    }
    await expect(write()).rejects.toThrow('no more')
  })

  it('tells the same whenever the reader goes', async () => {
    const directory: Member = { kind: 'directory', name: Buffer.from('d'), mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }
    for (let turns = 0; turns < 12; turns += 1) {
      const writer = createArchiveWriter(async () => {
        for (let turn = 0; turn < turns; turn += 1) await Promise.resolve()
        throw new Error('nobody reads')
      })
      const write = async (): Promise<void> => {
        for (let count = 0; count < 10_000; count += 1) await writer.add(directory)
        await writer.end()
      }
      await expect(write(), `${turns}`).rejects.toThrow('nobody reads')
    }
  })

  it('is refused where a stream has other bytes than it said', async () => {
    const writer = createArchiveWriter(() => undefined)
    const plain: Member = { kind: 'file', name: Buffer.from('x'), mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n }
    await expect(writer.addStream(plain, 5, Readable.from([Buffer.alloc(4)]) as AsyncIterable<Buffer>)).rejects.toThrow(
      'Size mismatch',
    )
  })
})

describe('attributes of files', () => {
  const owners = {
    uids: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
    gids: [{ containerID: 0, hostID: 200_000, size: 65_536 }],
  }
  const CAPABILITY_2 = Buffer.from('0100000200200000000000000000000000000000', 'hex')

  it('of a capability are of the container root outside, and of everybody inside', () => {
    const outside = outsideAttribute('security.capability', CAPABILITY_2, owners)
    expect(outside?.readUInt32LE(0)).toBe(0x03000001)
    expect(outside?.readUInt32LE(20)).toBe(100_000)
    expect(insideAttribute('security.capability', outside ?? Buffer.alloc(0), owners)).toEqual(CAPABILITY_2)
    // Of another container's root: nothing of this one's.
    const foreign = Buffer.from(outside ?? [])
    foreign.writeUInt32LE(900_000, 20)
    expect(insideAttribute('security.capability', foreign, owners)).toBeUndefined()
  })

  it('of an ACL name the same users on both sides', () => {
    const acl = Buffer.from('0200000001000700ffffffff02000500e803000008000700d0070000', 'hex')
    const outside = outsideAttribute('system.posix_acl_access', acl, owners)
    expect([outside?.readUInt32LE(16), outside?.readUInt32LE(24)]).toEqual([101_000, 202_000])
    expect(insideAttribute('system.posix_acl_access', outside ?? Buffer.alloc(0), owners)).toEqual(acl)
  })
})
