import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Subnet } from '../../model/ip.ts'
import type { Template } from '../../plan/template.ts'
import { DEFAULT_ROOT, type EnginePaths } from '../paths.ts'
import { WITNESS, type Witness } from './witnesses.ts'

/** A prepared start, as native/replay/prepared.h has it. */
export interface PreparedStart {
  readonly key: PreparedKey
  readonly witnesses: readonly Witness[]
  readonly plan: Template
  readonly record: Template
  /** A name is made of one word of each, and a part of the id. */
  readonly words: readonly [first: readonly string[], second: readonly string[]]
  readonly nameLength: number
  /** Where ranges of ids are taken from. */
  readonly pool: { readonly first: number; readonly ranges: number; readonly rangeSize: number }
  /** The caller's standard input is a terminal that is made raw. */
  readonly terminal: boolean
  /** Locked by who uses an image; absent without one. */
  readonly useLock?: string
  /** Absolute directory in which its cgroup lies. */
  readonly cgroups?: string
  readonly network?: PreparedNetwork
  readonly sayings: readonly Saying[]
}

/** Where addresses are taken from. */
export interface PreparedNetwork {
  /** Absolute directory of the links that hold them. */
  readonly leases: string
  readonly ip4?: PreparedSubnet
  readonly ip6?: PreparedSubnet
}

export interface PreparedSubnet extends Subnet {
  /** How many behind the first may be given out. */
  readonly count: number
  /** How far behind it the one is that may not. */
  readonly gateway: number
  /** Letters that an address must have. */
  readonly width: number
}

/** What a start is found by. */
export interface PreparedKey {
  /** The directory of tscrun's own package. */
  readonly packageRoot: string
  /** The caller's. */
  readonly directory: string
  /** The command line without the program. */
  readonly argv: readonly string[]
}

/** What to print, and the exit code, for what can happen when the container has run. */
export interface Saying {
  readonly what: 'died' | { readonly errno: number; readonly stderr: boolean }
  readonly text: string
  readonly exitCode: number
}

export const PREPARED_FILE = { magic: 0x31505354, version: 2, maxBytes: 2 ** 20, header: 16 } as const
const SAYING = { died: 0xffffffff, stderr: 0x10000 } as const

/** So many are kept. */
const MOST = 64

/** Sections in the order of enum section. */
function sections(start: PreparedStart, paths: EnginePaths): Buffer[] {
  const { key, words, pool } = start
  return [
    texts([key.packageRoot, key.directory, ...key.argv]),
    Buffer.concat(start.witnesses.map(witnessBytes)),
    Buffer.from(start.plan.bytes),
    marks(start.plan),
    Buffer.from(start.record.bytes),
    marks(start.record),
    texts(words[0]),
    texts(words[1]),
    texts([
      paths.containers,
      paths.names,
      paths.ranges,
      paths.runRoot,
      start.useLock ?? '',
      start.cgroups ?? '',
      start.network?.leases ?? '',
    ]),
    numbers([
      start.nameLength,
      pool.first,
      pool.ranges,
      pool.rangeSize,
      start.terminal ? 1 : 0,
      ...subnetNumbers(start.network?.ip4),
      (start.network?.ip6?.first.value ?? 0n) >> 64n,
      ...subnetNumbers(start.network?.ip6),
    ]),
    Buffer.concat(start.sayings.map(sayingBytes)),
  ]
}

/** The whole file; undefined where it would be larger than the launcher takes. */
export function encodePrepared(start: PreparedStart, paths: EnginePaths): Buffer | undefined {
  const parts = sections(start, paths)
  let offset = padded(PREPARED_FILE.header + 8 * parts.length)
  const header = Buffer.alloc(offset)
  parts.forEach((part, index) => {
    header.writeUInt32LE(offset, PREPARED_FILE.header + 8 * index)
    header.writeUInt32LE(part.length, PREPARED_FILE.header + 8 * index + 4)
    offset += padded(part.length)
  })
  if (offset > PREPARED_FILE.maxBytes) return undefined
  const fixed = [PREPARED_FILE.magic, PREPARED_FILE.version, offset, 0]
  fixed.forEach((value, index) => header.writeUInt32LE(value, 4 * index))
  return Buffer.concat([header, ...parts.map(pad)], offset)
}

const padded = (size: number): number => (size + 7) & ~7

function pad(bytes: Buffer): Buffer {
  return Buffer.concat([bytes], padded(bytes.length))
}

/** Each with a NUL behind it; none has one inside, since arguments and paths cannot. */
function texts(list: readonly string[]): Buffer {
  return Buffer.from(list.map((text) => `${text}\0`).join(''))
}

/** Of the first address the low half. */
function subnetNumbers(subnet: PreparedSubnet | undefined): (number | bigint)[] {
  if (subnet === undefined) return [0, 0, 0, 0]
  return [subnet.first.value & (2n ** 64n - 1n), subnet.count, subnet.gateway, subnet.width]
}

function numbers(list: readonly (number | bigint)[]): Buffer {
  const bytes = Buffer.alloc(8 * list.length)
  list.forEach((value, index) => bytes.writeBigUInt64LE(BigInt(value), 8 * index))
  return bytes
}

function words32(list: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * list.length)
  list.forEach((value, index) => bytes.writeUInt32LE(value, 4 * index))
  return bytes
}

function witnessBytes({ kind, path, extra = '', number = 0, error, seen }: Witness): Buffer {
  const [first, second] = [Buffer.from(path), Buffer.from(extra)]
  const size = padded(32 + first.length + 1 + second.length + 1 + seen.length)
  const head = words32([WITNESS[kind], size, number, error, first.length, second.length, seen.length, 0])
  return Buffer.concat([head, first, Buffer.of(0), second, Buffer.of(0), seen], size)
}

function marks({ marks: list }: Template): Buffer {
  return words32(list.flatMap(({ offset, kind, number }) => [offset, kind, number, 0]))
}

function sayingBytes({ what, text, exitCode }: Saying): Buffer {
  const bytes = Buffer.from(text)
  const number = what === 'died' ? SAYING.died : what.errno | (what.stderr ? SAYING.stderr : 0)
  return Buffer.concat([words32([number, exitCode, bytes.length, 0]), pad(bytes)])
}

/** FNV-1a, as native/replay/prepared.c names the file. */
function hash(bytes: Uint8Array, start: number): string {
  let value = start
  for (const byte of bytes) value = Math.imul(value ^ byte, 16777619)
  return (value >>> 0).toString(16).padStart(8, '0')
}

/** The name of the file for a key. */
export function preparedName({ packageRoot, directory, argv }: PreparedKey): string {
  const bytes = texts([packageRoot, directory, ...argv])
  return hash(bytes, 0x811c9dc5) + hash(bytes, 0x9747b28c)
}

/** Where the launcher looks for these arguments: it does not parse them. */
export function storeOfWords(argv: readonly string[]): string {
  for (const [index, word] of argv.entries()) {
    const next = argv[index + 1]
    if (word === '--root' && next !== undefined) return next
    if (word.startsWith('--root=')) return word.slice('--root='.length)
  }
  return DEFAULT_ROOT
}

function preparedDirectory(paths: EnginePaths): string {
  return join(paths.root, 'prepared')
}

/** How many starts are kept. */
export function countPrepared(paths: EnginePaths): number {
  const directory = preparedDirectory(paths)
  return existsSync(directory) ? readdirSync(directory).length : 0
}

/** Puts it in the place of an older one for the same key; of too many the oldest goes. */
export function keepPreparedFile(paths: EnginePaths, start: PreparedStart): void {
  const bytes = encodePrepared(start, paths)
  if (bytes === undefined) return
  const directory = preparedDirectory(paths)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const temporary = join(directory, `new-${process.pid}`)
  try {
    writeFileSync(temporary, bytes, { mode: 0o600, flag: 'wx' })
    renameSync(temporary, join(directory, preparedName(start.key)))
  } finally {
    rmSync(temporary, { force: true })
  }
  const names = readdirSync(directory)
  if (names.length > MOST) removeOldest(directory, names)
}

function removeOldest(directory: string, names: readonly string[]): void {
  const dated = names.flatMap((name) => {
    const info = statSync(join(directory, name), { throwIfNoEntry: false })
    return info === undefined ? [] : [{ name, time: info.mtimeMs }]
  })
  for (const { name } of dated.toSorted((a, b) => a.time - b.time).slice(0, names.length - MOST)) {
    rmSync(join(directory, name), { force: true })
  }
}
