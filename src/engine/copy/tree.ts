import { readSync, writeSync, ftruncateSync, type BigIntStats } from 'node:fs'
import { extentsOf, readExactly } from '../../archive/files.ts'
import { insideXattrs, kindOf } from '../../archive/member.ts'
import { insideId } from '../../archive/owners.ts'
import { joinNames } from '../../archive/walk.ts'
import { TscrunError } from '../../model/errors.ts'
import { linkText, namesIn, openBelow, reopen, statOf, unlessErrno } from '../../syscall/at.ts'
import { openFlags } from '../../syscall/flags.ts'
import { nextTurn } from '../../syscall/pause.ts'
import { closeFd } from '../../syscall/process.ts'
import type { Placer, Wanted } from './place.ts'
import type { Source, Target } from './resolve.ts'
import { pathError, type Side } from './side.ts'

export interface CopyContext {
  readonly from: Side
  readonly placer: Placer
  readonly archive: boolean
  readonly signal: AbortSignal | undefined
  readonly onWarning: ((line: string) => void) | undefined
}

interface Named {
  readonly fd: number
  readonly stats: BigIntStats
  /** For messages. */
  readonly path: Buffer
}

const MAX_DEPTH = 4096
const GONE = ['ENOENT', 'ENOTDIR', 'ELOOP']
/** Bytes between two looks at whether the user has had enough. */
const BREATH = 8 << 20
/** Of a file that does not know its size, as those of /proc. */
const MAX_UNSIZED = 16 << 20

/** Copies what a source is to where it goes. */
export async function copyTree(source: Source, target: Target, context: CopyContext): Promise<void> {
  const copier = createCopier(context, target)
  const named = { fd: source.fd, stats: source.stats, path: source.base }
  if (target.name === undefined) await copier.contents(named, target.dir, 0)
  else await copier.one(named, target.dir, target.name, 0)
}

function createCopier(
  context: CopyContext,
  top: Target,
): {
  one(from: Named, dir: number, name: Buffer, depth: number): Promise<void>
  contents(from: Named, dir: number, depth: number): Promise<void>
} {
  const { from: side, placer, archive } = context
  // Names below the target of files with several, by inode: a second name of a file is one there, too.
  const linked = new Map<string, { readonly dir: Buffer; readonly name: Buffer }>()
  const below: Buffer[] = []

  function wantedOf({ fd, stats }: Named, link = false): Wanted {
    const wanted = { mode: Number(stats.mode) & 0o7777, mtimeNs: stats.mtimeNs }
    if (!archive) return wanted
    const owner = {
      uid: insideId(side.owners.uids, Number(stats.uid)),
      gid: insideId(side.owners.gids, Number(stats.gid)),
    }
    return { ...wanted, owner, ...(link ? {} : { xattrs: insideXattrs(fd, side.owners) }) }
  }

  async function one(from: Named, dir: number, name: Buffer, depth: number): Promise<void> {
    try {
      await oneOf(from, dir, name, depth)
    } catch (error) {
      throw pathError('', from.path.length === 0 ? '.' : from.path.toString(), error)
    }
  }

  async function oneOf(from: Named, dir: number, name: Buffer, depth: number): Promise<void> {
    const { fd, stats } = from
    const kind = kindOf(stats)
    if (kind === 'directory') return directory(from, dir, name, depth)
    if (kind === 'symlink') return placer.link(dir, name, linkText(fd), wantedOf(from, true))
    if (kind === undefined || (kind !== 'file' && !archive)) {
      const what = kind === undefined ? 'a socket' : kind === 'fifo' ? 'a fifo' : 'a device'
      const hint = kind === undefined ? '' : ': --archive copies it'
      return context.onWarning?.(`${side.prefix}${from.path.toString()} is left out, it is ${what}${hint}`)
    }
    if (linkToFirst(from, dir, name)) return
    if (kind === 'file') return file(from, dir, name)
    placer.node(dir, name, kind, stats.rdev, wantedOf(from))
  }

  /** Whether the file has been copied before, under another name. */
  function linkToFirst({ stats }: Named, dir: number, name: Buffer): boolean {
    if (stats.nlink < 2n) return false
    const key = `${stats.dev}:${stats.ino}`
    const first = linked.get(key)
    if (first === undefined) {
      linked.set(key, { dir: Buffer.concat(below), name })
      return false
    }
    const path = first.dir.length === 0 ? first.name : joinNames(first.dir, first.name)
    const there = unlessErrno(GONE, () => openBelow(top.dir, path, openFlags.path | openFlags.nofollow))
    if (there === undefined) return false
    try {
      placer.hardLink(there, dir, name)
    } finally {
      closeFd(there)
    }
    return true
  }

  async function directory(from: Named, dir: number, name: Buffer, depth: number): Promise<void> {
    if (depth > MAX_DEPTH) throw new TscrunError('LIMIT_EXCEEDED', `cp: directories nested deeper than ${MAX_DEPTH}`)
    const { fd, made } = placer.directory(dir, name)
    try {
      below.push(below.length === 0 ? name : Buffer.concat([Buffer.from('/'), name]))
      await contents(from, fd, depth + 1)
      below.pop()
      if (made || archive) placer.finishDirectory(fd, wantedOf(from))
    } finally {
      closeFd(fd)
    }
  }

  async function contents(from: Named, dir: number, depth: number): Promise<void> {
    for (const name of namesIn(from.fd)) {
      context.signal?.throwIfAborted()
      const fd = unlessErrno(GONE, () => openBelow(from.fd, name, openFlags.path | openFlags.nofollow))
      if (fd === undefined) continue
      try {
        await one({ fd, stats: statOf(fd), path: joinNames(from.path, name) }, dir, name, depth)
      } finally {
        closeFd(fd)
      }
    }
  }

  async function file(from: Named, dir: number, name: Buffer): Promise<void> {
    // It is a regular file; O_NONBLOCK for those of /proc that wait.
    const source = reopen(from.fd, openFlags.readonly | openFlags.nonblock)
    try {
      const copy = placer.file(dir, name)
      try {
        await copyBytes(source, copy, context.signal)
        placer.finishFile(copy, wantedOf(from))
      } finally {
        closeFd(copy)
      }
    } finally {
      closeFd(source)
    }
  }

  return { one, contents }
}

/** As many bytes as the file has now; holes stay holes. */
async function copyBytes(source: number, copy: number, signal: AbortSignal | undefined): Promise<void> {
  const stats = statOf(source)
  if (stats.size === 0n) return copyUnsized(source, copy)
  const extents = extentsOf(source, stats) ?? [{ offset: 0, length: Number(stats.size) }]
  let since = 0
  for (const extent of extents) {
    let at = extent.offset
    for (const chunk of readExactly(source, extent)) {
      writeAll(copy, chunk, at)
      at += chunk.length
      since += chunk.length
      if (since < BREATH) continue
      since = 0
      await nextTurn()
      signal?.throwIfAborted()
    }
  }
  ftruncateSync(copy, Number(stats.size))
}

function copyUnsized(source: number, copy: number): void {
  const buffer = Buffer.allocUnsafe(1 << 16)
  for (let at = 0; at < MAX_UNSIZED; ) {
    const size = unlessErrno(['EAGAIN'], () => readSync(source, buffer, 0, buffer.length, null)) ?? 0
    if (size === 0) return
    writeAll(copy, buffer.subarray(0, size), at)
    at += size
  }
}

export function writeAll(fd: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done)
  }
}
