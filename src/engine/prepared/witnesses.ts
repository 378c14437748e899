import { accessSync, readFileSync, readlinkSync } from 'node:fs'
import { RESOLVE } from '../../model/linux.ts'
import { AT_FDCWD, cString, syscall, trySyscall } from '../../syscall/call.ts'
import { openFlags } from '../../syscall/flags.ts'
import { closeFd } from '../../syscall/process.ts'
import { terminalSize } from '../../syscall/terminal.ts'

/** Kinds of things a preparation sees; numbers of native/replay/prepared.h, which says what each is. */
export const WITNESS = {
  file: 1,
  place: 2,
  text: 3,
  lines: 4,
  words: 5,
  link: 6,
  access: 7,
  inside: 8,
  limit: 9,
  variable: 10,
  terminal: 11,
} as const

/** Something to look at. */
export interface Subject {
  readonly kind: keyof typeof WITNESS
  readonly path: string
  /** For `lines` what must be in them, for `inside` the path below the root. */
  readonly extra?: string
  /** Words of a line, access(2)'s mode, a limit's number, a descriptor. */
  readonly number?: number
}

/** What was seen: an errno, or 0 and bytes. */
export interface Witness extends Subject {
  readonly error: number
  readonly seen: Uint8Array
}

const NOTHING = Buffer.alloc(0)
const [ENOENT, ENOTTY] = [2, 25]

/**
 * Looks at something as native/replay/witness.c will. Undefined where it cannot be said for certain that it is what was
 * read before: a file that was changed after `sinceNs` (nanoseconds since 1970), or something that the kernel does not tell.
 */
export function witness(subject: Subject, sinceNs: bigint): Witness | undefined {
  try {
    const seen = look(subject, sinceNs)
    if (seen === undefined) return undefined
    return typeof seen === 'number' ? { ...subject, error: seen, seen: NOTHING } : { ...subject, error: 0, seen }
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException
    if (!(error instanceof Error) || typeof errno !== 'number') throw error
    return { ...subject, error: Math.abs(errno), seen: NOTHING }
  }
}

function look({ kind, path, extra = '', number = 0 }: Subject, sinceNs: bigint): Uint8Array | number | undefined {
  switch (kind) {
    case 'file':
      return identity(AT_FDCWD, path, sinceNs)
    case 'place':
      return place(path)
    case 'text':
      return readFileSync(path)
    case 'lines':
      return Buffer.from(linesWith(readFileSync(path, 'latin1'), extra), 'latin1')
    case 'words':
      return Buffer.from(firstWords(readFileSync(path, 'latin1'), number), 'latin1')
    case 'link':
      return Buffer.from(readlinkSync(path))
    case 'access':
      accessSync(path, number)
      return NOTHING
    case 'inside':
      return inside(path, extra, sinceNs)
    case 'limit':
      return hardLimit(number)
    case 'variable': {
      const value = process.env[path]
      return value === undefined ? ENOENT : Buffer.from(value)
    }
    case 'terminal': {
      const size = terminalSize([number])
      return size === undefined ? ENOTTY : numbers(BigInt(size.rows), BigInt(size.columns))
    }
    default:
      return kind satisfies never
  }
}

function numbers(...values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length)
  values.forEach((value, index) => bytes.writeBigUInt64LE(value, 8 * index))
  return bytes
}

/** The second half of struct rlimit (getrlimit(2)). */
function hardLimit(resource: number): Buffer {
  const limit = Buffer.alloc(16)
  syscall('prlimit64', [0, resource, 0, limit])
  return limit.subarray(8)
}

/** Parts of struct statx (linux/stat.h): links, owner, mode, number and size; both times; the device and the mount. */
const IDENTITY = [0x10, 0x30, 0x60, 0x80, 0x88, 0x98] as const
/** Mode and number; the device and the mount. */
const PLACE = [0x1c, 0x28, 0x88, 0x98] as const
const [BASIC_STATS, MNT_ID, CTIME] = [0x7ff, 0x1000, 0x60]
const AT_EMPTY_PATH = 0x1000

/** What statx(2) tells, or -errno; undefined where it does not tell the mount (before Linux 5.8). */
function status(directory: number, path: string): Buffer | number | undefined {
  const found = Buffer.alloc(256)
  const flags = path === '' ? AT_EMPTY_PATH : 0
  const result = trySyscall('statx', [directory, cString(path), flags, BASIC_STATS | MNT_ID, found])
  if (result < 0) return -result
  return (found.readUInt32LE(0) & MNT_ID) === 0 ? undefined : found
}

function parts(bytes: Buffer, borders: readonly number[]): Buffer {
  const list: Buffer[] = []
  for (let i = 0; i < borders.length; i += 2) list.push(bytes.subarray(borders[i], borders[i + 1]))
  return Buffer.concat(list)
}

function identity(directory: number, path: string, sinceNs: bigint): Buffer | number | undefined {
  const found = status(directory, path)
  if (found === undefined || typeof found === 'number') return found
  const changedNs = found.readBigInt64LE(CTIME) * 1_000_000_000n + BigInt(found.readUInt32LE(CTIME + 8))
  return changedNs > sinceNs ? undefined : parts(found, IDENTITY)
}

/** With the number of its filesystem, the first word of struct statfs. */
function place(path: string): Buffer | number | undefined {
  const found = status(AT_FDCWD, path)
  if (found === undefined || typeof found === 'number') return found
  const filesystem = Buffer.alloc(120)
  syscall('statfs', [cString(path), filesystem], path)
  return Buffer.concat([parts(found, PLACE), filesystem.subarray(0, 8)])
}

/** Whole lines, with their newlines. */
function linesWith(text: string, part: string): string {
  return text
    .split(/(?<=\n)/)
    .filter((line) => line.includes(part))
    .join('')
}

/** Of each line so many words, each with a blank behind it; a newline behind each line. */
function firstWords(text: string, count: number): string {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
    .map((line) => {
      const words = line.replaceAll('\t', ' ').split(/(?<= )/)
      return `${words.slice(0, count).join('')}\n`
    })
    .join('')
}

function inside(root: string, path: string, sinceNs: bigint): Buffer | number | undefined {
  const directory = openPath(AT_FDCWD, root, 0)
  if (directory < 0) return -directory
  const fd = openPath(directory, path, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS)
  try {
    return fd < 0 ? -fd : identity(fd, '', sinceNs)
  } finally {
    closeFd(directory)
    if (fd >= 0) closeFd(fd)
  }
}

function openPath(directory: number, path: string, resolve: number): number {
  const how = Buffer.alloc(24)
  how.writeBigUInt64LE(BigInt(openFlags.path | openFlags.cloexec), 0)
  how.writeBigUInt64LE(BigInt(resolve), 16)
  return trySyscall('openat2', [directory, cString(path), how, how.length])
}
