import { accessSync, fstatSync, readFileSync, readlinkSync, statfsSync, statSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { RESOLVE } from '../model/linux.ts'
import { AT_FDCWD, cString, syscall, trySyscall } from '../syscall/call.ts'
import { openFlags } from '../syscall/flags.ts'
import { mountOf } from '../syscall/mount-of.ts'
import { closeFd } from '../syscall/process.ts'
import { terminalSize } from '../syscall/terminal.ts'

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
      return identity(statSync(path, { bigint: true }), sinceNs)
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

function identity(info: BigIntStats, sinceNs: bigint): Buffer | undefined {
  if (info.ctimeNs > sinceNs) return undefined
  return numbers(info.dev, info.ino, info.mode, info.size, info.mtimeNs, info.ctimeNs)
}

function place(path: string): Buffer | undefined {
  const { id } = mountOf(path)
  if (id === undefined) return undefined
  const info = statSync(path, { bigint: true })
  return numbers(info.dev, info.ino, info.mode, id, BigInt(statfsSync(path).type >>> 0))
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
    return fd < 0 ? -fd : identity(fstatSync(fd, { bigint: true }), sinceNs)
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
