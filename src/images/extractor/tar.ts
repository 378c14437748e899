import { badTar, checksumFits, fieldBytes, fieldNumber, paxNumber, paxTime, type TarTime } from './tar-numbers.ts'
import {
  checkPieces,
  checkSparseMap,
  createSparseLines,
  parsePax,
  parseSparseList,
  type PaxRecords,
  type SparseMap,
} from './tar-pax.ts'

export type TarType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo'

/** One member of an archive. Names are bytes as they stand there, unchecked. */
export interface TarEntry {
  readonly type: TarType
  readonly name: Buffer
  readonly linkName: Buffer
  /** Permission bits with set-id and sticky, 0 to 0o7777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: TarTime
  /** Bytes of the file once written, holes included; 0 for all but files. */
  readonly size: number
  readonly major: number
  readonly minor: number
  readonly xattrs: ReadonlyMap<string, Buffer>
  readonly sparse?: SparseMap
}

export interface TarHandler {
  entry(entry: TarEntry): void
  /** Bytes `start` to `end` of `chunk` belong at `position` of the last file; called in order. */
  data(chunk: Buffer, start: number, end: number, position: number): void
  /** The last file is complete. */
  endOfFile(): void
  /** May take whole members from `at` of a chunk on, where one begins; answers the position of the first it leaves. */
  takeMembers?(chunk: Buffer, at: number): number
}

export interface TarParser {
  write(chunk: Buffer): void
  /** Throws INVALID_IMAGE where the archive stops inside a member. */
  end(): void
}

const BLOCK = 512
/** Longest PAX header, GNU long name or sparse map taken. */
const MAX_META = 1 << 20

const TYPES: Readonly<Record<string, TarType>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
}

/** Extensions seen before the member they describe. */
interface Pending {
  pax?: PaxRecords
  longName?: Buffer
  longLink?: Buffer
}

/**
 * A tar parser that is pushed chunks and calls its handler at once, without streams or promises between
 * (docs/decisions says why). Formats: v7, ustar, PAX, GNU long names, GNU sparse old, 0.0, 0.1 and 1.0.
 */
export function createTarParser(handler: TarHandler): TarParser {
  let pending: Pending = {}
  let zeroBlocks = 0
  /** What is collected next, and who gets it; undefined while file data or padding passes. */
  let wanted = BLOCK
  let collected: Buffer[] = []
  let collectedSize = 0
  let next: (block: Buffer) => void = header
  /** File data still to come, then padding. */
  let dataLeft = 0
  let padding = 0
  let pieces: SparseMap = []
  let piece = 0
  let position = 0
  let finished = false
  /** Something of a member has been read that is not complete. */
  let inside = false

  function collect(size: number, then: (block: Buffer) => void): void {
    wanted = size
    next = then
  }

  function header(block: Buffer): void {
    collect(BLOCK, header)
    if (isZero(block)) {
      zeroBlocks++
      if (inside) throw badTar('it ends between a member and its extended header')
      if (zeroBlocks === 2) finished = true
      return
    }
    if (zeroBlocks > 0 || !checksumFits(block)) throw badTar('a header with a wrong checksum')
    const flag = String.fromCharCode(block[156] ?? 0)
    const size = fieldNumber(block, 124, 12, 'a size')
    if (size < 0) throw badTar('a negative size')
    if ('xgLK'.includes(flag)) {
      inside = true
      if (size > MAX_META) throw badTar(`an extended header of ${size} bytes, more than ${MAX_META}`)
      const kind = flag as 'x' | 'g' | 'L' | 'K'
      const padded = padTo(size)
      if (padded === 0) extension(kind, Buffer.alloc(0))
      else collect(padded, (payload) => extension(kind, payload.subarray(0, size)))
      return
    }
    member(Buffer.from(block), flag, size)
  }

  function extension(kind: 'x' | 'g' | 'L' | 'K', payload: Buffer): void {
    collect(BLOCK, header)
    // A copy: the payload may be a view of a chunk that is gone by the time it is used.
    if (kind === 'x') pending.pax = parsePax(Buffer.from(payload))
    else if (kind === 'L') pending.longName = Buffer.from(fieldBytes(payload, 0, payload.length))
    else if (kind === 'K') pending.longLink = Buffer.from(fieldBytes(payload, 0, payload.length))
    else if (pending.pax === undefined && pending.longName === undefined && pending.longLink === undefined)
      inside = false
  }

  function member(block: Buffer, flag: string, headerSize: number): void {
    inside = true
    const { entry, storedSize, sparseLines } = describe(block, flag, headerSize, pending)
    pending = {}
    if (flag === 'S') return oldSparse(block, entry, storedSize)
    if (sparseLines) return sparseMapInData(entry, storedSize)
    begin(entry, storedSize, padTo(storedSize) - storedSize)
  }

  /** Hands an entry on and lets its stored bytes pass. */
  function begin(entry: TarEntry, storedSize: number, pad: number): void {
    if (entry.sparse !== undefined) checkSparseMap(entry.sparse, entry.size, storedSize)
    pieces = entry.sparse ?? [[0, storedSize]]
    piece = 0
    position = pieces[0]?.[0] ?? 0
    dataLeft = storedSize
    padding = pad
    collect(BLOCK, header)
    handler.entry(entry)
    inside = dataLeft > 0
    if (dataLeft === 0 && entry.type === 'file') handler.endOfFile()
  }

  /** GNU's old format: 4 pieces in the header, 21 in each block that follows. */
  function oldSparse(block: Buffer, entry: TarEntry, storedSize: number): void {
    const map: [number, number][] = []
    const size = fieldNumber(block, 483, 12, 'the size of a sparse file')
    const take = (from: Buffer, start: number, count: number): void => {
      for (let at = start; at < start + count * 24 && from[at] !== 0; at += 24) {
        map.push([fieldNumber(from, at, 12, 'the sparse map'), fieldNumber(from, at + 12, 12, 'the sparse map')])
      }
      checkPieces(map.length)
    }
    const done = (): void => begin({ ...entry, size, sparse: map }, storedSize, padTo(storedSize) - storedSize)
    const more = (extra: Buffer): void => {
      take(extra, 0, 21)
      if (extra[504] === 0) done()
    }
    take(block, 386, 4)
    if (block[482] === 0) done()
    else collect(BLOCK, more)
  }

  /** GNU's format 1.0: the map is the first blocks of the data. */
  function sparseMapInData(entry: TarEntry, storedSize: number): void {
    const lines = createSparseLines()
    let taken = 0
    const more = (block: Buffer): void => {
      taken += BLOCK
      const map = lines.push(block)
      const left = storedSize - taken
      if (left < 0) throw badTar('a sparse map longer than its member')
      if (map !== undefined) begin({ ...entry, sparse: map }, left, padTo(left) - left)
    }
    collect(BLOCK, more)
  }

  /** Passes file data from `at`; answers where it stopped. */
  function pass(chunk: Buffer, at: number): number {
    while (dataLeft > 0 && at < chunk.length) {
      let [offset, length] = pieces[piece] ?? [0, 0]
      while (position >= offset + length) {
        ;[offset, length] = pieces[++piece] ?? [0, 0]
        position = offset
        if (piece >= pieces.length) throw new Error('the pieces of a member do not add up to its size')
      }
      const count = Math.min(offset + length - position, chunk.length - at)
      handler.data(chunk, at, at + count, position)
      at += count
      position += count
      dataLeft -= count
      if (dataLeft === 0) {
        // What follows is padding and the end marker: `umoci insert` leaves both out of its layers.
        inside = false
        handler.endOfFile()
      }
    }
    return at
  }

  function write(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && !finished) {
      if (dataLeft > 0) at = pass(chunk, at)
      else if (padding > 0) {
        const count = Math.min(padding, chunk.length - at)
        padding -= count
        at += count
      } else {
        if (isBetweenMembers()) at = handler.takeMembers?.(chunk, at) ?? at
        if (at < chunk.length) at = gather(chunk, at)
      }
    }
  }

  /** Nothing has been read of what comes next. */
  function isBetweenMembers(): boolean {
    return !inside && collectedSize === 0 && zeroBlocks === 0
  }

  function gather(chunk: Buffer, at: number): number {
    if (collectedSize === 0 && chunk.length - at >= wanted) {
      const end = at + wanted
      next(chunk.subarray(at, end))
      return end
    }
    const count = Math.min(wanted - collectedSize, chunk.length - at)
    collected.push(Buffer.from(chunk.subarray(at, at + count)))
    collectedSize += count
    if (collectedSize === wanted) {
      const block = Buffer.concat(collected)
      collected = []
      collectedSize = 0
      next(block)
    }
    return at + count
  }

  function end(): void {
    if (!finished && (inside || collectedSize > 0)) throw badTar('it is cut off')
  }

  return { write, end }
}

function padTo(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0)
}

/** Puts header and extensions together: GNU long names win over PAX, PAX wins over the header. */
function describe(
  block: Buffer,
  flag: string,
  headerSize: number,
  pending: Pending,
): { entry: TarEntry; storedSize: number; sparseLines: boolean } {
  const type = TYPES[flag]
  if (type === undefined) throw badTar(`a member of unknown type ${JSON.stringify(flag)}`)
  const pax = pending.pax?.values ?? new Map<string, Buffer>()
  const number = (key: string, start: number, length: number): number => {
    const value = pax.get(key)
    return value === undefined ? fieldNumber(block, start, length, key) : paxNumber(value, key)
  }
  const name = pending.longName ?? pax.get('GNU.sparse.name') ?? pax.get('path') ?? ustarName(block)
  // As other tars do, a member that is only a header has no data, whatever its size field says.
  const sizeValue = pax.get('size')
  const storedSize = type !== 'file' ? 0 : sizeValue === undefined ? headerSize : paxNumber(sizeValue, 'size')
  const realSize = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size')
  const list = pax.get('GNU.sparse.map')
  const sparse = list === undefined ? pending.pax?.sparse : parseSparseList(list)
  const sparseLines = pax.get('GNU.sparse.major')?.toString() === '1' && pax.get('GNU.sparse.minor')?.toString() === '0'
  const isSparse = sparse !== undefined || sparseLines
  if (isSparse && (type !== 'file' || realSize === undefined)) throw badTar('a sparse member without a size')
  const mtime = pax.get('mtime')
  const isOldDirectory = flag === '\0' && name[name.length - 1] === 0x2f
  const entry: TarEntry = {
    type: isOldDirectory ? 'directory' : type,
    name,
    linkName: pending.longLink ?? pax.get('linkpath') ?? Buffer.from(fieldBytes(block, 157, 100)),
    mode: fieldNumber(block, 100, 8, 'a mode') & 0o7777,
    uid: number('uid', 108, 8),
    gid: number('gid', 116, 8),
    mtime:
      mtime === undefined ? { seconds: fieldNumber(block, 136, 12, 'mtime'), nanoseconds: 0 } : paxTime(mtime, 'mtime'),
    size:
      isSparse && realSize !== undefined
        ? paxNumber(realSize, 'the size of a sparse file')
        : isOldDirectory
          ? 0
          : storedSize,
    major: type === 'char' || type === 'block' ? fieldNumber(block, 329, 8, 'a device number') : 0,
    minor: type === 'char' || type === 'block' ? fieldNumber(block, 337, 8, 'a device number') : 0,
    xattrs: xattrsOf(pax),
    ...(sparse === undefined || sparseLines ? {} : { sparse }),
  }
  return { entry, storedSize: isOldDirectory ? 0 : storedSize, sparseLines }
}

function ustarName(block: Buffer): Buffer {
  const name = Buffer.from(fieldBytes(block, 0, 100))
  // POSIX's magic ends in NUL; GNU's own format uses the prefix field for something else.
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0'
  const prefix = isUstar ? fieldBytes(block, 345, 155) : Buffer.alloc(0)
  return prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name])
}

const XATTR = 'SCHILY.xattr.'

function xattrsOf(pax: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const [key, value] of pax) if (key.startsWith(XATTR)) found.set(key.slice(XATTR.length), value)
  return found
}
