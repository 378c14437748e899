import { badTar, paxNumber } from './tar-numbers.ts'

/** Where the stored bytes of a sparse file belong: pairs of offset and length, ascending. */
export type SparseMap = readonly (readonly [offset: number, length: number])[]

/** Most pieces a sparse file may have: its map is held in memory. */
export const MAX_SPARSE_PIECES = 100_000

/** Records of one PAX extended header; values are bytes. */
export interface PaxRecords {
  readonly values: ReadonlyMap<string, Buffer>
  /** From the repeated records of GNU's sparse format 0.0. */
  readonly sparse: SparseMap | undefined
}

/** Parses `length key=value\n` records (POSIX pax, extended header). An empty value stands for "not set". */
export function parsePax(payload: Buffer): PaxRecords {
  const values = new Map<string, Buffer>()
  const offsets: number[] = []
  const lengths: number[] = []
  let at = 0
  while (at < payload.length) {
    const space = payload.indexOf(0x20, at)
    if (space < 0 || space - at > 10) throw badTar('a PAX record without a length')
    const end = at + paxNumber(payload.subarray(at, space), 'the length of a PAX record')
    const equals = payload.indexOf(0x3d, space)
    if (end > payload.length || equals < 0 || equals >= end || payload[end - 1] !== 0x0a)
      throw badTar('a malformed PAX record')
    const key = payload.toString('utf8', space + 1, equals)
    const value = payload.subarray(equals + 1, end - 1)
    if (key === 'GNU.sparse.offset') offsets.push(paxNumber(value, key))
    else if (key === 'GNU.sparse.numbytes') lengths.push(paxNumber(value, key))
    else if (value.length === 0) values.delete(key)
    else values.set(key, value)
    at = end
  }
  return { values, sparse: offsets.length === 0 ? undefined : pairUp(offsets, lengths) }
}

function pairUp(offsets: readonly number[], lengths: readonly number[]): SparseMap {
  if (offsets.length !== lengths.length) throw badTar('a sparse map with a piece cut off')
  return offsets.map((offset, i) => [offset, lengths[i] ?? 0] as const)
}

/** The comma-separated map of GNU's sparse format 0.1. */
export function parseSparseList(value: Buffer): SparseMap {
  const numbers = value
    .toString('latin1')
    .split(',')
    .map((text) => paxNumber(Buffer.from(text), 'the sparse map'))
  const offsets = numbers.filter((_, i) => i % 2 === 0)
  return pairUp(
    offsets,
    numbers.filter((_, i) => i % 2 === 1),
  )
}

/** Collects the map in front of the data of GNU's sparse format 1.0: decimal lines, first the count. */
export interface SparseLines {
  /** Takes the next 512 bytes; answers the map once all of it is there. */
  push(block: Buffer): SparseMap | undefined
}

export function createSparseLines(): SparseLines {
  const numbers: number[] = []
  let rest = ''
  function push(block: Buffer): SparseMap | undefined {
    const lines = (rest + block.toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const count = numbers[0]
      if (count !== undefined && numbers.length === 1 + 2 * count) break
      numbers.push(paxNumber(Buffer.from(line, 'latin1'), 'the sparse map'))
    }
    const count = numbers[0]
    if (count === undefined) return undefined
    checkPieces(count)
    if (numbers.length < 1 + 2 * count) return undefined
    const flat = numbers.slice(1)
    return pairUp(
      flat.filter((_, i) => i % 2 === 0),
      flat.filter((_, i) => i % 2 === 1),
    )
  }
  return { push }
}

export function checkPieces(count: number): void {
  if (count > MAX_SPARSE_PIECES) throw badTar(`a sparse file of ${count} pieces, more than ${MAX_SPARSE_PIECES}`)
}

/** Refuses a map whose pieces overlap, leave the file, or do not add up to the stored bytes. */
export function checkSparseMap(map: SparseMap, fileSize: number, storedSize: number): void {
  checkPieces(map.length)
  let end = 0
  let stored = 0
  for (const [offset, length] of map) {
    if (offset < end) throw badTar('a sparse map with overlapping pieces')
    end = offset + length
    stored += length
    if (!Number.isSafeInteger(end) || end > fileSize) throw badTar('a sparse map that leaves its file')
  }
  if (stored !== storedSize) throw badTar('a sparse map that does not fit its data')
}
