import type * as fs from 'node:fs'
import { type Header, type Pack, pack as createPack } from 'tar-stream'
import { extentsOf, readExactly } from './files.ts'
import { paxHeader, paxTime } from './pax.ts'

export type MemberKind = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo'

/** One member of an archive that is written. */
export interface Member {
  readonly kind: MemberKind
  /** Bytes, without a slash at either end. */
  readonly name: Buffer
  /** Of a symbolic link what it says, of a hard link the name of a member before it. */
  readonly linkName?: Buffer
  /** Permission bits with set-id and sticky. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint
  readonly major?: number
  readonly minor?: number
  readonly xattrs?: ReadonlyMap<string, Buffer>
}

/** Members go in one by one, each awaited before the next. */
export interface ArchiveWriter {
  add(member: Member): Promise<void>
  /** A regular file with these bytes. */
  addBytes(member: Member, bytes: Uint8Array): Promise<void>
  /** A regular file from its descriptor, as long as `stats` says; large holes stay holes (GNU sparse 1.0). */
  addFile(member: Member, fd: number, stats: fs.BigIntStats): Promise<void>
  /** A regular file of so many bytes, which come as they come. */
  addStream(member: Member, size: number, chunks: AsyncIterable<Buffer>): Promise<void>
  /** Writes the end of the archive; resolves when all of it has been taken. */
  end(): Promise<void>
  /** What was begun will not be finished. */
  abort(): void
}

const TYPES = {
  file: 'file',
  link: 'link',
  symlink: 'symlink',
  char: 'character-device',
  block: 'block-device',
  directory: 'directory',
  fifo: 'fifo',
} as const satisfies Record<MemberKind, Header['type']>

/** A bit beyond the permissions, which tar-stream cuts off: it takes a mode of 0 for one that is not told. */
const TOLD = 0o100000
const MAX_OCTAL_ID = 0o777777
const MAX_NAME = 100
/** Bytes that may wait for whoever reads. */
const AHEAD = 1 << 20

/**
 * Writes a tar archive by tar-stream. What its headers cannot say (names that are no ASCII or long, times with a fraction,
 * large ids, attributes, holes) goes before them in extended headers of our own, since tar-stream's are text.
 *
 * @param take gets the archive's bytes in order; what it rejects with, the call under way rejects with
 */
export function createArchiveWriter(take: (chunk: Buffer) => Promise<void> | void): ArchiveWriter {
  const pack: Pack = createPack()
  let [produced, consumed] = [0, 0]
  let wake = (): void => undefined
  let failure: Error | undefined
  // Whoever waits is told by `failure`.
  pack.on('error', () => undefined)
  const consuming = consume()
  consuming.catch(() => undefined)

  async function consume(): Promise<void> {
    try {
      for await (const chunk of pack as AsyncIterable<Buffer>) {
        await taken(chunk)
        consumed += chunk.length
        wake()
      }
    } catch (error) {
      failed(error)
      throw error
    }
  }

  /** The loop destroys the pack before it hands a rejection on; whoever calls meanwhile is told the true reason. */
  async function taken(chunk: Buffer): Promise<void> {
    try {
      await take(chunk)
    } catch (error) {
      failed(error)
      throw error
    }
  }

  function failed(error: unknown): void {
    failure ??= error instanceof Error ? error : new Error(String(error))
    wake()
  }

  /** Until whoever reads has caught up so far. */
  async function caughtUp(): Promise<void> {
    while (produced - consumed > AHEAD && failure === undefined) {
      await new Promise<void>((resolve) => (wake = resolve))
    }
    if (failure !== undefined) throw failure
  }

  function headers(
    member: Member,
    size: number,
    records: Map<string, Uint8Array>,
  ): Partial<Header> & Pick<Header, 'name'> {
    const { name, linkName, uid, gid, mtimeNs } = member
    const put = (key: string, value: string | Uint8Array): void => void records.set(key, Buffer.from(value))
    const path = member.kind === 'directory' ? Buffer.concat([name, Buffer.from('/')]) : name
    if (!isPlain(path)) put('path', path)
    if (linkName !== undefined && !isPlain(linkName)) put('linkpath', linkName)
    if (uid > MAX_OCTAL_ID) put('uid', `${uid}`)
    if (gid > MAX_OCTAL_ID) put('gid', `${gid}`)
    const second = Number(mtimeNs / 1_000_000_000n)
    const whole = mtimeNs % 1_000_000_000n === 0n && second >= 0 && second < 2 ** 31
    if (!whole) put('mtime', paxTime(mtimeNs))
    for (const [key, value] of member.xattrs ?? []) put(`SCHILY.xattr.${key}`, value)
    if (records.size > 0) push(paxHeader(records))
    return {
      type: TYPES[member.kind],
      name: plain(path),
      mode: member.mode | TOLD,
      uid: Math.min(uid, MAX_OCTAL_ID),
      gid: Math.min(gid, MAX_OCTAL_ID),
      size,
      mtime: new Date(Math.min(Math.max(second, 0), 2 ** 31 - 1) * 1000),
      ...(linkName === undefined ? {} : { linkname: plain(linkName) }),
      ...(member.major === undefined ? {} : { devmajor: member.major, devminor: member.minor }),
    }
  }

  function push(bytes: Buffer): void {
    produced += bytes.length
    pack.push(bytes)
  }

  async function add(member: Member): Promise<void> {
    await caughtUp()
    const header = headers(member, 0, new Map())
    produced += 512
    await new Promise<void>((resolve, reject) => {
      pack.entry(header, (error) => (error == null ? resolve() : reject(failure ?? error)))
    })
  }

  async function addChunks(
    member: Member,
    size: number,
    chunks: Iterable<Buffer> | AsyncIterable<Buffer>,
    records: Map<string, Uint8Array> = new Map(),
  ): Promise<void> {
    await caughtUp()
    const header = headers(member, size, records)
    produced += 512 + Math.ceil(size / 512) * 512
    let [ended, rejected]: [boolean, Error | undefined] = [false, undefined]
    let settle = (): void => undefined
    const sink = pack.entry(header, (error) => {
      ended = true
      rejected = error ?? undefined
      settle()
    })
    // Its callback tells.
    sink.on('error', () => undefined)
    sink.on('drain', () => settle())
    for await (const chunk of chunks) {
      if (ended) break
      if (!sink.write(chunk)) await new Promise<void>((resolve) => (settle = resolve))
    }
    if (!ended) sink.end(undefined)
    while (!ended) await new Promise<void>((resolve) => (settle = resolve))
    if (rejected !== undefined) throw failure ?? rejected
  }

  return {
    add,
    addBytes: (member, bytes) => addChunks(member, bytes.length, bytes.length === 0 ? [] : [Buffer.from(bytes)]),
    addStream: (member, size, chunks) => addChunks(member, size, chunks),
    addFile: (member, fd, stats) => {
      const extents = extentsOf(fd, stats)
      const size = Number(stats.size)
      if (extents === undefined) return addChunks(member, size, readExactly(fd, { offset: 0, length: size }))
      const map = sparseMap(extents)
      const stored = extents.reduce((sum, { length }) => sum + length, map.length)
      const records = new Map<string, Uint8Array>([
        ['GNU.sparse.major', Buffer.from('1')],
        ['GNU.sparse.minor', Buffer.from('0')],
        ['GNU.sparse.name', member.name],
        ['GNU.sparse.realsize', Buffer.from(`${size}`)],
      ])
      return addChunks(
        { ...member, name: Buffer.from('GNUSparseFile.0/file') },
        stored,
        pieces(map, fd, extents),
        records,
      )
    },
    end: async () => {
      pack.finalize()
      await consuming
    },
    abort: () => pack.destroy(new Error('given up')),
  }
}

type Extents = NonNullable<ReturnType<typeof extentsOf>>

/** Decimal lines: how many pieces, then offset and length of each; in whole blocks. */
function sparseMap(extents: Extents): Buffer {
  const lines = [extents.length, ...extents.flatMap(({ offset, length }) => [offset, length])]
  const text = Buffer.from(lines.map((line) => `${line}\n`).join(''))
  return Buffer.concat([text, Buffer.alloc((512 - (text.length % 512)) % 512)])
}

function* pieces(map: Buffer, fd: number, extents: Extents): Generator<Buffer> {
  yield map
  for (const extent of extents) yield* readExactly(fd, extent)
}

/** Whether a header can say it. */
function isPlain(name: Uint8Array): boolean {
  return name.length <= MAX_NAME && name.every((byte) => byte >= 0x20 && byte < 0x7f)
}

/** What the header says where an extended one says it better. */
function plain(name: Buffer): string {
  if (isPlain(name)) return name.toString('latin1')
  const slash = name.at(-1) === 0x2f ? '/' : ''
  const text = name.toString('latin1').replaceAll(/[^\x21-\x7e]/g, '_')
  return `${text.slice(0, MAX_NAME - 1).replace(/\/+$/, '')}${slash}`
}
